"""A separable convolution whose BatchNorms are folded: one function that computes it as one kernel or as two."""

import torch
from torch import Tensor, nn

from backbones.kernels.dispatch import has_triton, is_traced


def separable(x: Tensor, depthwise: nn.Module, pointwise: nn.Module, activation: nn.Module) -> Tensor:
    """`activation(pointwise(activation(depthwise(x))))`, as one kernel on a GPU if that is faster. For prediction only.

    Args:
        depthwise: a 3x3 depthwise convolution whose call takes `relu`, as `DepthwiseConv`.
        pointwise: a 1x1 convolution.
        activation: `nn.ReLU` or `nn.Identity`.
    """
    relu = isinstance(activation, nn.ReLU)
    if _has_one_kernel(x, depthwise, pointwise):
        from backbones.kernels.separable_triton import separable_on_gpu

        weights = (depthwise.weight, depthwise.bias, pointwise.weight, pointwise.bias)
        return separable_on_gpu(x, *weights, depthwise.stride, depthwise.dilation, relu)
    return activation(pointwise(depthwise(x, relu=relu)))


def _has_one_kernel(x: Tensor, depthwise: nn.Module, pointwise: nn.Module) -> bool:
    """Whether the Triton kernel supports these: half precision and channels-last on a GPU, with both biases."""
    return (
        not is_traced(x)
        and not torch.compiler.is_compiling()
        and x.is_cuda
        and x.itemsize == 2
        and has_triton()
        and x.is_contiguous(memory_format=torch.channels_last)
        and depthwise.bias is not None
        and pointwise.bias is not None
    )
