"""Parity with other programs: paths of their outputs, the rule of their weights, and `shake`."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xseg.weights.keymap import KeyMap

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
SHARED = Path(__file__).resolve().parents[3] / "shared"


def reference(*parts: str) -> Path:
    """Path of a stored output of a reference program; `tests/reference/README.md` lists them."""
    return REFERENCE.joinpath(*parts)


def shared(*parts: str) -> Path:
    """Path of a data set in the folder `shared` beside the checkout. Skips the test where that folder is missing."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return path


def shake(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in float64 and eval mode, with random BatchNorm statistics and scales.

    Default statistics (mean 0, variance 1) would hide a wrong epsilon or a wrong order of BatchNorm and ReLU.
    """
    generator = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.2, 0.2),
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 1.5),
            ):
                tensor.data.uniform_(low, high, generator=generator)
    return model


def reference_weight(name: str, shape: list[int], fan_axes: int) -> np.ndarray:
    """Weight of a reference program, a function of the variable's name and shape; see `tests/reference/README.md`.

    Args:
        fan_axes: the product of `shape[:fan_axes]` is the fan-in: 3 for TensorFlow DeepLab, -1 for Keras.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    leaf = name.rsplit("/", 1)[-1]
    if leaf in ("moving_variance", "gamma"):
        weight = rng.uniform(0.5, 1.5, shape)
    elif leaf in ("moving_mean", "beta", "bias", "biases"):
        weight = 0.1 * rng.standard_normal(shape)
    elif leaf in ("depthwise_weights", "depthwise_kernel"):
        weight = rng.standard_normal(shape) / 3
    else:
        weight = rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[:fan_axes]))
    return weight.astype(np.float32)


def to_theirs(key_map: KeyMap, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under the names and in the layout of another program: the inverse of `key_map.to_ours`.

    A pointwise kernel that is flat in their file comes back as (out, in, 1, 1).
    """
    weights = {key_map.table[n]: v for n, v in state.items() if not n.endswith("num_batches_tracked")}
    return {name: _their_layout(name, value) if key_map.tensorflow else value for name, value in weights.items()}


def _their_layout(name: str, value: Tensor) -> Tensor:
    """TensorFlow's axes: dense [in, out], depthwise [h, w, channels, 1], other kernels [h, w, in, out]."""
    if value.ndim == 2:
        return value.T
    if value.ndim == 4:
        depthwise = "depthwise" in name.rpartition("/")[2]
        return value.permute(2, 3, 0, 1) if depthwise else value.permute(2, 3, 1, 0)
    return value
