"""Training from scratch on a few hundred images: AdamW with warm-up, poly decay of power 0.9 and gradient clipping."""

from mmengine.optim import LinearLR, OptimWrapper, PolyLR
from torch.optim import AdamW

from xseg.engine import TrainLoop

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=1e-2, weight_decay=0.01),
    constructor="ParamGroups",
    clip_grad=dict(max_norm=5.0),
)
train_cfg = dict(type=TrainLoop, max_iters=3300, val_interval=1100)
param_scheduler = [
    dict(type=LinearLR, by_epoch=False, start_factor=0.05, begin=0, end=50),
    dict(type=PolyLR, by_epoch=False, power=0.9, eta_min=0.0),
]
