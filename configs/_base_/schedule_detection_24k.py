"""Detection on Cityscapes: 24,000 iterations of 8 images; SGD with warm-up, rate 0.005, times 0.1 after 18,000
iterations.

Source: detectron2's Cityscapes has the rate 0.01 for Mask R-CNN; RetinaNet and FCOS take half, as on COCO."""

from mmengine.optim import LinearLR, MultiStepLR, OptimWrapper
from torch.optim import SGD

from xseg.engine import TrainLoop

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=0.005, momentum=0.9, weight_decay=1e-4),
    constructor="ParamGroups",
    clip_grad=dict(max_norm=35.0),
)
train_cfg = dict(type=TrainLoop, max_iters=24000, val_interval=4000)
param_scheduler = [
    dict(type=LinearLR, by_epoch=False, start_factor=0.001, begin=0, end=1000),
    dict(type=MultiStepLR, by_epoch=False, milestones=[18000], gamma=0.1),
]
