"""Faster R-CNN and Mask R-CNN: proposals on a feature pyramid, then class, box and mask of each proposal.

Papers: Ren et al. 2015 (arXiv:1506.01497), He et al. 2017 (arXiv:1703.06870), on a pyramid Lin et al. 2017
(arXiv:1612.03144). Tests compare detections, masks and losses with torchvision's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.contract import Instances, Selection, Target
from heads.detection.anchors import chosen
from heads.detection.boxes import clip, decode, encode, suppress
from heads.detection.fpn import FPN
from heads.detection.roi import BoxHead, MaskHead, draw_regions, mask_targets, pool
from heads.detection.rpn import BETA, RPN, RPNOutput

BOX_SIZE, MASK_SIZE = 7, 14  # cells per side of a region, for the box head and for the mask head
CODE_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # factors on coded boxes of the second stage, whose errors are small
MIN_SIDE = 1e-2  # pixels; narrower detections are dropped


class RCNNOutput(NamedTuple):
    """The maps of the pyramid (N, channels, h, w) and the raw proposals.

    The second stage is computed in `loss` and `decode`: its regions depend on the objects or sizes of the images.
    """

    maps: list[Tensor]
    rpn: RPNOutput


class FasterRCNN(nn.Module):
    """Shapes: features (N, in_channels[i], h_i, w_i) -> `RCNNOutput`.

    Args:
        in_channels, in_strides: of the features C2 to C5; the model takes them from the backbone.
        channels: of pyramid and convolutions.
        num_levels, extra: of `FPN`, which adds P6; regions are read from the levels before it.
        anchor_size, ratios: of `RPN`.
        norm: of the convolutions of all heads, "none" as published, or another one of `heads.detection.boxes.NORMS`.
        box_convs: number of convolutions before the fully connected layers.
        box_layers, hidden: number and width of the fully connected layers.
        rpn_samples, roi_samples: anchors and regions per image in the loss; at most a half and a quarter have objects.
        train_proposals, test_proposals: (candidates per level, proposals per image after NMS).
        proposal_iou: threshold of that NMS.
        positive_iou: regions with at least this IoU are matched to an object, others to background.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        channels: int = 256,
        num_levels: int = 5,
        extra: str = "pool",
        anchor_size: int = 8,
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        norm: str = "none",
        box_convs: int = 0,
        box_layers: int = 2,
        hidden: int = 1024,
        rpn_samples: int = 256,
        roi_samples: int = 512,
        train_proposals: Sequence[int] = (2000, 2000),
        test_proposals: Sequence[int] = (1000, 1000),
        proposal_iou: float = 0.7,
        positive_iou: float = 0.5,
    ):
        super().__init__()
        self.num_classes, self.roi_samples, self.positive_iou = num_classes, roi_samples, positive_iou
        self.train_proposals = Selection(0.0, proposal_iou, *train_proposals)
        self.test_proposals = Selection(0.0, proposal_iou, *test_proposals)
        self.fpn = FPN(in_channels, in_strides, channels, num_levels, extra)
        self.roi_strides = self.fpn.strides[: len(self.fpn.output)]
        self.rpn = RPN(channels, self.fpn.strides, anchor_size, ratios, norm, rpn_samples)
        self.box_head = BoxHead(num_classes, channels, BOX_SIZE, box_convs, box_layers, hidden, norm)

    def set_strides(self, in_strides: Sequence[int]) -> None:
        self.fpn.set_strides(in_strides)

    def forward(self, features: Sequence[Tensor]) -> RCNNOutput:
        maps = self.fpn(features)
        return RCNNOutput(maps, self.rpn(maps))

    def loss(self, output: RCNNOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Losses of the proposals, and of class and box of the regions sampled from them."""
        batch_hw = [side * self.fpn.strides[0] for side in output.maps[0].shape[-2:]]
        sizes = [target.size_hw or batch_hw for target in targets]
        proposals = self.rpn.proposals(output.rpn, sizes, self.train_proposals)
        drawn = [
            draw_regions(boxes, target, self.roi_samples, 0.25, self.positive_iou)
            for boxes, target in zip(proposals, targets, strict=True)
        ]
        rois, matched = ([*parts] for parts in zip(*drawn, strict=True))
        return self.rpn.loss(output.rpn, targets) | self.roi_loss(output.maps, rois, matched, targets)

    def roi_loss(
        self, maps: Sequence[Tensor], rois: list[Tensor], matched: list[Tensor], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Cross-entropy, and smooth L1 of the coded boxes of the true class, averaged over the regions."""
        logits, deltas = (raw.float() for raw in self.box_head(self.pool(maps, rois, BOX_SIZE)))
        boxes, positive = torch.cat(rois), torch.cat(matched) >= 0
        labels = chosen(targets, matched, "labels")
        classes = torch.full((len(boxes),), self.num_classes, device=boxes.device)
        classes[positive] = labels
        coded = encode(chosen(targets, matched, "boxes_xyxy").to(boxes), boxes[positive])
        coded = coded * boxes.new_tensor(CODE_WEIGHTS)
        distance = F.smooth_l1_loss(deltas[positive, labels], coded, beta=BETA, reduction="sum")
        count = max(1, len(boxes))
        return {
            "loss_class": F.cross_entropy(logits, classes, reduction="sum") / count,
            "loss_box": distance / count,
        }

    def decode(self, output: RCNNOutput, sizes_hw: Sequence[Sequence[int]], rule: Selection) -> list[Instances]:
        """Detections of each image; `sizes_hw[i]` is the size of image i within the batch.

        Candidates are the `rule.topk` regions of each class with the highest scores.
        """
        rois = self.rpn.proposals(output.rpn, sizes_hw, self.test_proposals)
        logits, deltas = (raw.float() for raw in self.box_head(self.pool(output.maps, rois, BOX_SIZE)))
        boxes = decode(deltas / deltas.new_tensor(CODE_WEIGHTS), torch.cat(rois).unsqueeze(1))  # (R, classes, 4)
        scores = logits.softmax(1)[:, :-1]
        counts = [len(r) for r in rois]
        images = zip(scores.split(counts), boxes.split(counts), sizes_hw, strict=True)
        return [select_by_class(*image, rule) for image in images]

    def pool(self, maps: Sequence[Tensor], rois: Sequence[Tensor], size: int) -> Tensor:
        return pool(maps[: len(self.roi_strides)], self.roi_strides, rois, size)


class MaskRCNN(FasterRCNN):
    """`FasterRCNN` with a mask of 28 x 28 cells for each detection; targets must have masks.

    Args:
        mask_convs: number of convolutions of the mask head.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        norm: str = "none",
        mask_convs: int = 4,
        **arguments,
    ):
        super().__init__(num_classes, in_channels, in_strides, norm=norm, **arguments)
        self.mask_head = MaskHead(num_classes, self.fpn.channels, mask_convs, norm)

    def loss(self, output: RCNNOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Losses of `FasterRCNN`, and cross-entropy of the true class's mask. ValueError for targets without masks."""
        if any(target.masks is None for target in targets):
            raise ValueError("MaskRCNN learns masks, but the samples have none; set with_masks=True in the dataset")
        return super().loss(output, targets)

    def roi_loss(
        self, maps: Sequence[Tensor], rois: list[Tensor], matched: list[Tensor], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        losses = super().roi_loss(maps, rois, matched, targets)
        positive = [boxes[objects >= 0] for boxes, objects in zip(rois, matched, strict=True)]
        logits = self.mask_head(self.pool(maps, positive, MASK_SIZE)).float()
        labels = chosen(targets, matched, "labels")
        masks = [
            mask_targets(target.masks, boxes, objects[objects >= 0], logits.shape[-1])
            for target, boxes, objects in zip(targets, positive, matched, strict=True)
        ]
        own = logits[torch.arange(len(labels), device=labels.device), labels]
        loss = F.binary_cross_entropy_with_logits(own, torch.cat(masks), reduction="sum")
        return losses | {"loss_mask": loss / max(1, own.numel())}

    def decode(self, output: RCNNOutput, sizes_hw: Sequence[Sequence[int]], rule: Selection) -> list[Instances]:
        detections = super().decode(output, sizes_hw, rule)
        logits = self.mask_head(self.pool(output.maps, [d.boxes_xyxy for d in detections], MASK_SIZE)).float()
        labels = torch.cat([d.labels for d in detections])
        own = logits[torch.arange(len(labels), device=labels.device), labels].sigmoid()
        masks = own.split([len(d.labels) for d in detections])
        return [d._replace(masks=m) for d, m in zip(detections, masks, strict=True)]


def select_by_class(scores: Tensor, boxes_xyxy: Tensor, size_hw: Sequence[int], rule: Selection) -> Instances:
    """Detections of one image from scores (R, classes) and one box per region and class (R, classes, 4)."""
    best, region = scores.topk(min(rule.topk, len(scores)), 0)
    labels = torch.arange(scores.shape[1], device=scores.device).expand_as(region)
    boxes = clip(boxes_xyxy[region, labels], size_hw)
    kept = (best > rule.score_threshold) & (boxes[..., 2:] - boxes[..., :2] >= MIN_SIDE).all(-1)
    boxes, best, labels = boxes[kept], best[kept], labels[kept]
    kept = suppress(boxes, best, labels, scores.shape[1], rule)
    return Instances(boxes[kept], best[kept], labels[kept])
