"""The original Xception: 36 convolution layers in 14 modules, here also dilated and with a SAME-padded stem.

Options give the paper's variants: without residuals (Fig. 9), an activation inside a separable convolution (Fig. 10),
the order of its two halves (Section 1.2), and segments, between a separable and a regular convolution (Section 1.2).

Paper: Chollet 2017, "Xception: Deep Learning with Depthwise Separable Convolutions" (arXiv:1610.02357), Fig. 5.
Tests compare the outputs with keras.applications (`pool_padding="tensorflow"`) and with timm's `legacy_xception`.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.aligned_xception import init_truncated_normal
from backbones.contract import Trunk, dilate, scale_channels
from backbones.layers import ConvBN, DepthwiseConv, PointwiseConv, set_dilation, set_stride


class Row(NamedTuple):
    """One module behind the stem: separable convolutions, max-pooling if the stride is 2, and a shortcut."""

    channels: tuple[int, ...]  # outputs of the separable convolutions
    stride: int = 1  # taken by the max-pooling, and by the shortcut
    skip: str = "sum"  # "conv": 1x1 projection | "sum": identity | "none"
    first_relu: bool = True  # ReLU before the first separable convolution
    last_relu: bool = False


ENTRY = (  # stride after the row, behind a stem of stride 2
    Row((128, 128), stride=2, skip="conv", first_relu=False),  # 4
    Row((256, 256), stride=2, skip="conv"),  # 8
    Row((728, 728), stride=2, skip="conv"),  # 16
)
MIDDLE = Row((728, 728, 728))
EXIT = (
    Row((728, 1024), stride=2, skip="conv"),  # 32
    Row((1536, 2048), skip="none", first_relu=False, last_relu=True),
)
STEP = 1e-4  # distance between the widths that `equal_width` tries
ACTIVATIONS = {None: None, "relu": nn.ReLU, "elu": nn.ELU}
CHOICES = {  # of the arguments of `Xception`
    "stem": ("valid", "same"),
    "pool_padding": ("symmetric", "tensorflow"),
    "taps": ("before_relu", "after_relu"),
    "order": ("depthwise_first", "pointwise_first"),
    "activation": tuple(ACTIVATIONS),
}


class PlainSeparableConv(nn.Sequential):
    """3x3 depthwise, then 1x1 pointwise convolution with nothing in between, then BatchNorm (Section 4.7).

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H, W).

    Args:
        order: "depthwise_first", or "pointwise_first" as in the paper's extreme Inception module (Fig. 4).
        activation: between the two convolutions: None, "relu" or "elu" (Fig. 10).
        inner_bn: BatchNorm between the two convolutions, before the activation.
        segments: number of channel groups of the 3x3 convolution: 1 gives a regular convolution, 3 an Inception module
            (Fig. 3), None one group per channel, a depthwise convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        order: str = "depthwise_first",
        activation: str | None = None,
        inner_bn: bool = False,
        segments: int | None = None,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.1,
    ):
        channels = in_channels if order == "depthwise_first" else out_channels  # of the 3x3 convolution
        if segments is None:
            depthwise = DepthwiseConv(channels)
        else:
            depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=segments, bias=False)
        pointwise = PointwiseConv(in_channels, out_channels)
        inner = {}
        if inner_bn:
            inner["inner_bn"] = nn.BatchNorm2d(channels, eps=bn_eps, momentum=bn_momentum)
        if activation is not None:
            inner["activation"] = ACTIVATIONS[activation]()
        if order == "depthwise_first":
            parts = {"depthwise": depthwise, **inner, "pointwise": pointwise}
        else:
            parts = {"pointwise": pointwise, **inner, "depthwise": depthwise}
        parts["bn"] = nn.BatchNorm2d(out_channels, eps=bn_eps, momentum=bn_momentum)
        super().__init__(OrderedDict(parts))


class Block(nn.Module):
    """The modules of one `Row`."""

    def __init__(self, in_channels: int, row: Row, pool_padding: str, separable: Callable[..., nn.Module], **bn):
        super().__init__()
        ins = (in_channels, *row.channels[:-1])
        self.convs = nn.ModuleList(separable(i, o, **bn) for i, o in zip(ins, row.channels, strict=True))
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
        """3x3 max-pooling, dilated if the output stride replaces its stride by dilation."""
        before_h = before_w = self.rate
        if self.pool_padding == "tensorflow" and self.stride == 2:  # SAME pads even sizes right and below only
            before_h, before_w = x.shape[-2] % 2, x.shape[-1] % 2
        x = F.pad(x, (before_w, self.rate, before_h, self.rate), value=float("-inf"))
        return F.max_pool2d(x, 3, self.stride, dilation=self.rate)


class Xception(Trunk):
    """The original Xception as a backbone.

    Shapes: (N, in_channels, H, W) -> one (N, channels[i], h, w) per level. With stem "same" h = ceil(H / stride). The
    published stem "valid" loses three pixels: 512 gives 253, 127, 64, 32, 16.
    Levels at width 1: C1 64 (stem), C2 128, C3 256, C4 728 (module outputs), C5 2048 channels.

    Args:
        output_stride: 32 as published; 16 or 8 for finer maps, by dilated convolutions and pooling.
        out: levels to return.
        stem: padding of the stem: "valid" as published, or "same" for maps of size input / stride.
        pool_padding: "symmetric" as in PyTorch ports (timm, Cadene), or "tensorflow" (Keras), which pads even sizes
            on one side only. Weights trained with one lose accuracy with the other.
        taps: C2..C4 "before_relu", or "after_relu" as in timm's `features_only`.
        num_middle: number of modules in the middle flow.
        residual: False removes all shortcuts and their sums.
        order, activation, inner_bn, segments: of every separable convolution, see `PlainSeparableConv`. With segments,
            channel counts are rounded to multiples of them instead of 8; `equal_width` gives the width for a comparison
            at equal parameters.
        width, in_channels, frozen_stages, frozen_bn, bn_eps, bn_momentum: as in `AlignedXception`.
    """

    def __init__(
        self,
        output_stride: int = 32,
        out: Sequence[str] = ("c2", "c5"),
        stem: str = "same",
        pool_padding: str = "symmetric",
        taps: str = "before_relu",
        width: float = 1.0,
        num_middle: int = 8,
        residual: bool = True,
        order: str = "depthwise_first",
        activation: str | None = None,
        inner_bn: bool = False,
        segments: int | None = None,
        in_channels: int = 3,
        frozen_stages: int = 0,
        frozen_bn: bool = False,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.1,
    ):
        super().__init__(out, frozen_stages, frozen_bn)
        _check_choices(stem=stem, pool_padding=pool_padding, taps=taps, order=order, activation=activation)
        if num_middle < 0 or (segments is not None and segments < 1):
            raise ValueError(f"num_middle must be 0 or more, segments 1 or more, got {num_middle} and {segments}")
        bn = {"bn_eps": bn_eps, "bn_momentum": bn_momentum}
        padding = 0 if stem == "valid" else 1
        divisor = 8 if segments is None else segments
        first, previous = (scale_channels(channels, width, divisor) for channels in (32, 64))
        self.stem = nn.Sequential(
            ConvBN(in_channels, first, 3, stride=2, padding=padding, **bn),
            ConvBN(first, previous, 3, padding=padding, **bn),
        )
        self.tap_relu = nn.ReLU() if taps == "after_relu" else nn.Identity()
        self.level_channels = {"c1": previous}
        self.rows = (*ENTRY, *[MIDDLE] * num_middle, *EXIT)
        strided = [index for index, row in enumerate(self.rows) if row.stride == 2]
        ends = [*(index - 1 for index in strided[1:]), len(self.rows) - 1]  # the last row of each stride
        self.taps = dict(zip(ends, ("c2", "c3", "c4", "c5"), strict=True))  # block -> its level; C1 is the stem's
        separable = partial(
            PlainSeparableConv, order=order, activation=activation, inner_bn=inner_bn, segments=segments
        )
        self.blocks = nn.ModuleList()
        for index, row in enumerate(self.rows):
            row = row._replace(channels=tuple(scale_channels(c, width, divisor) for c in row.channels))
            row = row if residual else row._replace(skip="none")
            self.blocks.append(Block(previous, row, pool_padding, separable, **bn))
            previous = row.channels[-1]
            if index in self.taps:
                self.level_channels[self.taps[index]] = previous
        self.stage_ends = tuple(end + 1 for end in ends)
        init_truncated_normal(self)
        self.set_output_stride(output_stride)
        self.train()

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        levels = {"c1": x}
        for index, block in enumerate(self.blocks):
            x = block(x)
            level = self.taps.get(index)
            if level:
                levels[level] = x if level == "c5" else self.tap_relu(x)
            if level == self.out[-1]:
                break  # no deeper level is in `out`
        return [levels[level] for level in self.out]

    def _apply_output_stride(self, output_stride: int) -> None:
        rates = dilate((row.stride for row in self.rows), output_stride)
        for block, (stride, rate) in zip(self.blocks, rates, strict=True):
            block.set_rate(stride, rate)


def _check_choices(**values: str | None) -> None:
    for name, value in values.items():
        if value not in CHOICES[name]:
            raise ValueError(f"{name} must be one of {CHOICES[name]}, got {value!r}")


def equal_width(segments: int, width: float = 1.0, num_classes: int = 1000, **options) -> float:
    """The width at which an `Xception` with `segments` has about as many parameters as one without, at `width`.

    Both include a linear classifier of `num_classes`. The search is a bisection over widths of four decimals. Channel
    counts are multiples of the segments, so parameters rise in steps; for up to 4 segments the remaining difference is
    below 0.7 % at width 1 and below 1 % at width 0.25.

    Args:
        options: further arguments of both networks.
    """

    def count(width: float, segments: int | None) -> int:
        with torch.device("meta"):
            net = Xception(out=("c5",), width=width, segments=segments, **options)
        return sum(p.numel() for p in net.parameters()) + (net.channels[-1] + 1) * num_classes

    target = count(width, None)
    steps = range(1, round(2 * width / STEP))
    above = bisect_left(steps, target, key=lambda step: count(step * STEP, segments))
    candidates = [round(step * STEP, 4) for step in steps[max(0, above - 1) : above + 1]]
    return min(candidates, key=lambda candidate: abs(count(candidate, segments) - target))
