"""DeepLabv3+ Xception-65 with TensorFlow's weights on ADE20K val: output stride 8, six scales, flip.
xseg eval ade20k/deeplabv3plus_eval_os8_ms --data-root DIR
Result: not measured; published mIoU 45.65 (TensorFlow DeepLab's model zoo), there on labels resized to 513 pixels."""

from mmengine.config import read_base

with read_base():
    from .._base_.ade20k import *
    from .._base_.runtime import *

from backbones import AlignedXception
from heads import DeepLabV3Plus
from xseg.models import Inference, Segmentor

weights = "deeplabv3plus_xception65_ade20k"
model = dict(
    type=Segmentor,
    backbone=dict(type=AlignedXception, depth=65, output_stride=8),
    head=dict(type=DeepLabV3Plus, num_classes=151),
    inference=dict(
        type=Inference,
        min_size_hw=(513, 513),
        longest=513,
        scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75),
        flip=True,
        align_corners=True,
    ),
)
