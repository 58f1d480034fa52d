"""Convolutions of a deployed model on a CPU: weights kept in the layout of oneDNN's kernels, ReLUs computed by them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.kernels.depthwise_cpu import MOST_PADDING, depthwise_on_cpu
from backbones.layers import DepthwiseConv, PointwiseConv

MOST_SIZES = 1000  # of maps, whose layout is remembered
RELUS: tuple[Callable, ...] = (F.relu, torch.relu, Tensor.relu)


def packable(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this processor has oneDNN's kernels for a type."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    ops = torch.ops.mkldnn
    supported = {torch.bfloat16: ops._is_mkldnn_bf16_supported, torch.float16: ops._is_mkldnn_fp16_supported}
    return dtype == torch.float32 or (dtype in supported and supported[dtype]())


class PackedConv(nn.Conv2d):
    """A convolution and, with `rectify`, the ReLU behind it.

    Its weight is laid out as oneDNN wants it for a stride, atrous rate, type and size of maps, once for each; otherwise
    oneDNN would do so in every call, which took twice as long as the network. Where the kernel does not serve (another
    device, a gradient, an export) it computes as the convolution that it replaces.
    """

    def __init__(self, conv: nn.Conv2d, rectify: bool):
        shape = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation)
        super().__init__(*shape, conv.groups, bias=conv.bias is not None, device="meta")
        self.weight, self.bias, self.rectify = conv.weight, conv.bias, rectify
        self.ours = isinstance(conv, DepthwiseConv)
        self.packed: dict[tuple, Tensor] = {}  # by what it was laid out for
        self.layouts: dict[bytes, Tensor] = {}  # few, which many sizes share

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        relu = relu or self.rectify
        if x.device.type != "cpu" or x.requires_grad or torch.compiler.is_exporting():
            y = super().forward(x)
        elif self.ours and self.dilation[1] > MOST_PADDING and self.stride == (1, 1):  # oneDNN has no fast kernel
            y = depthwise_on_cpu(x, self.weight, self.stride, self.dilation)
            y = y if self.bias is None else y + self.bias[:, None, None]
        else:
            return self._fused(x, relu)
        return y.relu() if relu else y

    def _fused(self, x: Tensor, relu: bool) -> Tensor:
        ops, shape = torch.ops.mkldnn, (self.padding, self.stride, self.dilation, self.groups)
        key = (shape, x.dtype, x.shape)
        if key not in self.packed:
            self._pack(key)
        y = ops._convolution_pointwise(x, self.packed[key], self.bias, *shape, "relu" if relu else "none", [], "")
        y.rectified = self.rectify
        return y

    def _pack(self, key: tuple) -> None:
        shape, _, size = key
        weight = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *shape, list(size))
        layout = torch.ops.mkldnn._get_mkldnn_serialized_md(weight).numpy().tobytes()
        if len(self.packed) == MOST_SIZES:
            self.packed.clear()
        self.packed[key] = self.layouts.setdefault(layout, weight)

    def __getstate__(self) -> dict:
        """The layout is the processor's, and is not copied."""
        return {**self.__dict__, "packed": {}, "layouts": {}}


class Rectify(nn.ReLU):
    """A ReLU that lets pass what its convolution has already rectified."""

    def forward(self, x: Tensor) -> Tensor:
        return x if getattr(x, "rectified", False) else F.relu(x)


def unshare_relus(model: nn.Module) -> None:
    """ReLUs as `Rectify`: never in place, as that hides who reads a convolution."""
    for name, module in list(model.named_modules()):
        if type(module) is nn.ReLU:
            model.set_submodule(name, Rectify())


def pack(model: nn.Module, rectified: Iterable[str]) -> None:
    """Every convolution as `PackedConv`; those named are read by ReLUs alone."""
    rectified = set(rectified)
    for name, module in list(model.named_modules()):
        if (
            type(module) in (nn.Conv2d, DepthwiseConv, PointwiseConv)
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        ):
            model.set_submodule(name, PackedConv(module, name in rectified))
