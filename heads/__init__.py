"""Heads: built from numbers (`in_channels`, `in_strides`, `num_classes`), `forward(features) -> logits`."""

from heads.deeplabv3plus import DeepLabV3Plus
from heads.fcn import FCNHead

__all__ = ["DeepLabV3Plus", "FCNHead"]
