"""A quarter-width Xception tells which shapes are in a drawn scene of 96 x 96: any number of labels an image.
xseg train xception_multilabel_quickstart"""

from mmengine.config import read_base

with read_base():
    from ._base_.runtime import *
    from ._base_.schedule_adamw import *
    from ._base_.shapes_multilabel import *

from backbones import Xception
from heads import ClassificationHead
from xseg.models import Classifier

model = dict(
    type=Classifier,
    backbone=dict(type=Xception, out=("c5",), width=0.25),
    head=dict(type=ClassificationHead, dropout=0.2),
    crop_size=96,
    crop_share=1.0,
    multi_label=True,
    channels_last=True,
)
optim_wrapper.optimizer.lr = 4e-3
train_cfg.max_iters = 300
train_cfg.val_interval = 150
param_scheduler[1].end = 301
default_hooks.checkpoint.interval = 150
default_hooks.checkpoint.save_best = "MAP100"
