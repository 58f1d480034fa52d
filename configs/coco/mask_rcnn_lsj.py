"""Mask R-CNN on Xception-65, COCO 2017 with large-scale jitter and copy-paste, 2x.
xseg train coco/mask_rcnn_lsj --data-root COCO
Result: not measured; none published for this backbone (arXiv:2012.07177)."""

from mmengine.config import read_base

with read_base():
    from .._base_.coco_lsj import *
    from .._base_.runtime import *
    from .._base_.schedule_2x import *

from backbones import AlignedXception
from heads import MaskRCNN
from xseg.models import Detector

load_from = "xception65_imagenet"
model = dict(
    type=Detector,
    backbone=dict(type=AlignedXception, depth=65, out=("c2", "c3", "c4", "c5"), frozen_stages=1, frozen_bn=True),
    head=dict(type=MaskRCNN, num_classes=80),
    size=(1024, 1024),
)
optim_wrapper.optimizer.lr = 0.02
default_hooks.checkpoint.save_best = "segm_mAP"
