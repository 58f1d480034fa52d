"""Cityscapes with classes of pixels and instances: 2,975 images for training, 500 for validation; groups are crowds.

Images are scaled by 0.5 to 2.0 and then cropped to at most 1024 x 2048."""

from mmengine.runner import ValLoop

from xseg.data import CityscapesPanoptic, RandomFlip, ScaleJitter, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import DetectionMetric, PanopticMetric, SegmentationMetric

train_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=CityscapesPanoptic,
        root="data/cityscapes",
        split="train",
        transforms=[dict(type=ScaleJitter, size_hw=(1024, 2048), scale=(0.5, 2.0)), dict(type=RandomFlip)],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=EvalSampler),
    collate_fn=dict(type=collate),
    dataset=dict(type=CityscapesPanoptic, root="data/cityscapes", split="val"),
)
val_cfg = dict(type=ValLoop)
val_evaluator = [dict(type=SegmentationMetric), dict(type=DetectionMetric), dict(type=PanopticMetric)]
