"""Mask R-CNN on a quarter-width Xception-41 from scratch, for a CPU and your own images with outlines.
xseg train own/mask_rcnn --data-root DIR --amp bf16
Result: not measured."""

from mmengine.config import read_base

with read_base():
    from .._base_.own_instances import *
    from .._base_.runtime import *
    from .._base_.schedule_adamw import *

from backbones import AlignedXception
from heads import MaskRCNN
from xseg.models import Detector

model = dict(
    type=Detector,
    backbone=dict(type=AlignedXception, depth=41, width=0.25, out=("c2", "c3", "c4", "c5")),
    head=dict(
        type=MaskRCNN,
        channels=96,
        norm="group",
        hidden=256,
        mask_convs=2,
        rpn_samples=128,
        roi_samples=64,
        train_proposals=(300, 300),
        test_proposals=(300, 200),
    ),
    size=(320, 640),
    channels_last=True,
)
optim_wrapper.optimizer.lr = 4e-3
train_cfg.max_iters = 1200
train_cfg.val_interval = 600
default_hooks.checkpoint.interval = 600
