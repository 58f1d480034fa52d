"""DeepLabv3+ and Mask R-CNN on one quarter-width Xception-41 from scratch: panoptic maps of your own images, on a CPU.
xseg train own/joint --data-root DIR --amp bf16
Result: not measured."""

from mmengine.config import read_base

with read_base():
    from .._base_.own_panoptic import *
    from .._base_.runtime import *
    from .._base_.schedule_adamw import *

from backbones import AlignedXception
from heads import DeepLabV3Plus, MaskRCNN
from xseg.models import CrossEntropy, Dice, JointModel

model = dict(
    type=JointModel,
    backbone=dict(type=AlignedXception, depth=41, output_stride=16, width=0.25, out=("c2", "c3", "c4", "c5")),
    head=dict(type=DeepLabV3Plus, channels=96, low_channels=32),
    losses=[dict(type=CrossEntropy), dict(type=Dice, weight=0.5)],
    detection_head=dict(
        type=MaskRCNN,
        channels=96,
        num_levels=4,
        norm="group",
        hidden=256,
        mask_convs=2,
        rpn_samples=128,
        roi_samples=64,
        train_proposals=(300, 300),
        test_proposals=(300, 200),
    ),
    channels_last=True,
)
optim_wrapper.optimizer.lr = 4e-3
train_cfg.max_iters = 1200
train_cfg.val_interval = 600
default_hooks.checkpoint.interval = 600
default_hooks.checkpoint.save_best = "bbox_mAP"
