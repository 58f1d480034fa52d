"""Panoptic segmentation: every pixel has one segment, an instance of a thing or all of a kind of stuff, or is void.

Merging follows Kirillov et al. 2019 (arXiv:1801.00868), Section 7, as their panopticapi does it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Panoptic(NamedTuple):
    """One image's segments, on one device.

    segments: (H, W) int32, 0 = void, s = the segment of row s - 1. labels: (S,) int64 classes. iscrowd: (S,) bool.
    """

    segments: Tensor
    labels: Tensor
    iscrowd: Tensor


class Merging(NamedTuple):
    """Which detections become segments, and which stuff."""

    score_threshold: float = 0.5
    overlap: float = 0.5  # a mask of which surer ones hide a greater share is left out
    min_stuff_area: int = 4096  # pixels; less of a kind of stuff is void


def merge(
    mask: Tensor,
    masks: Tensor,
    labels: Tensor,
    things: Sequence[int],
    overlap: float = 0.5,
    min_stuff_area: int = 4096,
    iscrowd: Tensor | None = None,
) -> Panoptic:
    """Instances over stuff. Where masks overlap, the earlier one keeps the pixels.

    Pixels that `mask` gives to a thing, and no instance covers, are void.

    Args:
        mask: (H, W) uint8 classes, 255 = void.
        masks: (K, H, W) bool, the surest first.
        labels: (K,) classes of the instances.
        things: the classes that come in instances.
        overlap, min_stuff_area: see `Merging`.
    """
    free, owner = torch.ones_like(mask, dtype=torch.bool), torch.zeros_like(mask, dtype=torch.int32)
    for number, instance in enumerate(masks.bool(), start=1):
        left = instance & free
        area = instance.sum()
        left &= (area - left.sum()) <= overlap * area  # stays on the device
        owner.masked_fill_(left, number)
        free &= ~left
    stuff = mask.new_ones(256, dtype=torch.bool)
    stuff[[*things, 255]] = False
    kinds = torch.where(free & stuff[mask.int()], mask.int(), 255)
    large = kinds.flatten().bincount(minlength=256) >= max(min_stuff_area, 1)
    large[255] = False
    owner = torch.where(large[kinds], kinds + len(labels) + 1, owner)
    kept, segments = owner.unique(return_inverse=True)
    if kept[0] == 0:  # void has number 0, also where there is none
        kept = kept[1:]
    else:
        segments = segments + 1
    known = torch.cat((labels.new_full((1,), 255), labels, torch.arange(256, device=labels.device)))
    crowd = known.new_zeros(len(known), dtype=torch.bool)
    if iscrowd is not None:
        crowd[1 : len(labels) + 1] = iscrowd
    return Panoptic(segments.int(), known[kept.long()], crowd[kept.long()])


def panoptic_of_sample(sample: dict, things: Sequence[int]) -> Panoptic:
    """The ground truth in a sample of a `PanopticDataset`: its `mask`, and in it its instance `masks`.

    ValueError for a sample without masks.
    """
    if "mask" not in sample or "masks" not in sample:
        raise ValueError(
            "a sample has no mask and masks, so that there is no panoptic ground truth; see PanopticDataset"
        )
    classes = torch.tensor(things, device=sample["labels"].device)[sample["labels"]]
    return merge(sample["mask"], sample["masks"], classes, things, 1.0, 0, sample.get("iscrowd"))
