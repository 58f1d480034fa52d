"""Mask R-CNN on Xception-41, COCO 2017, 2x.
xseg train mask_rcnn_xception41_coco_2x --data-root COCO
Result: not measured; none published for this backbone (arXiv:1703.06870)."""

from mmengine.config import read_base

with read_base():
    from ._base_.coco import *
    from ._base_.runtime import *
    from ._base_.schedule_2x import *

from backbones import AlignedXception
from heads import MaskRCNN
from xseg.models import Detector

load_from = "xception41_imagenet"
model = dict(
    type=Detector,
    backbone=dict(type=AlignedXception, depth=41, out=("c2", "c3", "c4", "c5"), frozen_stages=1, frozen_bn=True),
    head=dict(type=MaskRCNN, num_classes=80),
)
train_dataloader.dataset.with_masks = True
val_dataloader.dataset.with_masks = True
optim_wrapper.optimizer.lr = 0.02
