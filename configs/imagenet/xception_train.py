"""The original Xception on ImageNet with the paper's recipe, for 4 GPUs with 64 images each.
torchrun --nproc-per-node 4 -m xseg train imagenet/xception_train --data-root IMAGENET --launcher pytorch --amp bf16
Result: not measured; the paper reports top-1 79.0, top-5 94.5 (arXiv:1610.02357, Table 1)."""

from mmengine.config import read_base

with read_base():
    from .._base_.imagenet import *
    from .._base_.runtime import *
    from .._base_.schedule_xception import *

from mmengine.hooks import EMAHook

from backbones import Xception
from heads import ClassificationHead
from xseg.models import Classifier

model = dict(
    type=Classifier,
    backbone=dict(type=Xception, out=("c5",), stem="valid", pool_padding="tensorflow"),
    head=dict(type=ClassificationHead, num_classes=1000, dropout=0.5),
    channels_last=True,
)
# Polyak averaging: validation and checkpoints use the averages. Hooks of priority LOWEST run after it, see
# PlainCheckpointHook.
custom_hooks.append(dict(type=EMAHook, momentum=1e-4, update_buffers=True))
default_hooks.checkpoint.interval = 10009
