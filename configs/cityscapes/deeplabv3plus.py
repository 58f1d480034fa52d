"""DeepLabv3+ Xception-65, output stride 16, Cityscapes.
xseg train cityscapes/deeplabv3plus
Result: not measured; published mIoU 78.79 from ImageNet weights (arXiv:1802.02611, Table 7)."""

from mmengine.config import read_base

with read_base():
    from .._base_.cityscapes import *
    from .._base_.runtime import *
    from .._base_.schedule_90k import *

from backbones import AlignedXception
from heads import DeepLabV3Plus
from xseg.models import Segmentor

model = dict(
    type=Segmentor,
    backbone=dict(type=AlignedXception, depth=65, output_stride=16, bn_momentum=3e-4),
    head=dict(type=DeepLabV3Plus, bn_momentum=3e-4),
)
