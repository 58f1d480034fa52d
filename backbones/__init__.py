"""Backbones, on torch alone: `forward(images) -> list[Tensor]`, with `channels`, `strides` and `output_stride`."""

from backbones.aligned_xception import AlignedXception
from backbones.preact_xception import PreactXception
from backbones.xception import Xception

__all__ = ["AlignedXception", "PreactXception", "Xception"]
