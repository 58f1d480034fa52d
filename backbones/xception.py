"""The original Xception: 36 convolution layers in 14 modules, here also dilated and with a SAME-padded stem.

Paper: Chollet 2017, "Xception: Deep Learning with Depthwise Separable Convolutions" (arXiv:1610.02357), Fig. 5.
Tests hold it equal to keras.applications (`pool_padding="tensorflow"`) and to timm's `legacy_xception`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from backbones.aligned_xception import init_truncated_normal
from backbones.separable import ConvBN, DepthwiseConv, PointwiseConv, set_dilation, set_stride
from backbones.trunk import Trunk, dilate, scale_channels


class Row(NamedTuple):
    """One module behind the stem: separable convolutions, max-pooling if strided, and a shortcut."""

    channels: tuple[int, ...]  # outputs of the separable convolutions
    stride: int = 1  # taken by the max-pooling, and by the shortcut
    skip: str = "sum"  # "conv": 1x1 projection | "sum": identity | "none"
    first_relu: bool = True  # ReLU before the first separable convolution
    last_relu: bool = False


ROWS = (
    # entry flow                                    stride after the row, behind a stem of stride 2
    Row((128, 128), stride=2, skip="conv", first_relu=False),  # 4
    Row((256, 256), stride=2, skip="conv"),  # 8
    Row((728, 728), stride=2, skip="conv"),  # 16
    *[Row((728, 728, 728))] * 8,  # middle flow
    # exit flow
    Row((728, 1024), stride=2, skip="conv"),  # 32
    Row((1536, 2048), skip="none", first_relu=False, last_relu=True),
)
LEVEL_OF_ROW = {0: "c2", 1: "c3", 10: "c4", 12: "c5"}  # the stem gives C1


class PlainSeparableConv(nn.Module):
    """3x3 depthwise, then 1x1 pointwise convolution with nothing in between, then BatchNorm (Section 4.7)."""

    def __init__(self, in_channels: int, out_channels: int, *, bn_eps: float, bn_momentum: float):
        super().__init__()
        self.depthwise = DepthwiseConv(in_channels)
        self.pointwise = PointwiseConv(in_channels, out_channels)
        self.bn = nn.BatchNorm2d(out_channels, eps=bn_eps, momentum=bn_momentum)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.pointwise(self.depthwise(x)))


class Block(nn.Module):
    """One row of the table."""

    def __init__(self, in_channels: int, row: Row, pool_padding: str, **bn):
        super().__init__()
        ins = (in_channels, *row.channels[:-1])
        self.convs = nn.ModuleList(PlainSeparableConv(i, o, **bn) for i, o in zip(ins, row.channels, strict=True))
        self.row = row
        self.pool_padding = pool_padding
        self.stride, self.rate = row.stride, 1
        if row.skip == "conv":
            self.shortcut = ConvBN(in_channels, row.channels[-1], relu=False, **bn)

    def set_rate(self, stride: int, rate: int) -> None:
        self.stride, self.rate = stride, rate
        for conv in self.convs:
            set_dilation(conv.depthwise, rate)
        if self.row.skip == "conv":
            set_stride(self.shortcut.conv, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for index, conv in enumerate(self.convs):
            y = conv(F.relu(y) if index or self.row.first_relu else y)
        if self.row.stride == 2:
            y = self._pool(y)
        if self.row.last_relu:
            y = F.relu(y)
        if self.row.skip == "none":
            return y
        return y + (self.shortcut(x) if self.row.skip == "conv" else x)

    def _pool(self, x: Tensor) -> Tensor:
        """3x3 max-pooling; dilated where its stride has been traded for resolution."""
        before_h = before_w = self.rate
        if self.pool_padding == "tensorflow" and self.stride == 2:  # SAME pads even sizes right and below only
            before_h, before_w = x.shape[-2] % 2, x.shape[-1] % 2
        x = F.pad(x, (before_w, self.rate, before_h, self.rate), value=float("-inf"))
        return F.max_pool2d(x, 3, self.stride, dilation=self.rate)


class Xception(Trunk):
    """The original Xception as a backbone.

    Shapes: (N, in_channels, H, W) -> one (N, channels[i], h, w) per level. With the SAME stem h = ceil(H / stride);
    the VALID stem, as published, loses three pixels: 512 gives 253, 127, 64, 32, 16.
    Levels at width 1: C1 64 (stem), C2 128, C3 256, C4 728 (module outputs), C5 2048 channels.

    Args:
        output_stride: 32 as published; 16 or 8 to keep resolution and dilate convolutions and pooling instead.
        out: levels to return.
        stem: "valid" padding as published, or "same" so that maps sit at input / stride, for dense prediction.
        pool_padding: "symmetric" as in PyTorch ports (timm, Cadene) or "tensorflow" (Keras), which pads even sizes
            on one side only. Weights trained with one lose accuracy with the other.
        taps: C2..C4 "before_relu", or "after_relu" as timm's `features_only` gives them.
        width, in_channels, frozen_stages, frozen_bn, bn_eps, bn_momentum: as for `AlignedXception`.
    """

    def __init__(
        self,
        output_stride: int = 32,
        out: Sequence[str] = ("c2", "c5"),
        stem: str = "same",
        pool_padding: str = "symmetric",
        taps: str = "before_relu",
        width: float = 1.0,
        in_channels: int = 3,
        frozen_stages: int = 0,
        frozen_bn: bool = False,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.1,
    ):
        super().__init__(out, frozen_stages, frozen_bn)
        for name, value, choices in (
            ("stem", stem, ("valid", "same")),
            ("pool_padding", pool_padding, ("symmetric", "tensorflow")),
            ("taps", taps, ("before_relu", "after_relu")),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {choices}, got {value!r}")
        bn = {"bn_eps": bn_eps, "bn_momentum": bn_momentum}
        padding = 0 if stem == "valid" else 1
        first, previous = scale_channels(32, width), scale_channels(64, width)
        self.stem = nn.Sequential(
            ConvBN(in_channels, first, 3, stride=2, padding=padding, **bn),
            ConvBN(first, previous, 3, padding=padding, **bn),
        )
        self.tap_relu = nn.ReLU() if taps == "after_relu" else nn.Identity()
        self.level_channels = {"c1": previous}
        self.blocks = nn.ModuleList()
        for index, row in enumerate(ROWS):
            row = row._replace(channels=tuple(scale_channels(c, width) for c in row.channels))
            self.blocks.append(Block(previous, row, pool_padding, **bn))
            previous = row.channels[-1]
            if index in LEVEL_OF_ROW:
                self.level_channels[LEVEL_OF_ROW[index]] = previous
        blocks = [*self.blocks]
        self.stages = [[self.stem], blocks[:1], blocks[1:2], blocks[2:11], blocks[11:]]
        init_truncated_normal(self)
        self.set_output_stride(output_stride)
        self.train()

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        levels = {"c1": x}
        for index, block in enumerate(self.blocks):
            x = block(x)
            level = LEVEL_OF_ROW.get(index)
            if level:
                levels[level] = x if level == "c5" else self.tap_relu(x)
            if level == self.out[-1]:
                break  # nothing deeper was asked for
        return [levels[level] for level in self.out]

    def _apply_output_stride(self, output_stride: int) -> None:
        for block, (stride, rate) in zip(self.blocks, dilate((row.stride for row in ROWS), output_stride), strict=True):
            block.set_rate(stride, rate)
