"""Detection on COCO, "1x": 90,000 iterations of 16 images; SGD with warm-up, rate 0.01, times 0.1 after 60,000 and
80,000 iterations.

The rate is that of RetinaNet and FCOS. Source: Lin et al. 2017 (arXiv:1708.02002), and the toolboxes since."""

from mmengine.optim import LinearLR, MultiStepLR, OptimWrapper
from torch.optim import SGD

from xseg.engine import TrainLoop

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=0.01, momentum=0.9, weight_decay=1e-4),
    constructor="ParamGroups",
    clip_grad=dict(max_norm=35.0),
)
train_cfg = dict(type=TrainLoop, max_iters=90000, val_interval=10000)
param_scheduler = [
    dict(type=LinearLR, by_epoch=False, start_factor=0.001, begin=0, end=1000),
    dict(type=MultiStepLR, by_epoch=False, milestones=[60000, 80000], gamma=0.1),
]
