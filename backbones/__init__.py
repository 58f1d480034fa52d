"""Backbones, on torch alone: `forward(images) -> list[Tensor]`, with `channels`, `strides` and `output_stride`."""

from backbones.aligned_xception import AlignedXception
from backbones.xception import Xception

__all__ = ["AlignedXception", "Xception"]
