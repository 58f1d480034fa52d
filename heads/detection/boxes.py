"""Parts that all detection heads share: towers of convolutions, flat predictions, box coding, choice of detections.

Boxes are xyxy in pixels of the image as fed to the model. Predictions are flat: (N, positions of all levels, …).
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d, nms

from heads.contract import Instances, Selection

NORMS: dict[str, Callable[[int], nn.Module] | None] = {
    "none": None,
    "group": lambda channels: nn.GroupNorm(max(1, channels // 8), channels),  # 32 groups of 256 channels
    "batch": nn.BatchNorm2d,  # becomes SyncBN if the config sets `sync_bn`
    "frozen": FrozenBatchNorm2d,  # for a head with trained weights
}
MAX_LOG_SCALE = math.log(1000 / 16)  # a decoded box is at most this much larger than its anchor


def tower(channels: int, num_convs: int, norm: str) -> nn.Sequential:
    """3x3 convolutions, each followed by a norm, one of `NORMS`, and a ReLU."""
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    layers: list[nn.Module] = []
    for _ in range(num_convs):
        layers.append(nn.Conv2d(channels, channels, 3, padding=1))
        if make := NORMS[norm]:
            layers.append(make(channels))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def init_normal(module: nn.Module, std: float = 0.01) -> None:
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d):
            nn.init.normal_(conv.weight, std=std)
            nn.init.zeros_(conv.bias)


def init_prior(classifier: nn.Conv2d, probability: float = 0.01) -> None:
    """Set the bias so that every class starts at this probability, as most positions are background."""
    nn.init.constant_(classifier.bias, -math.log((1 - probability) / probability))


def flatten(maps: Sequence[Tensor], size: int) -> Tensor:
    """(N, A * size, h, w) of every level -> (N, positions, size); positions run over levels, rows, columns, anchors."""
    flat = [m.unflatten(1, (-1, size)).permute(0, 3, 4, 1, 2).flatten(1, 3) for m in maps]
    return torch.cat(flat, 1)


def encode(boxes_xyxy: Tensor, anchors_xyxy: Tensor) -> Tensor:
    """(…, 4) boxes, (…, 4) anchors -> (…, 4): shift of the centre in anchor sizes, logarithm of the scale."""
    centres, sizes = centre_and_size(boxes_xyxy)
    anchor_centres, anchor_sizes = centre_and_size(anchors_xyxy)
    return torch.cat(((centres - anchor_centres) / anchor_sizes, (sizes / anchor_sizes).log()), -1)


def decode(deltas: Tensor, anchors_xyxy: Tensor) -> Tensor:
    """The inverse of `encode`."""
    anchor_centres, anchor_sizes = centre_and_size(anchors_xyxy)
    centres = anchor_centres + deltas[..., :2] * anchor_sizes
    half = deltas[..., 2:].clamp(max=MAX_LOG_SCALE).exp() * anchor_sizes / 2
    return torch.cat((centres - half, centres + half), -1)


def centre_and_size(boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """(…, 2) xy and (…, 2) wh of (…, 4) boxes."""
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return (low + high) / 2, high - low


def select(
    scores: Tensor, boxes_xyxy: Tensor, per_level: Sequence[int], size_hw: Sequence[int], rule: Selection
) -> Instances:
    """Detections of one image: the best scores of each level above the threshold, clipped, then NMS within each class.

    Shapes: scores (positions, classes), boxes_xyxy (positions, 4). `per_level` is the number of positions per level.
    """
    candidates = []
    num_classes = scores.shape[1]
    # sizes are symbols while a model is exported: min(), max() and tensors of them would fail
    for level_scores, level_boxes in zip(scores.split(list(per_level)), boxes_xyxy.split(list(per_level)), strict=True):
        best, index = level_scores.flatten().topk(torch.sym_min(rule.topk, level_scores.numel()))
        sure = best > rule.score_threshold
        best, index = best[sure], index[sure]
        candidates.append((level_boxes[index // num_classes], best, index % num_classes))
    boxes, best, labels = (torch.cat(parts) for parts in zip(*candidates, strict=True))
    boxes = clip(boxes, size_hw)
    kept = suppress(boxes, best, labels, num_classes, rule)
    return Instances(boxes[kept], best[kept], labels[kept])


def clip(boxes_xyxy: Tensor, size_hw: Sequence[int]) -> Tensor:
    """(…, 4) boxes, cut at the borders of the image."""
    height, width = size_hw
    limits = (width, height, width, height)
    return torch.stack([edge.clamp(0, limit) for edge, limit in zip(boxes_xyxy.unbind(-1), limits, strict=True)], -1)


def suppress(boxes_xyxy: Tensor, scores: Tensor, groups: Tensor, num_groups: int, rule: Selection) -> Tensor:
    """Indices (K,) of the boxes (L, 4) that NMS keeps, by falling score.

    Boxes suppress only boxes of their own group, a class or a level: groups (L,) int64 below `num_groups`.
    """
    kept = nms_by_group(boxes_xyxy, scores, groups, num_groups, rule.nms_iou).nonzero().squeeze(1)
    order = scores[kept].sort(descending=True).indices
    return kept[order][: rule.max_detections]


@torch.library.custom_op("xseg::nms_by_group", mutates_args=())
def nms_by_group(boxes_xyxy: Tensor, scores: Tensor, groups: Tensor, num_groups: int, iou: float) -> Tensor:
    """(L,) bool: which boxes (L, 4) are kept by NMS within each group.

    The groups are handled one after the other. torchvision's `batched_nms` moves the boxes of each group by an offset
    instead, which rounds them by up to 1/64 pixel with 80 classes and keeps other boxes. This is an operator of its own
    because export cannot follow the loop: ONNX has suppression by class as one operator (see `xseg.deploy.onnx`).
    """
    kept = torch.zeros_like(groups, dtype=torch.bool)
    sizes = [size for size in groups.bincount().tolist() if size]
    for rows in groups.argsort(stable=True).split(sizes):
        kept[rows[nms(boxes_xyxy[rows], scores[rows], iou)]] = True
    return kept


@nms_by_group.register_fake
def _(boxes_xyxy: Tensor, scores: Tensor, groups: Tensor, num_groups: int, iou: float) -> Tensor:
    return torch.empty_like(groups, dtype=torch.bool)
