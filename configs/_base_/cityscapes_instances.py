"""Cityscapes' instances of 8 classes: 2,975 images for training, 500 for validation; groups are crowds.

In training the shorter edge is 800 to 1024 pixels, the longer at most 2048. A head with masks needs
`with_masks=True` in both data sets."""

from mmengine.runner import ValLoop

from xseg.data import CityscapesInstances, RandomFlip, RandomResize, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import DetectionMetric

train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=CityscapesInstances,
        root="data/cityscapes",
        split="train",
        with_masks=False,
        transforms=[
            dict(type=RandomResize, shortest=(800, 832, 864, 896, 928, 960, 992, 1024), longest=2048),
            dict(type=RandomFlip),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=EvalSampler),
    collate_fn=dict(type=collate),
    dataset=dict(type=CityscapesInstances, root="data/cityscapes", split="val", with_masks=False),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=DetectionMetric)
