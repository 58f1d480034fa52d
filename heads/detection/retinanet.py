"""RetinaNet: anchors on a feature pyramid, focal loss.

Paper: Lin et al. 2017 (arXiv:1708.02002). Anchors, matching and losses follow torchvision; tests compare detections and
losses with it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import sigmoid_focal_loss

from heads.contract import Instances, Selection, Target
from heads.detection.anchors import BETWEEN, chosen, grid, match
from heads.detection.boxes import decode, encode, flatten, select
from heads.detection.dense import DenseDetector


class RetinaNetOutput(NamedTuple):
    """Raw predictions of `RetinaNet`.

    class_logits: (N, positions, classes). deltas: (N, positions, 4). anchors_xyxy: (positions, 4).
    per_level: number of positions per level.
    """

    class_logits: Tensor
    deltas: Tensor
    anchors_xyxy: Tensor
    per_level: list[int]


class RetinaNet(DenseDetector):
    """Shapes: features (N, in_channels[i], h_i, w_i) -> `RetinaNetOutput`.

    Args:
        in_channels to extra: as in `DenseDetector`.
        anchor_size: smallest anchor in strides; each level has three sizes per octave.
        ratios: height / width of anchors.
        norm: of the towers, "none" as published, or another one of `heads.detection.boxes.NORMS`.
        positive_iou, negative_iou: anchors with at least the first IoU are matched to an object, below the second to
            background; those in between are left out of the loss. The best anchors of each object are matched to it in
            any case.
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
        anchor_size: int = 4,
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        norm: str = "none",
        positive_iou: float = 0.5,
        negative_iou: float = 0.4,
    ):
        count = 3 * len(ratios)
        super().__init__(num_classes, in_channels, in_strides, channels, num_convs, num_levels, extra, norm, count)
        self.positive_iou, self.negative_iou = positive_iou, negative_iou
        sizes = [tuple(int(anchor_size * stride * 2 ** (k / 3)) for k in range(3)) for stride in self.fpn.strides]
        self.anchors = AnchorGenerator(tuple(sizes), (tuple(ratios),) * len(sizes))
        self._init_predictors()

    def forward(self, features: Sequence[Tensor]) -> RetinaNetOutput:
        maps, logits, towers = self.predict(features)
        deltas = flatten([self.regressor(m) for m in towers], 4)
        anchors = grid(self.anchors, maps, self.fpn.strides)
        return RetinaNetOutput(logits, deltas, torch.cat(anchors), [level.shape[0] for level in anchors])

    def loss(self, output: RetinaNetOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Focal loss and L1 of the coded boxes: per image divided by its matched anchors, averaged over the images."""
        logits, deltas, anchors = output.class_logits.float(), output.deltas.float(), output.anchors_xyxy
        matched = torch.stack([match(t.boxes_xyxy, anchors, self.positive_iou, self.negative_iou) for t in targets])
        positive = matched >= 0
        weight = 1 / positive.sum(1).clamp(min=1) / len(targets)  # (N,)
        image, position = positive.nonzero(as_tuple=True)
        labels = torch.zeros_like(logits)
        labels[image, position, chosen(targets, matched, "labels")] = 1
        focal = sigmoid_focal_loss(logits, labels) * (matched != BETWEEN).unsqueeze(-1)
        coded = encode(chosen(targets, matched, "boxes_xyxy"), anchors[position])
        distance = (deltas[image, position] - coded).abs().sum(1)
        return {"loss_class": (focal.sum((1, 2)) * weight).sum(), "loss_box": (distance * weight[image]).sum()}

    def decode(self, output: RetinaNetOutput, sizes_hw: Sequence[Sequence[int]], rule: Selection) -> list[Instances]:
        """Detections of each image; `sizes_hw[i]` is the size of image i within the batch."""
        scores = output.class_logits.float().sigmoid()
        boxes = decode(output.deltas.float(), output.anchors_xyxy)
        return [select(s, b, output.per_level, hw, rule) for s, b, hw in zip(scores, boxes, sizes_hw, strict=True)]
