"""Dense prediction cell on Xception-71 with TensorFlow's weights on Cityscapes val: output stride 16, one scale.
xseg eval cityscapes/deeplabv3plus_dpc_eval --data-root DIR
Result: not measured; published mIoU 80.31 (TensorFlow DeepLab's model zoo)."""

from mmengine.config import read_base

with read_base():
    from .._base_.cityscapes import *
    from .._base_.runtime import *

from backbones import AlignedXception
from heads import DeepLabV3PlusDPC
from xseg.models import Inference, Segmentor

weights = "deeplabv3plus_xception71_dpc_cityscapes"
model = dict(
    type=Segmentor,
    backbone=dict(type=AlignedXception, depth=71, output_stride=16),
    head=dict(type=DeepLabV3PlusDPC, num_classes=19),
    inference=dict(type=Inference, min_size_hw=(1025, 2049)),
)
