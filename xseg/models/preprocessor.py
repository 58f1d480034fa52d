"""Preprocessor: from a collated batch of uint8 images to one normalised tensor on the device."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor


class Preprocessor(BaseDataPreprocessor):
    """Move a batch to the device, normalise its RGB images as (image - mean) / std, and pad them to the largest.

    Images are moved as uint8; from pinned memory (`pin_memory=True` of the data loader) they move while the GPU
    computes. The default is Xception's (2/255) x - 1. Padding is right and below, with the mean colour, which is 0
    after normalisation.

    Args:
        mean, std: in 0..255, one number or one per channel. ImageNet's are (123.675, 116.28, 103.53) and (58.395,
            57.12, 57.375).
    """

    def __init__(self, mean: float | Sequence[float] = 127.5, std: float | Sequence[float] = 127.5):
        super().__init__(non_blocking=True)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(-1, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """dict(images=[(3, h, w) uint8, …], samples) -> dict(images=(N, 3, H, W) float32, samples).

        Each sample gets `input_hw`, the size of its image before padding. In training, masks are padded with 255.
        """
        data = self.cast_data(data)
        images, samples = data["images"], data.get("samples") or [{} for _ in data["images"]]
        height = max(image.shape[-2] for image in images)
        width = max(image.shape[-1] for image in images)
        dtype = torch.promote_types(torch.float32, self.mean.dtype)
        batch = images[0].new_empty((len(images), 3, height, width), dtype=dtype)
        for image, place in zip(images, batch, strict=True):
            h, w = image.shape[-2:]
            place[:, :h, :w].copy_(image).sub_(self.mean).div_(self.std)
            place[:, h:], place[:, :h, w:] = 0, 0
        samples = [{**sample, "input_hw": tuple(i.shape[-2:])} for sample, i in zip(samples, images, strict=True)]
        if training:
            for sample in samples:
                if (mask := sample.get("mask")) is not None:
                    sample["mask"] = F.pad(mask, right_below(mask, height, width), value=255)
        return {"images": batch, "samples": samples}


def right_below(x: Tensor, height: int, width: int) -> tuple[int, int, int, int]:
    """Padding for `F.pad` that extends the last two axes to height and width."""
    return (0, width - x.shape[-1], 0, height - x.shape[-2])
