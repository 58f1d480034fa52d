"""Faster R-CNN on the original Xception, COCO 2017, 2x.
xseg train faster_rcnn_xception_coco_2x --data-root COCO
Result: not measured; none published for this backbone (arXiv:1612.03144)."""

from mmengine.config import read_base

with read_base():
    from ._base_.coco import *
    from ._base_.runtime import *
    from ._base_.schedule_2x import *

from backbones import Xception
from heads import FasterRCNN
from xseg.models import Detector

load_from = "xception_keras_notop"
model = dict(
    type=Detector,
    backbone=dict(
        type=Xception, out=("c2", "c3", "c4", "c5"), pool_padding="tensorflow", frozen_stages=1, frozen_bn=True
    ),
    head=dict(type=FasterRCNN, num_classes=80),
)
optim_wrapper.optimizer.lr = 0.02
