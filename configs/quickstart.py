"""DeepLabv3+ on a quarter-width Xception-41, drawn shapes of 128 x 128.
xseg train quickstart
Result: see docs/results.md."""

from mmengine.config import read_base

with read_base():
    from ._base_.runtime import *
    from ._base_.schedule_adamw import *
    from ._base_.shapes import *

from backbones import AlignedXception
from heads import DeepLabV3Plus
from xseg.models import CrossEntropy, Dice, Segmentor

model = dict(
    type=Segmentor,
    backbone=dict(type=AlignedXception, depth=41, output_stride=16, width=0.25),
    head=dict(type=DeepLabV3Plus, channels=128, low_channels=48),
    losses=[dict(type=CrossEntropy), dict(type=Dice, weight=0.5)],
    channels_last=True,
)
optim_wrapper.optimizer.lr = 2e-2
train_cfg.max_iters = 850
train_cfg.val_interval = 850
default_hooks.checkpoint.interval = 425
