"""Panoptic segmentation: every pixel belongs to an instance of a thing, to the segment of a stuff class, or is void.

Merging follows Kirillov et al. 2019 (arXiv:1801.00868), Section 7, as in their panopticapi.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Panoptic(NamedTuple):
    """One image's segments, on one device.

    segments: (H, W) int32, 0 = void, otherwise 1 + index into `labels` and `iscrowd`.
    labels: (S,) int64 class of each segment. iscrowd: (S,) bool.
    """

    segments: Tensor
    labels: Tensor
    iscrowd: Tensor


class Merging(NamedTuple):
    """The rule that turns detections and classes of pixels into segments."""

    score_threshold: float = 0.5
    overlap: float = 0.5  # a mask is dropped if masks of higher scores hide a larger share of it
    min_stuff_area: int = 4096  # pixels; stuff classes with fewer become void


def merge(
    mask: Tensor,
    masks: Tensor,
    labels: Tensor,
    things: Sequence[int],
    overlap: float = 0.5,
    min_stuff_area: int = 4096,
    iscrowd: Tensor | None = None,
) -> Panoptic:
    """Put instances over stuff. Where masks overlap, the earlier one keeps the pixels.

    Pixels of a thing class in `mask` that no instance covers become void.

    Args:
        mask: (H, W) uint8 classes, 255 = void.
        masks: (K, H, W) bool, by falling score.
        labels: (K,) classes of the instances.
        things: the classes that have instances.
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
    if kept[0] == 0:  # void is 0; if no pixel is void, segments still start at 1
        kept = kept[1:]
    else:
        segments = segments + 1
    known = torch.cat((labels.new_full((1,), 255), labels, torch.arange(256, device=labels.device)))
    crowd = known.new_zeros(len(known), dtype=torch.bool)
    if iscrowd is not None:
        crowd[1 : len(labels) + 1] = iscrowd
    return Panoptic(segments.int(), known[kept.long()], crowd[kept.long()])


def panoptic_of_sample(sample: dict, things: Sequence[int]) -> Panoptic:
    """Ground truth of a sample of a `PanopticDataset`, from its `mask` and the instances' `masks`.

    ValueError for a sample without these.
    """
    if "mask" not in sample or "masks" not in sample:
        raise ValueError(f"a panoptic sample must have mask and masks, got {', '.join(sample)}; take a PanopticDataset")
    classes = torch.tensor(things, device=sample["labels"].device)[sample["labels"]]
    return merge(sample["mask"], sample["masks"], classes, things, 1.0, 0, sample.get("iscrowd"))
