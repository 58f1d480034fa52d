"""A quarter-width Xception from scratch, for a CPU and your own images in folders by class.
xseg train own/xception --data-root DIR --amp bf16
Result: not measured."""

from mmengine.config import read_base

with read_base():
    from .._base_.own_labels import *
    from .._base_.runtime import *
    from .._base_.schedule_adamw import *

from backbones import Xception
from heads import ClassificationHead
from xseg.models import Classifier

model = dict(
    type=Classifier,
    backbone=dict(type=Xception, out=("c5",), width=0.25),
    head=dict(type=ClassificationHead, dropout=0.2),
    crop_size=96,
    crop_share=0.9,
    label_smoothing=0.1,
    channels_last=True,
)
optim_wrapper.optimizer.lr = 4e-3
train_cfg.max_iters = 2000
train_cfg.val_interval = 500
default_hooks.checkpoint.interval = 500
