"""Heads: built from numbers (`in_channels`, `in_strides`, `num_classes`), `forward(features) -> logits`."""

from heads.classification import ClassificationHead
from heads.deeplabv3plus import DeepLabV3Plus
from heads.dense_cell import DeepLabV3PlusDPC
from heads.fcn import FCNHead
from heads.fcos import FCOS
from heads.fpn import FPN
from heads.rcnn import FasterRCNN, MaskRCNN
from heads.retinanet import RetinaNet

__all__ = [
    "FCOS",
    "FPN",
    "ClassificationHead",
    "DeepLabV3Plus",
    "DeepLabV3PlusDPC",
    "FCNHead",
    "FasterRCNN",
    "MaskRCNN",
    "RetinaNet",
]
