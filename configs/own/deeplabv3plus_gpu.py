"""DeepLabv3+ Xception-65 from scratch at full width, for a GPU and your own images in VOC's layout.
xseg train own/deeplabv3plus_gpu --data-root DIR --amp bf16
Result: not measured."""

from mmengine.config import read_base

with read_base():
    from .._base_.custom import *
    from .._base_.runtime import *
    from .._base_.schedule_adamw import *

from backbones import AlignedXception
from heads import DeepLabV3Plus
from xseg.models import CrossEntropy, Dice, Segmentor

model = dict(
    type=Segmentor,
    backbone=dict(type=AlignedXception, depth=65, output_stride=16, drop_path=0.1),
    head=dict(type=DeepLabV3Plus),
    losses=[dict(type=CrossEntropy, class_weights="balanced"), dict(type=Dice, weight=0.5)],
    channels_last=True,
)
optim_wrapper.optimizer.lr = 2e-3
train_dataloader.batch_size = 16
train_dataloader.num_workers = 8
train_dataloader.dataset.transforms[0].size_hw = (361, 481)
train_cfg.max_iters = 20000
train_cfg.val_interval = 2000
