"""DeepLabv3+ on the original Xception with a SAME stem, output stride 16, VOC 2012 aug.
xseg train deeplabv3plus_xception_voc
Result: not measured; no published one."""

from mmengine.config import read_base

with read_base():
    from ._base_.runtime import *
    from ._base_.schedule_30k import *
    from ._base_.voc import *

from backbones import Xception
from heads import DeepLabV3Plus
from xseg.models import Segmentor

model = dict(
    type=Segmentor,
    backbone=dict(type=Xception, output_stride=16, bn_momentum=3e-4),
    head=dict(type=DeepLabV3Plus, bn_momentum=3e-4),
)
