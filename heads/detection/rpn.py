"""Region proposals: boxes of possible objects of any class, from every map of a pyramid.

Papers: Ren et al. 2015 (arXiv:1506.01497), on a pyramid Lin et al. 2017 (arXiv:1612.03144). Anchors, matching, losses
and choice of proposals follow torchvision; tests compare them with it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator

from heads.contract import Selection, Target
from heads.detection.anchors import NEGATIVE, chosen, grid, match
from heads.detection.boxes import clip, decode, encode, flatten, init_normal, suppress, tower

BETA = 1 / 9  # error of a coded box below which smooth L1 is quadratic
MIN_SIDE = 1e-3  # pixels; narrower proposals are dropped


class RPNOutput(NamedTuple):
    """Raw predictions of `RPN`.

    objectness: (N, positions) logits. deltas: (N, positions, 4). anchors_xyxy: (positions, 4).
    per_level: number of positions per level.
    """

    objectness: Tensor
    deltas: Tensor
    anchors_xyxy: Tensor
    per_level: list[int]


class RPN(nn.Module):
    """Shapes: maps (N, channels, h, w), one per stride -> `RPNOutput`.

    Args:
        anchor_size: in strides; each level has one.
        ratios: height / width of anchors.
        norm: of the convolution, "none" as published, or another one of `heads.detection.boxes.NORMS`.
        samples: number of random anchors per image in the loss; at most half of them have an object.
        positive_iou, negative_iou: as in `RetinaNet`.
    """

    def __init__(
        self,
        channels: int,
        strides: Sequence[int],
        anchor_size: int = 8,
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        norm: str = "none",
        samples: int = 256,
        positive_iou: float = 0.7,
        negative_iou: float = 0.3,
    ):
        super().__init__()
        self.strides, self.samples = tuple(strides), samples
        self.positive_iou, self.negative_iou = positive_iou, negative_iou
        self.anchors = AnchorGenerator(
            tuple((anchor_size * stride,) for stride in strides), (tuple(ratios),) * len(self.strides)
        )
        self.tower = tower(channels, 1, norm)
        self.objectness = nn.Conv2d(channels, len(ratios), 1)
        self.regressor = nn.Conv2d(channels, len(ratios) * 4, 1)
        init_normal(self)

    def forward(self, maps: Sequence[Tensor]) -> RPNOutput:
        towers = [self.tower(m) for m in maps]
        objectness = flatten([self.objectness(m) for m in towers], 1).squeeze(-1)
        deltas = flatten([self.regressor(m) for m in towers], 4)
        anchors = grid(self.anchors, maps, self.strides)
        return RPNOutput(objectness, deltas, torch.cat(anchors), [len(level) for level in anchors])

    def loss(self, output: RPNOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Cross-entropy and smooth L1 of the coded boxes, averaged over the sampled anchors of the batch."""
        objectness, deltas, anchors = output.objectness.float(), output.deltas.float(), output.anchors_xyxy
        matched = torch.stack([match(t.boxes_xyxy, anchors, self.positive_iou, self.negative_iou) for t in targets])
        drawn = draw(matched, self.samples, 0.5)
        count = drawn.sum().clamp(min=1)
        labels = (matched >= 0).to(objectness)
        entropy = F.binary_cross_entropy_with_logits(objectness[drawn], labels[drawn], reduction="sum")
        matched = matched.masked_fill(~drawn, NEGATIVE)
        image, position = (matched >= 0).nonzero(as_tuple=True)
        coded = encode(chosen(targets, matched, "boxes_xyxy"), anchors[position])
        distance = F.smooth_l1_loss(deltas[image, position], coded, beta=BETA, reduction="sum")
        return {"loss_objectness": entropy / count, "loss_proposal": distance / count}

    @torch.no_grad()
    def proposals(self, output: RPNOutput, sizes_hw: Sequence[Sequence[int]], rule: Selection) -> list[Tensor]:
        """Boxes (P, 4) of each image by falling objectness; `sizes_hw[i]` is the size of image i within the batch."""
        candidates = []
        starts = [sum(output.per_level[:level]) for level in range(len(output.per_level))]
        for level, (start, count) in enumerate(zip(starts, output.per_level, strict=True)):
            best, index = output.objectness[:, start : start + count].float().topk(min(rule.topk, count))
            index += start
            deltas = output.deltas.gather(1, index.unsqueeze(-1).expand(-1, -1, 4)).float()
            candidates.append((decode(deltas, output.anchors_xyxy[index]), best, torch.full_like(index, level)))
        batch = (torch.cat(parts, 1) for parts in zip(*candidates, strict=True))
        num_levels = len(output.per_level)
        return [_proposals(*image, num_levels, hw, rule) for *image, hw in zip(*batch, sizes_hw, strict=True)]


def _proposals(
    boxes: Tensor, scores: Tensor, levels: Tensor, num_levels: int, size_hw: Sequence[int], rule: Selection
) -> Tensor:
    boxes = clip(boxes, size_hw)
    large = (boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE).all(1)
    boxes = boxes[large]
    return boxes[suppress(boxes, scores[large], levels[large], num_levels, rule)]


def draw(matched: Tensor, size: int, positive_share: float) -> Tensor:
    """(N, L) matches -> (N, L) bool: `size` random positions of each image, drawn with torch's global generator.

    At most `positive_share` of them have an object, the rest are NEGATIVE. BETWEEN is never drawn.
    """
    most = torch.full((len(matched),), int(size * positive_share), device=matched.device)
    positive = _draw(matched >= 0, most, size)
    return positive | _draw(matched == NEGATIVE, size - positive.sum(1), size)


def _draw(eligible: Tensor, counts: Tensor, most: int) -> Tensor:
    """(N, L) bool -> (N, L) bool: `counts` (N,) random eligible ones, at most `most`; all if there are fewer."""
    lots = torch.rand(eligible.shape, device=eligible.device).masked_fill(~eligible, -1)
    best, index = lots.topk(min(most, eligible.shape[1]))
    kept = (best >= 0) & (torch.arange(best.shape[1], device=best.device) < counts.unsqueeze(1))
    return torch.zeros_like(eligible).scatter(1, index, kept)
