"""Parts of the second stage: pooling of a region from the maps, and the heads for its class, box and mask.

Papers: Ren et al. 2015 (arXiv:1506.01497), He et al. 2017 (arXiv:1703.06870). Shapes are (R, …), where R counts the
regions of all images of the batch, image by image.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou, roi_align

from heads.contract import Target
from heads.detection.anchors import NEGATIVE
from heads.detection.boxes import tower
from heads.detection.rpn import draw

CANONICAL_SIZE, CANONICAL_STRIDE = 224, 16  # a region of 224 x 224 pixels is read at stride 16 (arXiv:1612.03144)
CHUNK = 32  # number of regions whose full-size masks are in memory at once


class BoxHead(nn.Module):
    """Convolutions, fully connected layers, and one linear layer each for class and box.

    Shapes: (R, channels, size, size) -> logits (R, num_classes + 1) with the background last, and deltas
    (R, num_classes, 4), one box per class.
    """

    def __init__(
        self, num_classes: int, channels: int, size: int, num_convs: int, num_layers: int, hidden: int, norm: str
    ):
        super().__init__()
        self.convs = tower(channels, num_convs, norm)
        widths = [channels * size * size] + [hidden] * num_layers
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.classifier = nn.Linear(widths[-1], num_classes + 1)
        self.regressor = nn.Linear(widths[-1], num_classes * 4)
        _init_relu(self.convs)
        for layer in self.layers:
            nn.init.kaiming_uniform_(layer.weight, a=1)
        for layer, std in ((self.classifier, 0.01), (self.regressor, 0.001)):
            nn.init.normal_(layer.weight, std=std)
        for layer in (*self.layers, self.classifier, self.regressor):
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        x = self.convs(pooled).flatten(1)
        for layer in self.layers:
            x = layer(x).relu()
        return self.classifier(x), self.regressor(x).unflatten(1, (-1, 4))


class MaskHead(nn.Module):
    """Convolutions, upsampling to twice the resolution, and one mask per class.

    Shapes: (R, channels, S, S) -> logits (R, num_classes, 2 S, 2 S).
    """

    def __init__(self, num_classes: int, channels: int, num_convs: int, norm: str):
        super().__init__()
        self.convs = tower(channels, num_convs, norm)
        self.up = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        _init_relu(self)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.classifier(self.up(self.convs(pooled)).relu())


def pool(maps: Sequence[Tensor], strides: Sequence[int], rois: Sequence[Tensor], size: int) -> Tensor:
    """RoIAlign of each image's regions (R_i, 4), each from the map that fits its size -> (R, C, size, size).

    Two samples per cell and side. Pixel k of a map lies at k * stride, as in our backbones.

    torchvision's `MultiScaleRoIAlign` gives the same values for strides that double from map to map. Where a stride
    is left out (C2 and C5) it reads the wrong map or none. It reads half-precision maps only under autocast.
    """
    boxes = torch.cat(list(rois))
    images = torch.repeat_interleave(torch.tensor([len(r) for r in rois], device=boxes.device))
    rows = torch.cat((images.unsqueeze(1).to(boxes), boxes), 1)
    octave = ((boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt() / CANONICAL_SIZE).log2() + math.log2(CANONICAL_STRIDE)
    map_octaves = torch.tensor([math.log2(stride) for stride in strides], device=boxes.device)
    levels = ((octave.unsqueeze(1) + 1e-6).floor() >= map_octaves.to(boxes)).sum(1) - 1
    levels = levels.clamp(min=0)
    pooled = maps[0].new_zeros((len(rows), maps[0].shape[1], size, size))
    for level, (m, stride) in enumerate(zip(maps, strides, strict=True)):
        at = (levels == level).nonzero().squeeze(1)
        part = roi_align(m.float(), rows[at].float(), size, 1 / stride, sampling_ratio=2, aligned=False)
        pooled = pooled.index_copy(0, at, part.to(pooled.dtype))
    return pooled


@torch.no_grad()
def draw_regions(
    proposals: Tensor, target: Target, size: int, positive_share: float, positive_iou: float
) -> tuple[Tensor, Tensor]:
    """Sample the regions of the loss from (P, 4) proposals and the objects' own boxes.

    Returns: at most `size` regions (R, 4), and for each the index of its object, or NEGATIVE: (R,) int64.
    """
    regions = torch.cat((proposals, target.boxes_xyxy.to(proposals)))
    if len(target.boxes_xyxy) == 0:
        matched = torch.full((len(regions),), NEGATIVE, device=regions.device)
    else:
        best, nearest = box_iou(target.boxes_xyxy.to(proposals), regions).max(0)
        matched = nearest.masked_fill(best < positive_iou, NEGATIVE)
    drawn = draw(matched.unsqueeze(0), size, positive_share).squeeze(0)
    return regions[drawn], matched[drawn]


def mask_targets(masks: Tensor, rois: Tensor, matched: Tensor, size: int) -> Tensor:
    """The mask (R, size, size) float32 of each region's object, from masks (M, h, w), regions (R, 4), matched (R,)."""
    targets = [masks.new_zeros((0, size, size), dtype=torch.float32)]
    for boxes, objects in zip(rois.split(CHUNK), matched.split(CHUNK), strict=True):
        rows = torch.cat((torch.arange(len(boxes), device=boxes.device).unsqueeze(1).to(boxes), boxes), 1)
        targets.append(roi_align(masks[objects].unsqueeze(1).float(), rows.float(), size, aligned=False).squeeze(1))
    return torch.cat(targets)


def _init_relu(module: nn.Module) -> None:
    for conv in module.modules():
        if isinstance(conv, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(conv.bias)
