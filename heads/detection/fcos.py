"""FCOS: the positions near an object's centre predict its box, without anchors.

Papers: Tian et al. 2019 (arXiv:1904.01355); centre sampling, GIoU loss and centreness on the regression tower:
arXiv:2006.09214. Tests compare detections and losses with torchvision's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from heads.contract import Instances, Selection, Target
from heads.detection.anchors import NEGATIVE, chosen
from heads.detection.boxes import centre_and_size, flatten, select
from heads.detection.dense import DenseDetector


class FCOSOutput(NamedTuple):
    """Raw predictions of `FCOS`.

    class_logits: (N, positions, classes). distances: (N, positions, 4) to left, top, right, bottom, in strides.
    centreness: (N, positions) logits. points_xy: (positions, 2). strides: (positions,).
    per_level: number of positions per level.
    """

    class_logits: Tensor
    distances: Tensor
    centreness: Tensor
    points_xy: Tensor
    strides: Tensor
    per_level: list[int]


class FCOS(DenseDetector):
    """Shapes: features (N, in_channels[i], h_i, w_i) -> `FCOSOutput`.

    Args:
        in_channels to extra: as in `DenseDetector`.
        centre_radius: positions within this many strides of an object's centre are matched to it.
        norm: of the towers, "group" as published, or another one of `heads.detection.boxes.NORMS`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        channels: int = 256,
        num_convs: int = 4,
        num_levels: int = 5,
        extra: str = "p",
        centre_radius: float = 1.5,
        norm: str = "group",
    ):
        super().__init__(num_classes, in_channels, in_strides, channels, num_convs, num_levels, extra, norm)
        self.centre_radius = centre_radius
        self.centreness = nn.Conv2d(channels, 1, 3, padding=1)
        self._init_predictors()

    def forward(self, features: Sequence[Tensor]) -> FCOSOutput:
        maps, logits, towers = self.predict(features)
        distances = flatten([self.regressor(m).relu() for m in towers], 4)
        centreness = flatten([self.centreness(m) for m in towers], 1).squeeze(-1)
        points = [grid_points(m, stride) for m, stride in zip(maps, self.fpn.strides, strict=True)]
        strides = [p.new_full(p.shape[:1], stride) for p, stride in zip(points, self.fpn.strides, strict=True)]
        return FCOSOutput(
            logits, distances, centreness, torch.cat(points), torch.cat(strides), [level.shape[0] for level in points]
        )

    def loss(self, output: FCOSOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Focal, GIoU and centreness loss, each a sum over the batch divided by the number of matched positions."""
        logits, distances = output.class_logits.float(), output.distances.float()
        bounds = size_bounds(output.strides, output.per_level)
        matched = torch.stack(
            [match(t.boxes_xyxy, output.points_xy, output.strides, bounds, self.centre_radius) for t in targets]
        )
        image, position = (matched >= 0).nonzero(as_tuple=True)
        count = max(1, len(image))
        labels = torch.zeros_like(logits)
        labels[image, position, chosen(targets, matched, "labels")] = 1
        boxes = chosen(targets, matched, "boxes_xyxy")
        points, strides = output.points_xy[position], output.strides[position]
        predicted = boxes_around(points, distances[image, position], strides)
        sides = torch.cat((points - boxes[:, :2], boxes[:, 2:] - points), 1)  # left, top, right, bottom
        horizontal, vertical = sides[:, [0, 2]], sides[:, [1, 3]]
        truth = ((horizontal.amin(1) / horizontal.amax(1)) * (vertical.amin(1) / vertical.amax(1))).sqrt()
        centreness = output.centreness.float()[image, position]
        return {
            "loss_class": sigmoid_focal_loss(logits, labels, reduction="sum") / count,
            "loss_box": generalized_box_iou_loss(predicted, boxes, reduction="sum") / count,
            "loss_centre": F.binary_cross_entropy_with_logits(centreness, truth, reduction="sum") / count,
        }

    def decode(self, output: FCOSOutput, sizes_hw: Sequence[Sequence[int]], rule: Selection) -> list[Instances]:
        """Detections of each image; `sizes_hw[i]` is the size of image i within the batch."""
        centreness = output.centreness.float().sigmoid().unsqueeze(-1)
        scores = (output.class_logits.float().sigmoid() * centreness).sqrt()
        boxes = boxes_around(output.points_xy, output.distances.float(), output.strides)
        return [select(s, b, output.per_level, hw, rule) for s, b, hw in zip(scores, boxes, sizes_hw, strict=True)]


def grid_points(m: Tensor, stride: int) -> Tensor:
    """(h * w, 2) xy of a map's positions, which lie at multiples of the stride."""
    rows, columns = (torch.arange(size, device=m.device, dtype=torch.float32) * stride for size in m.shape[-2:])
    return torch.cartesian_prod(rows, columns).flip(1)


def boxes_around(points_xy: Tensor, distances: Tensor, strides: Tensor) -> Tensor:
    """(…, 4) xyxy boxes whose sides lie `distances` (…, 4) strides from the points (…, 2)."""
    pixels = distances * strides.unsqueeze(-1)
    return torch.cat((points_xy - pixels[..., :2], points_xy + pixels[..., 2:]), -1)


def size_bounds(strides: Tensor, per_level: Sequence[int]) -> tuple[Tensor, Tensor]:
    """For each position (L,) the least and largest distance in pixels to the farthest side of an object it matches.

    They are 4 and 8 strides; the first level has no lower bound and the last level no upper bound.
    """
    low, high = 4 * strides, 8 * strides
    low[: per_level[0]] = 0
    high[len(high) - per_level[-1] :] = float("inf")
    return low, high


def match(
    boxes_xyxy: Tensor, points_xy: Tensor, strides: Tensor, bounds: tuple[Tensor, Tensor], centre_radius: float
) -> Tensor:
    """(M, 4) objects, (L, 2) positions -> (L,) int64: the smallest object that fits a position, or NEGATIVE."""
    if len(boxes_xyxy) == 0:
        return torch.full((len(points_xy),), NEGATIVE, device=points_xy.device)
    centres, sizes = centre_and_size(boxes_xyxy)
    near = (points_xy[:, None] - centres).abs().amax(-1) < centre_radius * strides[:, None]  # (L, M)
    sides = torch.cat((points_xy[:, None] - boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - points_xy[:, None]), -1)
    farthest = sides.amax(-1)
    fits = near & (sides.amin(-1) > 0) & (farthest > bounds[0][:, None]) & (farthest < bounds[1][:, None])
    areas = sizes.prod(-1).expand(len(points_xy), -1).masked_fill(~fits, float("inf"))
    smallest, index = areas.min(1)
    return index.masked_fill(smallest.isinf(), NEGATIVE)
