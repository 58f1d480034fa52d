"""Dense prediction cell: five atrous convolutions, found by architecture search, in place of DeepLabv3+'s ASPP.

Paper: Chen et al. 2018, "Searching for Efficient Multi-Scale Architectures for Dense Image Prediction"
(arXiv:1809.04184), Fig. 4; as released in TensorFlow `research/deeplab/core/dense_prediction_cell_branch5_top1_
cityscapes.json`. A test compares the logits with that program's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from backbones.layers import ConvBN, SeparableConv, set_dilation
from heads.segmentation.deeplabv3plus import Decoding


class Branch(NamedTuple):
    """One separable 3x3 convolution of the cell."""

    source: int  # index of the branch that it reads; -1 for C5
    rate_hw: tuple[int, int]  # atrous rate at output stride 16


BRANCHES = (
    Branch(-1, (1, 6)),
    Branch(0, (18, 15)),
    Branch(1, (6, 3)),
    Branch(0, (1, 1)),
    Branch(0, (6, 21)),
)


class DeepLabV3PlusDPC(Decoding):
    """Dense prediction cell and decoder. The first feature is the low level, the last one the high level.

    Shapes: features [(N, in_channels[0], h, w), …, (N, in_channels[-1], h', w')] -> logits (N, num_classes, h, w).

    Args: as in `DeepLabV3Plus`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        channels: int = 256,
        low_channels: int = 48,
        align_corners: bool = True,
        dropout: float = 0.1,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
    ):
        super().__init__(num_classes, in_channels, align_corners)
        bn = {"bn_eps": bn_eps, "bn_momentum": bn_momentum}
        self.branches = nn.ModuleList(
            SeparableConv(in_channels[-1] if branch.source < 0 else channels, channels, **bn) for branch in BRANCHES
        )
        self.project = ConvBN(len(BRANCHES) * channels, channels, **bn)
        self._build_decoder(in_channels[0], channels, low_channels, SeparableConv, dropout, bn)
        self.set_strides(in_strides)

    def set_strides(self, in_strides: Sequence[int]) -> None:
        """Adapt the atrous rates to the stride of the high level: those of `BRANCHES` at 16, twice these at 8."""
        for conv, branch in zip(self.branches, BRANCHES, strict=True):
            set_dilation(conv.depthwise, *(max(1, rate * 16 // in_strides[-1]) for rate in branch.rate_hw))

    def context(self, high: Tensor) -> Tensor:
        maps: list[Tensor] = []
        for conv, branch in zip(self.branches, BRANCHES, strict=True):
            maps.append(conv(high if branch.source < 0 else maps[branch.source]))
        return self.project(torch.cat(maps, 1))
