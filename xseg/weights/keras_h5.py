"""Weights of keras.applications.Xception from HDF5: `xception_weights_tf_dim_ordering_tf_kernels[_notop].h5`, or what
`model.save("….h5")` and `save_weights` of Keras 1 and 2 write.

Layers stand in the order of the network, each with its arrays in the order of Keras; what their names end in changed
with every version, so the order and the number of arrays tell them apart.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

ARRAYS = {  # by how many axes each array of a layer has
    (4,): ("kernel",),
    (4, 4): ("depthwise_kernel", "pointwise_kernel"),
    (1, 1, 1, 1): ("gamma", "beta", "moving_mean", "moving_variance"),
    (2, 1): ("kernel", "bias"),
}
SHORTCUT = re.compile(r"(conv2d|convolution2d|batch_?normalization)(_\d+)?")  # Keras' own names, numbered at will
SHORTCUT_BLOCKS = ("2", "3", "4", "13")


def read_keras_h5(path: str | Path) -> dict[str, np.ndarray]:
    """ "layer/array" -> values; the layers of shortcuts are called block2_shortcut, block2_shortcut_bn, …

    Raises ModuleNotFoundError without h5py, ValueError for a damaged file or another network's.
    """
    try:
        import h5py
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"{path}: reading Keras' .h5 needs h5py: pip install 'xseg[keras]'") from None
    try:
        with h5py.File(path, "r") as file:
            return _layers(file["model_weights"] if "model_weights" in file else file, path)
    except OSError as error:
        raise ValueError(f"{path}: is damaged or no HDF5 file ({error}); fetch it again") from None


def _layers(group, path: str | Path) -> dict[str, np.ndarray]:
    if "layer_names" not in group.attrs:
        raise ValueError(f"{path}: holds no layers in the format of Keras 1 and 2; save the model as 'NAME.h5'")
    weights, convs, norms = {}, iter(SHORTCUT_BLOCKS), iter(SHORTCUT_BLOCKS)
    for layer in (_text(name) for name in group.attrs["layer_names"]):
        arrays = [np.asarray(group[layer][_text(name)]) for name in group[layer].attrs["weight_names"]]
        if not arrays:
            continue
        names = ARRAYS.get(tuple(array.ndim for array in arrays))
        if names is None:
            raise ValueError(
                f"{path}: layer {layer} holds {[a.shape for a in arrays]}, which no layer of Xception does"
            )
        if SHORTCUT.fullmatch(layer):
            is_norm = len(arrays) == 4
            block = next(norms if is_norm else convs, None)
            if block is None:
                raise ValueError(f"{path}: has more than {len(SHORTCUT_BLOCKS)} shortcuts: it is not Xception's")
            layer = f"block{block}_shortcut{'_bn' if is_norm else ''}"
        weights |= {f"{layer}/{name}": array for name, array in zip(names, arrays, strict=True)}
    return weights


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
