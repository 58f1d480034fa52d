"""Read the weights of keras.applications.Xception from HDF5.

Supported files: `xception_weights_tf_dim_ordering_tf_kernels[_notop].h5`, and files written by `model.save("….h5")` or
`save_weights` of Keras 1 and 2.

The file lists layers in network order and the arrays of a layer in Keras' order. The suffixes of array names differ
between Keras versions, so arrays are identified by their order and number.

A malformed file can crash libhdf5 or make it loop forever. A separate process therefore reads the file: it runs this
module as a script, imports only h5py and NumPy, and writes the arrays to standard output.
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

ARRAYS = {  # number of axes of each array of a layer -> names of the arrays
    (4,): ("kernel",),
    (4, 4): ("depthwise_kernel", "pointwise_kernel"),
    (1, 1, 1, 1): ("gamma", "beta", "moving_mean", "moving_variance"),
    (2, 1): ("kernel", "bias"),
}
# Default layer names, numbered by Keras through all models of a session.
SHORTCUT = re.compile(r"(conv2d|convolution2d|batch_?normalization)(_\d+)?")
SHORTCUT_BLOCKS = ("2", "3", "4", "13")
TIMEOUT = 600  # seconds for one file; 100 MB take less than one second
REFUSED = 3  # exit code of the reading process when its output is an error message instead of arrays
MOST_PACKED = 8  # largest ratio of array bytes to file bytes; Keras does not compress


def read_keras_h5(path: str | Path) -> dict[str, np.ndarray]:
    """Read a file as "layer/array" -> values. Shortcut layers are named block2_shortcut, block2_shortcut_bn, …

    Raises ModuleNotFoundError without h5py, ValueError for a damaged file or a file of another network.
    """
    if find_spec("h5py") is None:
        raise ModuleNotFoundError(f"{path}: reading Keras' .h5 needs h5py: pip install 'xseg[keras]'")
    command = [sys.executable, __file__, os.fspath(path)]
    try:
        reader = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{path}: is damaged: libhdf5 did not read it within {TIMEOUT} seconds") from None
    if reader.returncode == REFUSED:
        raise ValueError(reader.stdout.decode())
    if reader.returncode:
        raise ValueError(f"{path}: is damaged: libhdf5 crashed on it (exit code {reader.returncode}); fetch it again")
    with np.load(io.BytesIO(reader.stdout)) as arrays:
        return dict(arrays)


def main(path: str) -> int:
    """Write the arrays of a file to standard output as .npz; on failure write the reason and return REFUSED."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            arrays = _layers(file["model_weights"] if "model_weights" in file else file, path)
    except Refusal as error:
        reason = f"{path}: {error}"
    except Exception as error:  # damaged files raise OSError, RuntimeError, KeyError, UnicodeDecodeError, …
        reason = f"{path}: is damaged or not an HDF5 file ({error}); fetch it again"
    else:
        np.savez(sys.stdout.buffer, **arrays)
        return 0
    sys.stdout.buffer.write(reason.encode(errors="replace"))
    return REFUSED


class Refusal(ValueError):
    """The file is readable but does not hold the weights of Xception."""


def _layers(group, path: str) -> dict[str, np.ndarray]:
    if "layer_names" not in group.attrs:
        raise Refusal("holds no layers in the format of Keras 1 and 2; save the model with model.save('NAME.h5')")
    weights, convs, norms = {}, iter(SHORTCUT_BLOCKS), iter(SHORTCUT_BLOCKS)
    left = MOST_PACKED * os.path.getsize(path)
    for layer in (_text(name) for name in group.attrs["layer_names"]):
        datasets = [group[layer][_text(name)] for name in group[layer].attrs["weight_names"]]
        if not datasets:
            continue
        names = ARRAYS.get(tuple(dataset.ndim for dataset in datasets))
        if names is None:
            raise Refusal(f"layer {layer} has shapes {[d.shape for d in datasets]}, which no layer of Xception has")
        if SHORTCUT.fullmatch(layer):
            is_norm = len(datasets) == 4
            block = next(norms if is_norm else convs, None)
            if block is None:
                raise Refusal(f"has more than {len(SHORTCUT_BLOCKS)} shortcuts, so it is not Xception")
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
