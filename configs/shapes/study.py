"""The recipe of the small studies: a quarter-width Xception on drawn shapes of 48 x 48, 180 steps.
xseg study STUDY, or alone: xseg train shapes/study
Result: see docs/paper.md."""

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
    head=dict(type=ClassificationHead, num_classes=4),
    crop_size=48,
    crop_share=1.0,
    label_smoothing=0.1,
    channels_last=True,
)
train_dataloader.dataset.root = "data/shapes_study"
train_dataloader.dataset.num_images = dict(train=400, val=200)
train_dataloader.dataset.transforms[0].size_hw = (48, 48)
val_dataloader.dataset.root = "data/shapes_study"
val_dataloader.dataset.num_images = dict(train=400, val=200)
val_dataloader.dataset.transforms[0].size = 48
optim_wrapper.optimizer.lr = 4e-3
train_cfg.max_iters = 180
train_cfg.val_interval = 36
default_hooks.logger.interval = 36
default_hooks.checkpoint.interval = 36
default_hooks.checkpoint.save_best = None
