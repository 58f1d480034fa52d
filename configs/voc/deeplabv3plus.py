"""DeepLabv3+ Xception-65, output stride 16, VOC 2012 aug.
xseg train voc/deeplabv3plus
Result: not measured; published mIoU 79.79 with this decoder, from ImageNet weights (arXiv:1802.02611, Table 5)."""

from mmengine.config import read_base

with read_base():
    from .._base_.runtime import *
    from .._base_.schedule_30k import *
    from .._base_.voc import *

from backbones import AlignedXception
from heads import DeepLabV3Plus
from xseg.models import Segmentor

model = dict(
    type=Segmentor,
    backbone=dict(type=AlignedXception, depth=65, output_stride=16, bn_momentum=3e-4),
    head=dict(type=DeepLabV3Plus, bn_momentum=3e-4),
)
