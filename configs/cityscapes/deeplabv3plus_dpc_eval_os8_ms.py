"""Dense prediction cell on Xception-71 with TensorFlow's weights on Cityscapes: output stride 8, six scales, flip.
xseg eval cityscapes/deeplabv3plus_dpc_eval_os8_ms --data-root DIR
Result: not measured; published mIoU 82.66 on test, whose labels are not public (TensorFlow DeepLab's model zoo)."""

from mmengine.config import read_base

with read_base():
    from .._base_.cityscapes import *
    from .._base_.runtime import *

from backbones import AlignedXception
from heads import DeepLabV3PlusDPC
from xseg.models import Inference, Segmentor

weights = "deeplabv3plus_xception71_dpc_cityscapes_trainval"
model = dict(
    type=Segmentor,
    backbone=dict(type=AlignedXception, depth=71, output_stride=8),
    head=dict(type=DeepLabV3PlusDPC, num_classes=19),
    inference=dict(
        type=Inference,
        min_size_hw=(1025, 2049),
        scales=(0.75, 1.0, 1.25, 1.5, 1.75, 2.0),
        flip=True,
        align_corners=True,
    ),
)
