"""DeepLabv3+ ResNet-101 (timm, ImageNet weights from the Hub), output stride 16, VOC 2012 aug.
xseg train deeplabv3plus_r101_voc
Result: not measured; near it mmsegmentation's 78.62 under another recipe."""

from mmengine.config import read_base

with read_base():
    from ._base_.runtime import *
    from ._base_.schedule_30k import *
    from ._base_.voc import *

from heads import DeepLabV3Plus
from xseg.models import Preprocessor, Segmentor, TimmBackbone

model = dict(
    type=Segmentor,
    backbone=dict(type=TimmBackbone, name="resnet101.a1_in1k", output_stride=16, pretrained=True),
    head=dict(type=DeepLabV3Plus),
    preprocessor=dict(type=Preprocessor, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
)
