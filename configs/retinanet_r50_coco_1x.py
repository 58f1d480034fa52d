"""RetinaNet on ResNet-50, COCO 2017, 1x.
xseg train retinanet_r50_coco_1x --data-root COCO
Result: not measured; reference 36.5 (mmdetection), 37.4 (detectron2), 36.4 (torchvision) (arXiv:1708.02002)."""

from mmengine.config import read_base

with read_base():
    from ._base_.coco import *
    from ._base_.runtime import *
    from ._base_.schedule_1x import *

from heads import RetinaNet
from xseg.models import Detector, Preprocessor, TimmBackbone

model = dict(
    type=Detector,
    backbone=dict(type=TimmBackbone, name="resnet50.tv_in1k", pretrained=True, out=("c3", "c4", "c5")),
    head=dict(type=RetinaNet, num_classes=80),
    preprocessor=dict(type=Preprocessor, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
)
