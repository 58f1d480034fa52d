"""Weights of keras.applications.Xception from HDF5: `xception_weights_tf_dim_ordering_tf_kernels[_notop].h5`, or what
`model.save("….h5")` and `save_weights` of Keras 1 and 2 write.

Layers stand in the order of the network, each with its arrays in the order of Keras; what their names end in changed
with every version, so the order and the number of arrays tell them apart.

A malformed file can crash libhdf5, or keep it busy for ever. So a process of its own reads the file: this module, run
as a script, which imports nothing but h5py and NumPy, and writes the arrays to its standard output.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from importlib.util import find_spec
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
TIMEOUT = 600  # seconds to read a file; 100 MB take less than one
REFUSED = 3  # exit code of the reading process when its output is a reason instead of arrays
MOST_PACKED = 8  # bytes of weights a byte of the file; Keras does not compress


def read_keras_h5(path: str | Path) -> dict[str, np.ndarray]:
    """ "layer/array" -> values; the layers of shortcuts are called block2_shortcut, block2_shortcut_bn, …

    Raises ModuleNotFoundError without h5py, ValueError for a damaged file or another network's.
    """
    if find_spec("h5py") is None:
        raise ModuleNotFoundError(f"{path}: reading Keras' .h5 needs h5py: pip install 'xseg[keras]'")
    command = [sys.executable, __file__, os.fspath(path)]
    try:
        reader = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{path}: is damaged: libhdf5 had not read it after {TIMEOUT} seconds") from None
    if reader.returncode == REFUSED:
        raise ValueError(reader.stdout.decode())
    if reader.returncode:
        raise ValueError(f"{path}: is damaged: libhdf5 crashed on it (exit code {reader.returncode}); fetch it again")
    with np.load(io.BytesIO(reader.stdout)) as arrays:
        return dict(arrays)


def main(path: str) -> int:
    """Write the arrays of a file to standard output as .npz, or with exit code REFUSED the reason why not."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            arrays = _layers(file["model_weights"] if "model_weights" in file else file, path)
    except Refusal as error:
        reason = f"{path}: {error}"
    except Exception as error:  # h5py raises OSError, RuntimeError, KeyError, UnicodeDecodeError, … for damage
        reason = f"{path}: is damaged or no HDF5 file ({error}); fetch it again"
    else:
        np.savez(sys.stdout.buffer, **arrays)
        return 0
    sys.stdout.buffer.write(reason.encode(errors="replace"))
    return REFUSED


class Refusal(ValueError):
    """A readable file that does not hold the weights of Xception."""


def _layers(group, path: str) -> dict[str, np.ndarray]:
    if "layer_names" not in group.attrs:
        raise Refusal("holds no layers in the format of Keras 1 and 2; save the model as 'NAME.h5'")
    weights, convs, norms = {}, iter(SHORTCUT_BLOCKS), iter(SHORTCUT_BLOCKS)
    left = MOST_PACKED * os.path.getsize(path)
    for layer in (_text(name) for name in group.attrs["layer_names"]):
        datasets = [group[layer][_text(name)] for name in group[layer].attrs["weight_names"]]
        if not datasets:
            continue
        names = ARRAYS.get(tuple(dataset.ndim for dataset in datasets))
        if names is None:
            raise Refusal(f"layer {layer} holds {[d.shape for d in datasets]}, which no layer of Xception does")
        if SHORTCUT.fullmatch(layer):
            is_norm = len(datasets) == 4
            block = next(norms if is_norm else convs, None)
            if block is None:
                raise Refusal(f"has more than {len(SHORTCUT_BLOCKS)} shortcuts: it is not Xception's")
            layer = f"block{block}_shortcut{'_bn' if is_norm else ''}"
        left -= sum(dataset.nbytes for dataset in datasets)
        if left < 0:
            raise Refusal(f"layer {layer} claims {datasets[0].shape}, more than a file of this size can hold")
        if any(dataset.dtype.kind != "f" for dataset in datasets):
            raise Refusal(f"layer {layer} holds {[str(d.dtype) for d in datasets]}, but weights are floating-point")
        weights |= {f"{layer}/{name}": dataset[()] for name, dataset in zip(names, datasets, strict=True)}
    return weights


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
