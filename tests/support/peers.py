"""Other people's programs as judges: how their weights were made, and where their outputs lie.

`shake` gives a network BatchNorm statistics and weights under which a wrong order, epsilon or ReLU shows.
"""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

SHARED = Path(__file__).resolve().parents[3] / "shared"


def shared(*parts: str) -> Path:
    """A file or folder that lies beside the checkout on our own machines; without it the test says so and skips."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return path


def shake(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in float64 and eval mode, with random BatchNorm statistics and scales."""
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
    """The rule by which the reference programs were filled, see `shared/reference/README.md`."""
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
