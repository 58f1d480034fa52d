"""Heads, built from numbers: `in_channels`, `in_strides`, `num_classes`; their contracts are in `heads.contract`."""

from backbones.registry import register
from heads.classification import ClassificationHead
from heads.detection.fcos import FCOS
from heads.detection.fpn import FPN
from heads.detection.rcnn import FasterRCNN, MaskRCNN
from heads.detection.retinanet import RetinaNet
from heads.segmentation.deeplabv3plus import DeepLabV3Plus
from heads.segmentation.dense_cell import DeepLabV3PlusDPC
from heads.segmentation.fcn import FCNHead

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

register(ClassificationHead, DeepLabV3Plus, DeepLabV3PlusDPC, FCNHead, FCOS, FPN, FasterRCNN, MaskRCNN, RetinaNet)
