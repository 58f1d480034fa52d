"""The original Xception as an ImageNet classifier with Cadene's weights, for prediction.
xseg predict xception_cadene IMAGE… --config imagenet/xception_cadene
Result: not measured; published top-1 78.89 (pretrained-models.pytorch)."""

from mmengine.config import read_base

with read_base():
    from .._base_.runtime import *

from backbones import Xception
from heads import ClassificationHead
from xseg.models import Classifier

weights = "xception_cadene"
model = dict(
    type=Classifier,
    backbone=dict(type=Xception, out=("c5",), stem="valid", pool_padding="symmetric", bn_eps=1e-5),
    head=dict(type=ClassificationHead, num_classes=1000),
)
