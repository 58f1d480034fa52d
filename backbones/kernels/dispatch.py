"""What decides which kernel computes: a program that is being traced, Triton, and the type under autocast."""

import functools
import importlib.util

import torch
from torch import Tensor


def is_traced(x: Tensor) -> bool:
    """Whether `x` only stands for a value while `torch.export`, TorchScript or FX records the program.

    The record must hold for every device, so it contains torch's own convolutions.
    """
    return torch.compiler.is_exporting() or torch.jit.is_tracing() or isinstance(x, torch.fx.Proxy)


@functools.cache
def has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def as_autocast(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both in autocast's type where autocast is on, as in `F.conv2d`."""
    if not torch.is_autocast_enabled(x.device.type):
        return x, weight
    dtype = autocast_type(x)
    return x.to(dtype), weight.to(dtype)


def autocast_type(x: Tensor) -> torch.dtype:
    """The type in which a convolution of `x` computes."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
