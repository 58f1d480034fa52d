"""Backbones, which need only torch: `forward(images) -> list[Tensor]`; contract in `backbones.contract`."""

from backbones.aligned_xception import AlignedXception
from backbones.inception import InceptionTowers
from backbones.preact_xception import PreactXception
from backbones.registry import register
from backbones.xception import Xception, equal_width

__all__ = ["AlignedXception", "InceptionTowers", "PreactXception", "Xception", "equal_width"]

register(AlignedXception, InceptionTowers, PreactXception, Xception)
