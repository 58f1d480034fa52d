"""DeepLabv3+ Xception-41, output stride 16, Cityscapes.
xseg train deeplabv3plus_xception41_cityscapes
Result: not measured; no published one."""

from mmengine.config import read_base

with read_base():
    from ._base_.cityscapes import *
    from ._base_.runtime import *
    from ._base_.schedule_90k import *

from backbones import AlignedXception
from heads import DeepLabV3Plus
from xseg.models import Segmentor

model = dict(
    type=Segmentor,
    backbone=dict(type=AlignedXception, depth=41, output_stride=16, bn_momentum=3e-4),
    head=dict(type=DeepLabV3Plus, bn_momentum=3e-4),
)
