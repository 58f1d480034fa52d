"""DeepLabv3+'s schedule of 90,000 iterations: SGD, base rate 0.007, poly decay of power 0.9, weight decay 4e-5 except
on depthwise kernels, norms and biases.

Source: Chen et al. 2018 (arXiv:1802.02611), Section 4, and the released training script."""

from mmengine.optim import OptimWrapper, PolyLR
from torch.optim import SGD

from xseg.engine import TrainLoop

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=0.007, momentum=0.9, weight_decay=4e-5),
    constructor="ParamGroups",
)
train_cfg = dict(type=TrainLoop, max_iters=90000, val_interval=5000)
# `end` is one more than the last iteration, so that the last step has the rate 0.007 * (1 / 90000)^0.9, as in DeepLab.
param_scheduler = [dict(type=PolyLR, by_epoch=False, power=0.9, eta_min=0.0)]
