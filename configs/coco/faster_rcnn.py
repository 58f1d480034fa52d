"""Faster R-CNN on Xception-65, COCO 2017, 1x.
xseg train coco/faster_rcnn --data-root COCO
Result: not measured; none published for this backbone (arXiv:1612.03144)."""

from mmengine.config import read_base

with read_base():
    from .._base_.coco import *
    from .._base_.runtime import *
    from .._base_.schedule_1x import *

from backbones import AlignedXception
from heads import FasterRCNN
from xseg.models import Detector

load_from = "xception65_imagenet"
model = dict(
    type=Detector,
    backbone=dict(type=AlignedXception, depth=65, out=("c2", "c3", "c4", "c5"), frozen_stages=1, frozen_bn=True),
    head=dict(type=FasterRCNN, num_classes=80),
)
optim_wrapper.optimizer.lr = 0.02
