"""Mask R-CNN on Xception-65, Cityscapes.
xseg train cityscapes/mask_rcnn --data-root cityscapes
Result: not measured; none published for this backbone (arXiv:1703.06870)."""

from mmengine.config import read_base

with read_base():
    from .._base_.cityscapes_instances import *
    from .._base_.runtime import *
    from .._base_.schedule_detection_24k import *

from backbones import AlignedXception
from heads import MaskRCNN
from xseg.models import Detector

load_from = "xception65_imagenet"
model = dict(
    type=Detector,
    backbone=dict(type=AlignedXception, depth=65, out=("c2", "c3", "c4", "c5"), frozen_stages=1, frozen_bn=True),
    head=dict(type=MaskRCNN, num_classes=8),
    size=(1024, 2048),
)
train_dataloader.dataset.with_masks = True
val_dataloader.dataset.with_masks = True
optim_wrapper.optimizer.lr = 0.01
default_hooks.checkpoint.save_best = "segm_mAP"
