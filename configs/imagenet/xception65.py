"""Xception-65 as an ImageNet classifier with TensorFlow's weights, for prediction.
xseg predict xception65_imagenet IMAGE… --config imagenet/xception65
Result: not measured; timm publishes top-1 79.56 for `timm:xception65.tf_in1k`, the same weights."""

from mmengine.config import read_base

with read_base():
    from .._base_.runtime import *

from backbones import AlignedXception
from heads import ClassificationHead
from xseg.models import Classifier

weights = "xception65_imagenet"
model = dict(
    type=Classifier,
    backbone=dict(type=AlignedXception, depth=65, out=("c5",)),
    head=dict(type=ClassificationHead, num_classes=1000),
)
