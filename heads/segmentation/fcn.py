"""The fully convolutional head, also used as an auxiliary head on a middle level in training.

Papers: Long et al. 2015 (arXiv:1411.4038); as an auxiliary loss: Zhao et al. 2017 (arXiv:1612.01105).
"""

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.layers import ConvBN


class FCNHead(nn.Module):
    """3x3 convolutions, dropout and a 1x1 classifier on one level.

    Shapes: features [… (N, in_channels[level], h, w) …] -> logits (N, num_classes, h, w).

    Args:
        level: index of the feature to read, -1 for the deepest.
        channels: of the 3x3 convolutions; default a quarter of the feature's.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        level: int = -1,
        channels: int | None = None,
        num_convs: int = 1,
        dropout: float = 0.1,
        align_corners: bool = False,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
    ):
        super().__init__()
        if not -len(in_channels) <= level < len(in_channels):
            raise ValueError(f"level must be an index of the backbone's {len(in_channels)} levels, got {level}")
        self.num_classes = num_classes
        self.level = level
        self.align_corners = align_corners
        channels = channels or max(in_channels[level] // 4, 8)
        ins = (in_channels[level], *[channels] * (num_convs - 1))
        self.convs = nn.Sequential(
            *(ConvBN(i, channels, 3, bn_eps=bn_eps, bn_momentum=bn_momentum) for i in ins[:num_convs])
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(channels if num_convs else ins[0], num_classes, 1)

    def set_strides(self, in_strides: Sequence[int]) -> None:
        """Does nothing: the head works at any stride."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.classifier(self.dropout(self.convs(features[self.level])))
