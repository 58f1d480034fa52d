"""RetinaNet on a quarter-width Xception-41 from scratch, for a CPU and your own images in VOC's detection layout.
xseg train own/retinanet --data-root DIR --amp bf16
Result: not measured."""

from mmengine.config import read_base

with read_base():
    from .._base_.custom_detection import *
    from .._base_.runtime import *
    from .._base_.schedule_adamw import *

from backbones import AlignedXception
from heads import RetinaNet
from xseg.models import Detector

model = dict(
    type=Detector,
    backbone=dict(type=AlignedXception, depth=41, width=0.25, out=("c3", "c4", "c5")),
    head=dict(type=RetinaNet, channels=96, num_convs=2, norm="group"),
    size=(320, 640),
    channels_last=True,
)
optim_wrapper.optimizer.lr = 4e-3
train_cfg.max_iters = 1200
train_cfg.val_interval = 600
default_hooks.checkpoint.interval = 600
