"""DeepLabv3+ and Mask R-CNN on one shared Xception-65, Cityscapes.
xseg train cityscapes/joint
Result: not measured."""

from mmengine.config import read_base

with read_base():
    from .._base_.cityscapes_panoptic import *
    from .._base_.runtime import *
    from .._base_.schedule_90k import *

from backbones import AlignedXception
from heads import DeepLabV3Plus, MaskRCNN
from xseg.models import JointModel

model = dict(
    type=JointModel,
    backbone=dict(
        type=AlignedXception, depth=65, output_stride=16, out=("c2", "c3", "c4", "c5"), frozen_stages=1, frozen_bn=True
    ),
    head=dict(type=DeepLabV3Plus),
    detection_head=dict(type=MaskRCNN, norm="group"),
    merging=dict(min_stuff_area=2048),
)
load_from = "xception65_imagenet"
optim_wrapper.clip_grad = dict(max_norm=35)
default_hooks.checkpoint.save_best = "PQ"
default_hooks.checkpoint.rule = "greater"
