"""RetinaNet on Xception-65, boxes of Cityscapes' instances.
xseg train cityscapes/retinanet --data-root cityscapes
Result: not measured; none published for this backbone (arXiv:1708.02002)."""

from mmengine.config import read_base

with read_base():
    from .._base_.cityscapes_instances import *
    from .._base_.runtime import *
    from .._base_.schedule_detection_24k import *

from backbones import AlignedXception
from heads import RetinaNet
from xseg.models import Detector

load_from = "xception65_imagenet"
model = dict(
    type=Detector,
    backbone=dict(type=AlignedXception, depth=65, out=("c3", "c4", "c5"), frozen_stages=1, frozen_bn=True),
    head=dict(type=RetinaNet, num_classes=8),
    size=(1024, 2048),
)
