"""Shapes: 400 drawn scenes of 128 x 128 pixels for training, 100 for validation.

They are written to data/shapes at first use."""

from mmengine.runner import ValLoop

from xseg.data import RandomFlip, RandomScaleCrop, Shapes, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import SegmentationMetric

train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=Shapes,
        root="data/shapes",
        split="train",
        transforms=[
            dict(type=RandomScaleCrop, size_hw=(97, 97), scale=(0.75, 1.25)),
            dict(type=RandomFlip),
        ],
    ),
)
val_dataloader = dict(
    batch_size=10,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=EvalSampler),
    collate_fn=dict(type=collate),
    dataset=dict(type=Shapes, root="data/shapes", split="val"),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=SegmentationMetric)
