"""DeepLabv3+ Xception-65 with TensorFlow's weights on Cityscapes val: output stride 8, three scales, flip.
xseg eval cityscapes/deeplabv3plus_eval_os8_ms --data-root DIR
Result: not measured; published mIoU 80.42 (TensorFlow DeepLab's model zoo)."""

from mmengine.config import read_base

with read_base():
    from .._base_.cityscapes import *
    from .._base_.runtime import *

from backbones import AlignedXception
from heads import DeepLabV3Plus
from xseg.models import Inference, Segmentor

weights = "deeplabv3plus_xception65_cityscapes"
model = dict(
    type=Segmentor,
    backbone=dict(type=AlignedXception, depth=65, output_stride=8),
    head=dict(type=DeepLabV3Plus, num_classes=19),
    inference=dict(
        type=Inference,
        min_size_hw=(1025, 2049),
        scales=(0.75, 1.0, 1.25),
        flip=True,
        align_corners=True,
    ),
)
