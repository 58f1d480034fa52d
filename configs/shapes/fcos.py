"""FCOS on a quarter-width Xception-41, drawn shapes of 128 x 128.
xseg train shapes/fcos
Result: see docs/results.md."""

from mmengine.config import read_base

with read_base():
    from .._base_.runtime import *
    from .._base_.schedule_adamw import *
    from .._base_.shapes_detection import *

from backbones import AlignedXception
from heads import FCOS
from xseg.models import Detector

model = dict(
    type=Detector,
    backbone=dict(type=AlignedXception, depth=41, width=0.25, out=("c3", "c4", "c5")),
    head=dict(type=FCOS, channels=64, num_convs=2, num_levels=3, norm="group"),
    size=None,
    channels_last=True,
)
optim_wrapper.optimizer.lr = 4e-3
train_cfg.max_iters = 900
train_cfg.val_interval = 900
default_hooks.checkpoint.interval = 450
