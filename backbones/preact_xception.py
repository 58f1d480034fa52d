"""Aligned Xception 41 and 65 with pre-activation: BatchNorm and ReLU before each separable convolution, none after.

The variant is timm's (`xception41p`, `xception65p`, trained by Ross Wightman). Tests compare the outputs with timm.
Pre-activation: He et al. 2016 (arXiv:1603.05027).
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from backbones.aligned_xception import AlignedXception, Row, drop_path
from backbones.kernels.pointwise import project
from backbones.layers import ConvBN, DepthwiseConv, PointwiseConv, set_dilation, set_stride


class BNSeparableConv(nn.Module):
    """BatchNorm and ReLU, then 3x3 depthwise and 1x1 pointwise convolution with nothing in between."""

    def __init__(self, in_channels: int, out_channels: int, *, bn_eps: float, bn_momentum: float):
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels, eps=bn_eps, momentum=bn_momentum)
        self.depthwise = DepthwiseConv(in_channels)
        self.pointwise = PointwiseConv(in_channels, out_channels)

    def convolve(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(F.relu(self.bn(x)))


class PreactBlock(nn.Module):
    """Three `BNSeparableConv` and a shortcut, which starts behind the first ReLU.

    Returns the same two maps as `aligned_xception.Block`.
    """

    def __init__(self, in_channels: int, row: Row, drop_path: float, **bn):
        super().__init__()
        ins = (in_channels, *row.channels[:2])
        self.convs = nn.ModuleList(BNSeparableConv(i, o, **bn) for i, o in zip(ins, row.channels, strict=True))
        self.skip = row.skip
        if row.skip == "conv":
            self.shortcut = nn.Conv2d(in_channels, row.channels[-1], 1, bias=False)
        self.drop_path = drop_path

    def set_rates(self, stride: int, rates: tuple[int, int, int]) -> None:
        for conv, rate in zip(self.convs, rates, strict=True):
            set_dilation(conv.depthwise, rate)
        set_stride(self.convs[-1].depthwise, stride)
        if self.skip == "conv":
            set_stride(self.shortcut, stride)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.convs[0].bn(x))
        tap = self.convs[1](self.convs[0].convolve(x))
        residual = self.convs[2](tap)
        if self.skip == "none":
            return residual, tap
        if self.training and self.drop_path > 0:
            residual = drop_path(residual, self.drop_path)
        return residual + (project(self.shortcut, x) if self.skip == "conv" else x), tap


class PreactXception(AlignedXception):
    """Pre-activation aligned Xception as a backbone; arguments, levels and channels as in `AlignedXception`.

    C1..C4 are taken before the next BatchNorm and ReLU; C5 ends in a ReLU. Depth 71 was never published.
    timm's weights of xception41p need `bn_eps=1e-5`, those of xception65p 1e-3.
    """

    block_type = PreactBlock

    def _build_stem(self, in_channels: int, channels: tuple[int, int], bn: dict) -> nn.Sequential:
        second = nn.Conv2d(channels[0], channels[1], 3, padding=1, bias=False)
        return nn.Sequential(ConvBN(in_channels, channels[0], 3, stride=2, **bn), second)

    def forward(self, images: Tensor) -> list[Tensor]:
        levels: Sequence[Tensor] = super().forward(images)
        return [F.relu(level) if name == "c5" else level for name, level in zip(self.out, levels, strict=True)]
