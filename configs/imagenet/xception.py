"""The original Xception as an ImageNet classifier with Keras' weights, for prediction.
xseg predict xception_keras IMAGE… --config imagenet/xception
Result: not measured; published top-1 79.0 (arXiv:1610.02357)."""

from mmengine.config import read_base

with read_base():
    from .._base_.runtime import *

from backbones import Xception
from heads import ClassificationHead
from xseg.models import Classifier

weights = "xception_keras"
model = dict(
    type=Classifier,
    backbone=dict(type=Xception, out=("c5",), stem="valid", pool_padding="tensorflow"),
    head=dict(type=ClassificationHead, num_classes=1000, dropout=0.5),
)
