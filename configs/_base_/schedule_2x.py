"""Detection on COCO, "2x": twice the iterations of schedule_1x; rate times 0.1 after 120,000 and 160,000 iterations."""

from mmengine.optim import LinearLR, MultiStepLR, OptimWrapper
from torch.optim import SGD

from xseg.engine import TrainLoop

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=0.01, momentum=0.9, weight_decay=1e-4),
    constructor="ParamGroups",
    clip_grad=dict(max_norm=35.0),
)
train_cfg = dict(type=TrainLoop, max_iters=180000, val_interval=20000)
param_scheduler = [
    dict(type=LinearLR, by_epoch=False, start_factor=0.001, begin=0, end=1000),
    dict(type=MultiStepLR, by_epoch=False, milestones=[120000, 160000], gamma=0.1),
]
