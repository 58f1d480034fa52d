"""Transforms of classification samples, in addition to those of torchvision.transforms.v2."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import TRANSFORMS
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F


@TRANSFORMS.register_module()
class RandomResizedCrop(v2.RandomResizedCrop):
    """Inception's augmentation: a window of random area and proportions, resized to `size_hw` pixels (height, width).

    Args:
        scale: smallest and largest share of the area of the image.
        ratio: smallest and largest width / height.

    Source: Szegedy et al. 2015 (arXiv:1409.4842), Section 6.
    """

    def __init__(
        self, size_hw: Sequence[int], scale: Sequence[float] = (0.08, 1.0), ratio: Sequence[float] = (3 / 4, 4 / 3)
    ):
        super().__init__(list(size_hw), scale=tuple(scale), ratio=tuple(ratio), antialias=True)


@TRANSFORMS.register_module()
class CentreCrop(v2.Transform):
    """The square that `Classifier.predict` uses; see `centre_crop`.

    Args:
        size: side of the square, in pixels.
        share: share of the shorter edge of the image that the square covers.
    """

    def __init__(self, size: int, share: float = 0.903):
        super().__init__()
        if size < 1 or not 0 < share <= 1:
            raise ValueError(f"size must be at least 1 pixel and share in (0, 1], got {size} and {share}")
        self.size, self.share = size, share

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return centre_crop(inpt, self.size, self.share)


def centre_crop(image: Any, size: int, share: float) -> Any:
    """Resize the shorter edge to size / share (bicubic), then crop the square of size x size pixels in the centre."""
    resized = F.resize(image, [int(size / share)], InterpolationMode.BICUBIC, antialias=True)
    return F.center_crop(resized, [size, size])


def cut_square(image: Tensor, box_xyxy: Sequence[float], margin: float = 0.1) -> Tensor:
    """The square around a box, so that a later resize keeps the proportions of the object.

    Shapes: (C, H, W) -> (C, side, side), where side is the longer edge of the box plus `margin` times it at both ends.
    Outside of the image, its border pixels are repeated.
    """
    x1, y1, x2, y2 = box_xyxy
    side = max(1, round(max(x2 - x1, y2 - y1) * (1 + 2 * margin)))
    left, top = (round((low + high - side) / 2) for low, high in ((x1, x2), (y1, y2)))
    rows = torch.arange(top, top + side).clamp(0, image.shape[1] - 1)
    columns = torch.arange(left, left + side).clamp(0, image.shape[2] - 1)
    return image[:, rows][:, :, columns]
