"""Aligned Xception 41, 65 and 71: Xception without max-pooling, dilatable, as DeepLabv3+ uses it.

Paper: Chen et al. 2018, "Encoder-Decoder with Atrous Separable Convolution" (arXiv:1802.02611), Fig. 4.
Where paper and release differ, topology, taps and ReLUs follow the released code and weights (TensorFlow
`research/deeplab/core/xception.py`). Tests compare the outputs with that program and with timm.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from backbones.contract import Trunk, dilate, scale_channels
from backbones.layers import ConvBN, SeparableConv, set_dilation, set_stride


class Row(NamedTuple):
    """One residual block of three separable convolutions."""

    channels: tuple[int, int, int]  # outputs of the three
    stride: int = 1  # taken by the third, and by the shortcut
    skip: str = "sum"  # "conv": 1x1 projection | "sum": identity | "none"
    relu: str = "before"  # of `SeparableConv`


MIDDLE = Row((728, 728, 728))
EXIT = (  # stride after the row
    Row((728, 1024, 1024), stride=2, skip="conv"),  # 32
    Row((1536, 1536, 2048), skip="none", relu="after"),
)
ENTRY = (  # behind a stem of stride 2
    Row((128, 128, 128), stride=2, skip="conv"),  # 4
    Row((256, 256, 256), stride=2, skip="conv"),  # 8
    Row((728, 728, 728), stride=2, skip="conv"),  # 16
)
ENTRY_71 = (
    Row((128, 128, 128), stride=2, skip="conv"),  # 4
    Row((256, 256, 256), stride=1, skip="conv"),
    Row((256, 256, 256), stride=2, skip="conv"),  # 8
    Row((728, 728, 728), stride=1, skip="conv"),
    Row((728, 728, 728), stride=2, skip="conv"),  # 16
)
DEPTHS = {
    41: (*ENTRY, *[MIDDLE] * 8, *EXIT),
    65: (*ENTRY, *[MIDDLE] * 16, *EXIT),
    71: (*ENTRY_71, *[MIDDLE] * 16, *EXIT),
}


class Block(nn.Module):
    """Three separable convolutions and a shortcut around them.

    Returns the block's output and the output of its second convolution, the last map before the stride. DeepLab's
    decoder and timm's `features_only` read the latter.
    """

    def __init__(self, in_channels: int, row: Row, drop_path: float, **bn):
        super().__init__()
        ins = (in_channels, *row.channels[:2])
        self.convs = nn.ModuleList(
            SeparableConv(i, o, relu=row.relu, **bn) for i, o in zip(ins, row.channels, strict=True)
        )
        self.skip = row.skip
        if row.skip == "conv":
            self.shortcut = ConvBN(in_channels, row.channels[-1], relu=False, **bn)
        self.drop_path = drop_path

    def set_rates(self, stride: int, rates: tuple[int, int, int]) -> None:
        for conv, rate in zip(self.convs, rates, strict=True):
            set_dilation(conv.depthwise, rate)
        set_stride(self.convs[-1].depthwise, stride)
        if self.skip == "conv":
            set_stride(self.shortcut.conv, stride)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        tap = self.convs[1](self.convs[0](x))
        residual = self.convs[2](tap)
        if self.skip == "none":
            return residual, tap
        if self.training and self.drop_path > 0:
            residual = drop_path(residual, self.drop_path)
        shortcut = self.shortcut(x) if self.skip == "conv" else x
        return residual + shortcut, tap


class AlignedXception(Trunk):
    """Aligned Xception as a backbone.

    Shapes: (N, in_channels, H, W) -> one (N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])) per level.
    Levels at width 1: C1 128, C2 256, C3 728, C4 1024, C5 2048 channels. C1..C4 are outputs of the second separable
    convolution of a strided block.

    Args:
        depth: 41, 65 or 71.
        output_stride: 32 as for classification; 16 or 8 for finer maps, by dilation.
        out: levels to return.
        width: factor on every channel count; counts are rounded to multiples of 8.
        multi_grid: factors on the atrous rates of the last block's three convolutions.
        taps: C1..C4 "before_relu" as in TensorFlow's DeepLab, whose decoder weights fit only these, or "after_relu" as
            in timm's `features_only`. C5 ends in a ReLU in both cases.
        drop_path: stochastic depth: the probability that a residual branch is dropped rises linearly with depth, from
            0 to this value.
        checkpointing: recompute each block in the backward pass instead of storing its activations.
        frozen_stages: number of stages to freeze; the stem is the first, the blocks up to C2 the second.
        frozen_bn: keep BatchNorm's statistics and parameters, also after `.train()`.
        bn_eps: the published weights need 1e-3.
        bn_momentum: weight of the new batch. Published training: 3e-4 (TensorFlow's decay 0.9997), which needs
            pretrained statistics or some 10,000 steps to settle.
    """

    block_type: type[nn.Module] = Block

    def __init__(
        self,
        depth: int = 65,
        output_stride: int = 32,
        out: Sequence[str] = ("c2", "c5"),
        width: float = 1.0,
        multi_grid: Sequence[int] = (1, 1, 1),
        in_channels: int = 3,
        taps: str = "before_relu",
        drop_path: float = 0.0,
        checkpointing: bool = False,
        frozen_stages: int = 0,
        frozen_bn: bool = False,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.1,
    ):
        super().__init__(out, frozen_stages, frozen_bn)
        if depth not in DEPTHS:
            raise ValueError(f"depth must be one of {sorted(DEPTHS)}, got {depth}")
        if taps not in ("before_relu", "after_relu"):
            raise ValueError(f"taps must be 'before_relu' or 'after_relu', got {taps!r}")
        if len(multi_grid) != 3:
            raise ValueError(f"multi_grid must be three factors, got {tuple(multi_grid)}")
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path must be a probability in [0, 1), got {drop_path}")
        self.rows = tuple(
            row._replace(channels=tuple(scale_channels(c, width) for c in row.channels)) for row in DEPTHS[depth]
        )
        self.multi_grid = tuple(multi_grid)
        self.tap_relu = nn.ReLU() if taps == "after_relu" else nn.Identity()
        self.checkpointing = checkpointing

        bn = {"bn_eps": bn_eps, "bn_momentum": bn_momentum}
        stem = (scale_channels(32, width), scale_channels(64, width))
        self.stem = self._build_stem(in_channels, stem, bn)
        self.blocks = nn.ModuleList()
        previous = stem[1]
        for index, row in enumerate(self.rows):
            self.blocks.append(self.block_type(previous, row, drop_path * index / (len(self.rows) - 1), **bn))
            previous = row.channels[-1]

        strided = [index for index, row in enumerate(self.rows) if row.stride == 2]
        self.taps = {index: f"c{level}" for level, index in enumerate(strided, start=1)}  # block -> its tap's level
        self.level_channels = {level: self.rows[index].channels[1] for index, level in self.taps.items()}
        self.level_channels["c5"] = previous
        self.stage_ends = (strided[0] + 1, strided[1] + 1, strided[3], len(self.rows))  # C4 includes the middle flow
        init_truncated_normal(self)
        self.set_output_stride(output_stride)
        self.train()

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        levels = {}
        for index, block in enumerate(self.blocks):
            if self.checkpointing and self.training:
                x, tap = checkpoint(block, x, use_reentrant=False)
            else:
                x, tap = block(x)
            if self.taps.get(index) in self.out:
                levels[self.taps[index]] = self.tap_relu(tap)
                if self.taps[index] == self.out[-1]:
                    break  # no deeper level is in `out`
        levels["c5"] = x
        return [levels[level] for level in self.out]

    def _build_stem(self, in_channels: int, channels: tuple[int, int], bn: dict) -> nn.Sequential:
        return nn.Sequential(
            ConvBN(in_channels, channels[0], 3, stride=2, **bn), ConvBN(channels[0], channels[1], 3, **bn)
        )

    def _apply_output_stride(self, output_stride: int) -> None:
        strides = (row.stride for row in self.rows)
        for block, (stride, rate) in zip(self.blocks, dilate(strides, output_stride), strict=True):
            grid = self.multi_grid if block is self.blocks[-1] else (1, 1, 1)
            block.set_rates(stride, tuple(rate * factor for factor in grid))


def drop_path(x: Tensor, probability: float) -> Tensor:
    """Set whole samples of a residual branch to zero and scale the others, which keeps the expected value."""
    keep = 1 - probability
    mask = torch.rand(x.shape[0], 1, 1, 1, device=x.device) < keep
    return x * (mask / keep).to(x.dtype)


def init_truncated_normal(module: nn.Module, std: float = 0.09) -> None:
    """Initialise every convolution as the released training code does."""
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d):
            nn.init.trunc_normal_(conv.weight, std=std, a=-2 * std, b=2 * std)
