"""The ImageNet recipe of the original Xception: SGD with momentum 0.9, rate 0.045, times 0.94 every 2 epochs, weight
decay 1e-5.

With batches of 256 images 2 epochs are 2 x 1,281,167 / 256 = 10,009 iterations. The paper gives neither its batch size
nor the end of its training: 256 images and 120 epochs are our choice.

Source: Chollet 2017 (arXiv:1610.02357), Sections 4.3 and 4.4."""

from mmengine.optim import OptimWrapper, StepLR
from torch.optim import SGD

from xseg.engine import TrainLoop

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=0.045, momentum=0.9, weight_decay=1e-5),
    constructor="ParamGroups",
    paramwise_cfg=dict(decay_depthwise=True),
)
train_cfg = dict(type=TrainLoop, max_iters=600540, val_interval=10009)
param_scheduler = [dict(type=StepLR, by_epoch=False, step_size=10009, gamma=0.94)]
