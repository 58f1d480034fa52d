"""Mask R-CNN on ResNet-50, COCO 2017, 2x.
xseg train mask_rcnn_r50_coco_2x --data-root COCO
Result: not measured; references for 1x stand in mask_rcnn_r50_coco_1x (arXiv:1703.06870)."""

from mmengine.config import read_base

with read_base():
    from ._base_.coco import *
    from ._base_.runtime import *
    from ._base_.schedule_2x import *

from heads import MaskRCNN
from xseg.models import Detector, Preprocessor, TimmBackbone

model = dict(
    type=Detector,
    backbone=dict(type=TimmBackbone, name="resnet50.tv_in1k", pretrained=True, out=("c2", "c3", "c4", "c5")),
    head=dict(type=MaskRCNN, num_classes=80),
    preprocessor=dict(type=Preprocessor, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
)
train_dataloader.dataset.with_masks = True
val_dataloader.dataset.with_masks = True
optim_wrapper.optimizer.lr = 0.02
