"""DeepLabv3+ and Mask R-CNN on one quarter-width Xception-41, drawn shapes of 128 x 128.
xseg train shapes/joint && xseg eval shapes/joint work_dirs/shapes_joint --panoptic
Result: see docs/results.md."""

from mmengine.config import read_base

with read_base():
    from .._base_.runtime import *
    from .._base_.schedule_adamw import *
    from .._base_.shapes_panoptic import *

from backbones import AlignedXception
from heads import DeepLabV3Plus, MaskRCNN
from xseg.models import CrossEntropy, Dice, JointModel

model = dict(
    type=JointModel,
    backbone=dict(type=AlignedXception, depth=41, output_stride=16, width=0.25, out=("c2", "c3", "c4", "c5")),
    head=dict(type=DeepLabV3Plus, channels=64, low_channels=24, rates=(2, 3, 4)),  # for maps of 9 x 9
    losses=[dict(type=CrossEntropy), dict(type=Dice, weight=0.5)],
    detection_head=dict(
        type=MaskRCNN,
        channels=64,
        num_levels=4,
        anchor_size=4,
        norm="group",
        hidden=256,
        mask_convs=2,
        rpn_samples=128,
        roi_samples=64,
        train_proposals=(200, 200),
        test_proposals=(200, 100),
    ),
    channels_last=True,
)
optim_wrapper.optimizer.lr = 4e-3
train_cfg.max_iters = 450
train_cfg.val_interval = 450
default_hooks.checkpoint.interval = 225
default_hooks.checkpoint.save_best = "bbox_mAP"
