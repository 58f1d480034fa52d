"""A quarter-width Xception that classifies drawn shapes of 64 x 64.
xseg train shapes/xception
Result: see docs/results.md."""

from mmengine.config import read_base

with read_base():
    from .._base_.runtime import *
    from .._base_.schedule_adamw import *
    from .._base_.shapes_classification import *

from backbones import Xception
from heads import ClassificationHead
from xseg.models import Classifier

model = dict(
    type=Classifier,
    backbone=dict(type=Xception, out=("c5",), width=0.25),
    head=dict(type=ClassificationHead, dropout=0.2),
    crop_size=64,
    crop_share=1.0,
    label_smoothing=0.1,
    channels_last=True,
)
optim_wrapper.optimizer.lr = 4e-3
train_cfg.max_iters = 500
train_cfg.val_interval = 250
default_hooks.checkpoint.interval = 250
