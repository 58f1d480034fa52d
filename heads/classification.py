"""The head that classifies images: global average pool, optional fully connected layers, dropout, one linear layer.

Paper: Chollet 2017 (arXiv:1610.02357), Fig. 5. Its JFT experiments have two layers of 4096, those on ImageNet dropout
0.5.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class ClassificationHead(nn.Module):
    """Shapes: features [..., (N, in_channels[-1], h, w)] -> logits (N, num_classes), from the deepest level.

    Args:
        in_channels, in_strides: of the features; the model takes them from the backbone.
        hidden: widths of the fully connected layers before the last one; each has a ReLU.
        dropout: probability of dropout before the last layer.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
    ):
        super().__init__()
        self.num_classes = num_classes
        widths = [in_channels[-1], *hidden]
        self.hidden = nn.Sequential(
            *(nn.Sequential(nn.Linear(before, after), nn.ReLU()) for before, after in pairwise(widths))
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(widths[-1], num_classes)

    def set_strides(self, in_strides: Sequence[int]) -> None:
        """Does nothing: the pool takes maps of any stride."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.fc(self.dropout(self.hidden(features[-1].mean((2, 3)))))
