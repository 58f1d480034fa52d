"""1x1 convolutions: one function each that chooses how a CPU computes them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.kernels.dispatch import is_traced

# Pixels of a batch below which a CPU is faster with a plain matrix product than with oneDNN's 1x1 convolution.
FEW_PIXELS = 1024
# Input channels below which the gradient of oneDNN 3.13's strided 1x1 convolution writes outside its memory.
SAFE_CHANNELS = 16


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.conv2d(x, weight, bias)` of a 1x1 kernel; a matrix product for small channels-last maps on a CPU.

    Compiled, exported or traced, it is `F.conv2d`.

    Shapes: x (N, channels, H, W); weight (outputs, channels, 1, 1); bias (outputs) or None -> (N, outputs, H, W).
    """
    if (
        is_traced(x)
        or torch.compiler.is_compiling()
        or x.device.type != "cpu"
        or not x.is_contiguous(memory_format=torch.channels_last)
        or x.numel() >= FEW_PIXELS * x.shape[1]
    ):
        return F.conv2d(x, weight, bias)
    return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


def project(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """`conv(x)`; on a CPU, strided 1x1 convolutions of few channels become plain ones on the pixels that they read.

    Otherwise their gradient may write outside its memory (float32, channels-last, even sizes).
    """
    few = conv.in_channels < SAFE_CHANNELS and conv.kernel_size == (1, 1) and conv.stride != (1, 1)
    if few and not is_traced(x) and x.device.type == "cpu" and torch.is_grad_enabled():
        return F.conv2d(x[..., :: conv.stride[0], :: conv.stride[1]], conv.weight, conv.bias)
    return conv(x)
