"""Convolutions of a deployed model on a CPU: weights in the layout of oneDNN's kernels, ReLUs fused."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.kernels.depthwise_cpu import MOST_PADDING, depthwise_on_cpu
from backbones.layers import DepthwiseConv, PointwiseConv

MOST_SIZES = 1000  # of maps; a layout is kept for each
RELUS: tuple[Callable, ...] = (F.relu, torch.relu, Tensor.relu)


def packable(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN supports a dtype on this device."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    ops = torch.ops.mkldnn
    supported = {torch.bfloat16: ops._is_mkldnn_bf16_supported, torch.float16: ops._is_mkldnn_fp16_supported}
    return dtype == torch.float32 or (dtype in supported and supported[dtype]())


class PackedConv(nn.Conv2d):
    """A convolution and, with `rectify`, the ReLU after it.

    The weight is converted to oneDNN's layout once for each stride, atrous rate, dtype and size of maps. oneDNN would
    otherwise convert it in every call, which took twice as long as the network. On another device, with a gradient or
    in an export, it computes like the convolution that it replaces.
    """

    def __init__(self, conv: nn.Conv2d, rectify: bool):
        shape = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation)
        super().__init__(*shape, conv.groups, bias=conv.bias is not None, device="meta")
        self.weight, self.bias, self.rectify = conv.weight, conv.bias, rectify
        self.ours = isinstance(conv, DepthwiseConv)
        self.packed: dict[tuple, Tensor] = {}  # (shape arguments, dtype, map size) -> weight
        self.layouts: dict[bytes, Tensor] = {}  # descriptor -> weight; many sizes share a layout

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
        """State for copies: without layouts, which depend on the processor."""
        return {**self.__dict__, "packed": {}, "layouts": {}}


class Rectify(nn.ReLU):
    """A ReLU that returns its input unchanged if the convolution has already applied the ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return x if getattr(x, "rectified", False) else F.relu(x)


def unshare_relus(model: nn.Module) -> None:
    """Replace ReLUs by `Rectify`, which is never in place: in-place operations hide the readers of a convolution."""
    for name, module in list(model.named_modules()):
        if type(module) is nn.ReLU:
            model.set_submodule(name, Rectify())


def pack(model: nn.Module, rectified: Iterable[str]) -> None:
    """Replace every supported convolution by `PackedConv`. Only ReLUs read the outputs of those in `rectified`."""
    rectified = set(rectified)
    for name, module in list(model.named_modules()):
        if (
            type(module) in (nn.Conv2d, DepthwiseConv, PointwiseConv)
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        ):
            model.set_submodule(name, PackedConv(module, name in rectified))
