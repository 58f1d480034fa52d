"""3x3 depthwise convolution: one function that chooses the kernel for the device, the shapes and the memory format.

Paper: Chollet 2017 (arXiv:1610.02357).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from backbones.kernels.depthwise_cpu import Pair, depthwise_on_cpu
from backbones.kernels.dispatch import autocast_type, has_triton, is_traced


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, rate: Pair, relu: bool = False) -> Tensor:
    """`F.conv2d(x, weight, bias, stride, rate, rate, channels)`, then ReLU if `relu`, which costs nothing on a GPU.

    Maps in channels-last memory have kernels of their own; all others go to `F.conv2d`.

    Shapes: x (N, channels, H, W); weight (channels, 1, 3, 3); bias (channels) or None
    -> (N, channels, ceil(H / stride), ceil(W / stride)).
    """
    if is_traced(x) or not x.is_contiguous(memory_format=torch.channels_last):
        y = F.conv2d(x, weight, bias, stride, rate, rate, weight.shape[0])
    elif x.is_cuda and x.dtype != torch.float64 and has_triton():
        from backbones.kernels.depthwise_triton import depthwise_on_gpu

        return depthwise_on_gpu(x, weight, bias, stride, rate, relu)
    elif x.device.type == "cpu" and _is_slow(x, stride, rate):
        y = depthwise_on_cpu(x, weight, stride, rate)
        y = y if bias is None else y + bias[:, None, None]
    else:
        y = F.conv2d(x, weight, bias, stride, rate, rate, weight.shape[0])
    return F.relu(y) if relu else y


def _is_slow(x: Tensor, stride: Pair, rate: Pair) -> bool:
    """Whether oneDNN is slow: if dilated at stride 1, or strided in training in half precision."""
    if stride == (1, 1):
        return rate != (1, 1)
    return torch.is_grad_enabled() and autocast_type(x).itemsize < 4
