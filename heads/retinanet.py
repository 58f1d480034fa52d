"""RetinaNet: anchors on a feature pyramid, focal loss.

Paper: Lin et al. 2017 (arXiv:1708.02002). Anchors, matching and losses follow torchvision's; a test holds detections
and losses equal to that library.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import box_iou, sigmoid_focal_loss

from heads.boxes import Detections, Selection, Target, decode, encode, flatten, init_normal, init_prior, select, tower
from heads.fpn import FPN

NEGATIVE, BETWEEN = -1, -2  # what an anchor without an object is matched to


class RetinaNetOutput(NamedTuple):
    """class_logits (N, positions, classes), deltas (N, positions, 4), anchors_xyxy (positions, 4), counts a level."""

    class_logits: Tensor
    deltas: Tensor
    anchors_xyxy: Tensor
    per_level: list[int]


class RetinaNet(nn.Module):
    """Shapes: features (N, in_channels[i], h_i, w_i) -> `RetinaNetOutput`.

    Args:
        in_channels, in_strides: of the features, C3 to C5; the model fills them from the backbone.
        channels: of pyramid and towers.
        extra: of `FPN`, which makes P6 and P7.
        anchor_size: smallest anchor in strides; each level has three sizes an octave.
        ratios: height / width of anchors.
        norm: of the towers, "none" as published or "group".
        positive_iou, negative_iou: an anchor above the first finds an object, below the second background, in between
            it does not count; each object's best anchors find it in any case.
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
        super().__init__()
        self.num_classes = num_classes
        self.positive_iou, self.negative_iou = positive_iou, negative_iou
        self.fpn = FPN(in_channels, in_strides, channels, num_levels, extra)
        sizes = [tuple(int(anchor_size * stride * 2 ** (k / 3)) for k in range(3)) for stride in self.fpn.strides]
        self.anchors = AnchorGenerator(tuple(sizes), (tuple(ratios),) * len(sizes))
        count = 3 * len(ratios)
        self.class_tower, self.box_tower = tower(channels, num_convs, norm), tower(channels, num_convs, norm)
        self.classifier = nn.Conv2d(channels, count * num_classes, 3, padding=1)
        self.regressor = nn.Conv2d(channels, count * 4, 3, padding=1)
        for module in (self.class_tower, self.box_tower, self.classifier, self.regressor):
            init_normal(module)
        init_prior(self.classifier)

    def set_strides(self, in_strides: Sequence[int]) -> None:
        self.fpn.set_strides(in_strides)

    def forward(self, features: Sequence[Tensor]) -> RetinaNetOutput:
        maps = self.fpn(features)
        logits = flatten([self.classifier(self.class_tower(m)) for m in maps], self.num_classes)
        deltas = flatten([self.regressor(self.box_tower(m)) for m in maps], 4)
        anchors = grid(self.anchors, maps, self.fpn.strides)
        return RetinaNetOutput(logits, deltas, torch.cat(anchors), [level.shape[0] for level in anchors])

    def loss(self, output: RetinaNetOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Focal loss and L1 of the coded boxes, of each image over its matched anchors, averaged over the images."""
        logits, deltas, anchors = output.class_logits.float(), output.deltas.float(), output.anchors_xyxy
        matched = torch.stack([match(t.boxes_xyxy, anchors, self.positive_iou, self.negative_iou) for t in targets])
        found = matched >= 0
        weight = 1 / found.sum(1).clamp(min=1) / len(targets)  # (N,)
        image, position = found.nonzero(as_tuple=True)
        wanted = torch.zeros_like(logits)
        wanted[image, position, chosen(targets, matched, "labels")] = 1
        focal = sigmoid_focal_loss(logits, wanted) * (matched != BETWEEN).unsqueeze(-1)
        coded = encode(chosen(targets, matched, "boxes_xyxy"), anchors[position])
        distance = (deltas[image, position] - coded).abs().sum(1)
        return {"loss_class": (focal.sum((1, 2)) * weight).sum(), "loss_box": (distance * weight[image]).sum()}

    def decode(self, output: RetinaNetOutput, sizes_hw: Sequence[Sequence[int]], rule: Selection) -> list[Detections]:
        """Detections of each image, whose size within the batch is `sizes_hw[i]`."""
        scores = output.class_logits.float().sigmoid()
        boxes = decode(output.deltas.float(), output.anchors_xyxy)
        return [select(s, b, output.per_level, hw, rule) for s, b, hw in zip(scores, boxes, sizes_hw, strict=True)]


def grid(generator: AnchorGenerator, maps: Sequence[Tensor], strides: Sequence[int]) -> list[Tensor]:
    """Anchors (h * w * A, 4) float32 of each level, centred at multiples of its stride."""
    device = maps[0].device
    generator.set_cell_anchors(torch.float32, device)
    steps = [[torch.tensor(stride, device=device)] * 2 for stride in strides]
    return generator.grid_anchors([list(m.shape[-2:]) for m in maps], steps)


def match(boxes_xyxy: Tensor, anchors_xyxy: Tensor, positive_iou: float, negative_iou: float) -> Tensor:
    """(M, 4) objects, (L, 4) anchors -> (L,) int64: the object each anchor is to find, NEGATIVE or BETWEEN."""
    if len(boxes_xyxy) == 0:
        return torch.full((len(anchors_xyxy),), NEGATIVE, device=anchors_xyxy.device)
    iou = box_iou(boxes_xyxy, anchors_xyxy)  # (M, L)
    best, nearest = iou.max(0)
    matched = nearest.masked_fill(best < positive_iou, BETWEEN).masked_fill(best < negative_iou, NEGATIVE)
    last_resort = (iou == iou.max(1, keepdim=True).values).any(0)  # the best anchors of some object
    return torch.where(last_resort, nearest, matched)


def chosen(targets: Sequence[Target], matched: Tensor, field: str) -> Tensor:
    """`field` of the object behind every matched position of the batch, in the order of `matched.nonzero()`."""
    return torch.cat([getattr(t, field)[m[m >= 0]] for t, m in zip(targets, matched, strict=True)])
