"""Convert every kind of image that `Model.predict` accepts to one kind of tensor."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    Image = str | PathLike | PILImage | np.ndarray | Tensor


def as_image(image: Image) -> Tensor:
    """One image as (3, H, W) uint8 RGB; a tensor stays on its device. `Model.predict` lists the accepted kinds."""
    from PIL import Image as pil

    from xseg.data.read.images import read_image

    if isinstance(image, (str, PathLike)):
        return read_image(image)
    if isinstance(image, pil.Image):
        image = _pil_pixels(image)
    if isinstance(image, np.ndarray):
        pixels = torch.from_numpy(np.require(image, requirements=("C", "W")))  # Pillow's arrays are read-only
        layout = "an array must be (H, W, 3) RGB"
        pixels = pixels.permute(2, 0, 1) if pixels.ndim == 3 else pixels
    elif isinstance(image, Tensor):
        pixels, layout = image.detach(), "a tensor must be (3, H, W) RGB"
    else:
        raise ValueError(f"image must be a path, a PIL image, an array or a tensor, got {type(image).__name__}")
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or len(pixels) not in (1, 3):
        raise ValueError(f"{layout} or (H, W) grey, got {tuple(image.shape)}")
    if not pixels.numel():
        raise ValueError(f"the image has no pixels: {tuple(image.shape)}")
    if pixels.is_floating_point():
        low, high = pixels.min().item(), pixels.max().item()
        if not (low >= 0 and high <= 1):
            raise ValueError(f"floats must lie in 0..1, got {low:g} to {high:g}; divide them by 255, or give uint8")
        pixels = (pixels * 255).round().byte()
    elif pixels.dtype != torch.uint8:
        raise ValueError(f"an image must be uint8 in 0..255 or floats in 0..1, got {image.dtype}")
    return pixels.expand(3, -1, -1)


def _pil_pixels(image) -> np.ndarray:
    """Pixels of a PIL image, as `read_image` reads its file: rotated by EXIF, 16 bits scaled to 8, no transparency."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F"):
        raise ValueError(f"a PIL image of mode {image.mode} has no range of values: convert it to L or RGB")
    if image.mode.startswith("I;16"):
        return (np.asarray(image) >> 8).astype(np.uint8)
    return np.asarray(image.convert("RGB"))
