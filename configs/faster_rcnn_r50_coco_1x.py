"""Faster R-CNN on ResNet-50, COCO 2017, 1x.
xseg train faster_rcnn_r50_coco_1x --data-root COCO
Result: not measured; reference 37.4 (mmdetection), 37.9 (detectron2), 37.0 (torchvision) (arXiv:1612.03144)."""

from mmengine.config import read_base

with read_base():
    from ._base_.coco import *
    from ._base_.runtime import *
    from ._base_.schedule_1x import *

from heads import FasterRCNN
from xseg.models import Detector, Preprocessor, TimmBackbone

model = dict(
    type=Detector,
    backbone=dict(type=TimmBackbone, name="resnet50.tv_in1k", pretrained=True, out=("c2", "c3", "c4", "c5")),
    head=dict(type=FasterRCNN, num_classes=80),
    preprocessor=dict(type=Preprocessor, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
)
optim_wrapper.optimizer.lr = 0.02
