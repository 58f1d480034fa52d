"""Faster R-CNN on a quarter-width Xception-41, drawn shapes of 128 x 128.
xseg train shapes/faster_rcnn
Result: see docs/results.md."""

from mmengine.config import read_base

with read_base():
    from .._base_.runtime import *
    from .._base_.schedule_adamw import *
    from .._base_.shapes_detection import *

from backbones import AlignedXception
from heads import FasterRCNN
from xseg.models import Detector

model = dict(
    type=Detector,
    backbone=dict(type=AlignedXception, depth=41, width=0.25, out=("c3", "c4", "c5")),
    head=dict(
        type=FasterRCNN,
        channels=64,
        num_levels=3,
        anchor_size=4,
        norm="group",
        hidden=256,
        rpn_samples=64,
        roi_samples=32,
        train_proposals=(100, 100),
        test_proposals=(100, 100),
    ),
    size=None,
    channels_last=True,
)
optim_wrapper.optimizer.lr = 4e-3
train_cfg.max_iters = 300
train_cfg.val_interval = 300
default_hooks.checkpoint.interval = 150
