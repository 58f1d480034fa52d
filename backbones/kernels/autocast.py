"""The types in which a convolution is computed under autocast."""

import torch
from torch import Tensor


def as_autocast(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the type of autocast where that is on, as `F.conv2d` takes them."""
    if not torch.is_autocast_enabled(x.device.type):
        return x, weight
    dtype = autocast_type(x)
    return x.to(dtype), weight.to(dtype)


def autocast_type(x: Tensor) -> torch.dtype:
    """The type in which a convolution of `x` is computed."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
