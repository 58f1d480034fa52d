"""From masks in the cells of a box to masks in the pixels of an image.

What is pasted equals torchvision's `paste_masks_in_image` above one half; a test holds it so.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Region(NamedTuple):
    """What is seen of an object: pixels (h, w) bool, whose first is at (top, left) of the image."""

    pixels: Tensor
    top: int
    left: int


def paste(masks: Tensor, boxes_xyxy: Tensor, size_hw: Sequence[int], threshold: float = 0.5) -> Iterator[Region]:
    """Probabilities (K, S, S) in the cells of boxes (K, 4) -> one object's region after the other, so that the memory
    is that of one object, however many there are and however large the image.

    A border of one empty cell lets edges fade out; the box with its border covers whole pixels, as in torchvision.
    """
    height, width = size_hw
    scale = (masks.shape[-1] + 2) / masks.shape[-1]
    half = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * 0.5 * scale
    centres = (boxes_xyxy[:, 2:] + boxes_xyxy[:, :2]) * 0.5
    low, high = (centres - half).long().tolist(), (centres + half).long().tolist()  # both inside
    for mask, (left, top), (right, bottom) in zip(masks, low, high, strict=True):
        padded = F.pad(mask[None, None], (1, 1, 1, 1))
        size = (max(bottom - top + 1, 1), max(right - left + 1, 1))
        pixels = F.interpolate(padded, size, mode="bilinear", align_corners=False)[0, 0] > threshold
        seen = pixels[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
        yield Region(seen, max(top, 0), max(left, 0))
