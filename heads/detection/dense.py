"""Base of the detectors without a second stage: predictions at every position of a pyramid, from two towers."""

from collections.abc import Sequence

from torch import Tensor, nn

from heads.detection.boxes import flatten, init_normal, init_prior, tower
from heads.detection.fpn import FPN


class DenseDetector(nn.Module):
    """A pyramid, a tower for classes, a tower for boxes, and a convolution behind each that predicts.

    A subclass adds its further predictors, then calls `_init_predictors`. Its `forward` starts with `predict`.

    Args:
        in_channels, in_strides: of the features C3 to C5; the model takes them from the backbone.
        channels: of pyramid and towers.
        num_convs: of each tower.
        num_levels, extra: of `FPN`, which adds P6 and P7.
        norm: of the towers, one of `heads.detection.boxes.NORMS`: "none", "group", "batch", "frozen".
        per_position: number of predictions at each position of a map.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        channels: int,
        num_convs: int,
        num_levels: int,
        extra: str,
        norm: str,
        per_position: int = 1,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.fpn = FPN(in_channels, in_strides, channels, num_levels, extra)
        self.class_tower, self.box_tower = tower(channels, num_convs, norm), tower(channels, num_convs, norm)
        self.classifier = nn.Conv2d(channels, per_position * num_classes, 3, padding=1)
        self.regressor = nn.Conv2d(channels, per_position * 4, 3, padding=1)

    def set_strides(self, in_strides: Sequence[int]) -> None:
        self.fpn.set_strides(in_strides)

    def predict(self, features: Sequence[Tensor]) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        """The maps of the pyramid, class_logits (N, positions, classes), and the maps of the box tower."""
        maps = self.fpn(features)
        logits = flatten([self.classifier(self.class_tower(m)) for m in maps], self.num_classes)
        return maps, logits, [self.box_tower(m) for m in maps]

    def _init_predictors(self) -> None:
        for name, module in self.named_children():
            if name != "fpn":
                init_normal(module)
        init_prior(self.classifier)
