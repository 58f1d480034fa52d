"""DeepLabv3+ on a quarter-width Xception-41 from scratch, for a CPU and your own images in VOC's layout.
xseg train own/deeplabv3plus --data-root DIR --amp bf16
Result: see docs/results.md, CamVid."""

from mmengine.config import read_base

with read_base():
    from .._base_.custom import *
    from .._base_.runtime import *
    from .._base_.schedule_adamw import *

from backbones import AlignedXception
from heads import DeepLabV3Plus
from xseg.models import CrossEntropy, Dice, Segmentor

model = dict(
    type=Segmentor,
    backbone=dict(type=AlignedXception, depth=41, output_stride=16, width=0.25),
    head=dict(type=DeepLabV3Plus, channels=96, low_channels=32),
    losses=[dict(type=CrossEntropy, class_weights="balanced"), dict(type=Dice, weight=0.5)],
    channels_last=True,
)
default_hooks.checkpoint.interval = 1100
