"""Xception-71 as an ImageNet classifier with TensorFlow's weights, for prediction.
xseg predict xception71_imagenet IMAGE… --config imagenet/xception71
Result: not measured; timm publishes top-1 79.92 for `timm:xception71.tf_in1k`, the same weights."""

from mmengine.config import read_base

with read_base():
    from .._base_.runtime import *

from backbones import AlignedXception
from heads import ClassificationHead
from xseg.models import Classifier

weights = "xception71_imagenet"
model = dict(
    type=Classifier,
    backbone=dict(type=AlignedXception, depth=71, out=("c5",)),
    head=dict(type=ClassificationHead, num_classes=1000),
)
