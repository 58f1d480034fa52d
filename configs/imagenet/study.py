"""The recipe of the studies on a GPU: Xception on ImageNet for 30 epochs with batches of 256, for one GPU of 80 GB.
xseg study STUDY --size gpu --data-root IMAGENET --amp bf16, or without a study: xseg train imagenet/study
Result: not measured.

The training is a quarter as long as the paper's, so the rate decays by 0.94 every half epoch instead of every 2."""

from mmengine.config import read_base

with read_base():
    from .._base_.imagenet import *
    from .._base_.runtime import *
    from .._base_.schedule_xception import *

from mmengine.hooks import EMAHook

from backbones import Xception
from heads import ClassificationHead
from xseg.models import Classifier

model = dict(
    type=Classifier,
    backbone=dict(type=Xception, out=("c5",), stem="valid", pool_padding="tensorflow"),
    head=dict(type=ClassificationHead, num_classes=1000, dropout=0.5),
    channels_last=True,
)
train_dataloader.batch_size = 256
train_dataloader.num_workers = 16
train_cfg.max_iters = 150120
train_cfg.val_interval = 5004
param_scheduler[0].step_size = 2502
# Polyak averaging, as in the paper. Hooks of priority LOWEST run after it, see PlainCheckpointHook.
custom_hooks.append(dict(type=EMAHook, momentum=1e-4, update_buffers=True))
default_hooks.checkpoint.interval = 5004
default_hooks.checkpoint.save_best = None
