"""Anchors of a feature pyramid, and how they are matched to the objects of an image.

Anchors and matching follow torchvision. Papers: Lin et al. 2017 (arXiv:1708.02002), Ren et al. 2015
(arXiv:1506.01497).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import box_iou

from heads.contract import Target

NEGATIVE, BETWEEN = -1, -2  # matches of anchors without an object: background, and left out of the loss


def grid(generator: AnchorGenerator, maps: Sequence[Tensor], strides: Sequence[int]) -> list[Tensor]:
    """Anchors (h * w * A, 4) float32 of each level, centred at multiples of the level's stride."""
    device = maps[0].device
    generator.set_cell_anchors(torch.float32, device)
    steps = [[torch.tensor(stride, device=device)] * 2 for stride in strides]
    return generator.grid_anchors([list(m.shape[-2:]) for m in maps], steps)


def match(boxes_xyxy: Tensor, anchors_xyxy: Tensor, positive_iou: float, negative_iou: float) -> Tensor:
    """(M, 4) objects, (L, 4) anchors -> (L,) int64: index of the object of each anchor, or NEGATIVE, or BETWEEN.

    The anchors with the largest IoU of an object are matched to it whatever that IoU is.
    """
    if len(boxes_xyxy) == 0:
        return torch.full((len(anchors_xyxy),), NEGATIVE, device=anchors_xyxy.device)
    iou = box_iou(boxes_xyxy, anchors_xyxy)  # (M, L)
    best, nearest = iou.max(0)
    matched = nearest.masked_fill(best < positive_iou, BETWEEN).masked_fill(best < negative_iou, NEGATIVE)
    best_of_object = (iou == iou.max(1, keepdim=True).values).any(0)
    return torch.where(best_of_object, nearest, matched)


def chosen(targets: Sequence[Target], matched: Sequence[Tensor], field: str) -> Tensor:
    """`field` of the object of each matched position in the batch, in the order of `(matched >= 0).nonzero()`."""
    return torch.cat([getattr(t, field)[m[m >= 0]] for t, m in zip(targets, matched, strict=True)])
