"""Masks in the cells of a box -> masks in the pixels of an image.

A test compares the result with torchvision's `paste_masks_in_image`, thresholded at one half.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Region(NamedTuple):
    """The part of an object's mask within the image: pixels (h, w) bool, the first of which lies at (top, left)."""

    pixels: Tensor
    top: int
    left: int


def paste(masks: Tensor, boxes_xyxy: Tensor, size_hw: Sequence[int], threshold: float = 0.5) -> Iterator[Region]:
    """Probabilities (K, S, S) in the cells of boxes (K, 4) -> the `Region` of one object after the other.

    Only one object's pixels are in memory at a time. A border of one empty cell around the mask lets its edges fade
    out; the box with this border is rounded to whole pixels, as in torchvision.
    """
    height, width = size_hw
    scale = (masks.shape[-1] + 2) / masks.shape[-1]
    half = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * 0.5 * scale
    centres = (boxes_xyxy[:, 2:] + boxes_xyxy[:, :2]) * 0.5
    low, high = (centres - half).long().tolist(), (centres + half).long().tolist()  # both belong to the box
    for mask, (left, top), (right, bottom) in zip(masks, low, high, strict=True):
        padded = F.pad(mask[None, None], (1, 1, 1, 1))
        size = (max(bottom - top + 1, 1), max(right - left + 1, 1))
        pixels = F.interpolate(padded, size, mode="bilinear", align_corners=False)[0, 0] > threshold
        visible = pixels[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
        yield Region(visible, max(top, 0), max(left, 0))
