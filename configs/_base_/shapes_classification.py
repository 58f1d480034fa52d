"""Objects of Shapes, cut out of their scenes: four classes, about 1,200 images for training, 300 for validation.

The scenes are written to data/shapes at first use."""

from mmengine.runner import ValLoop

from xseg.data import CentreCrop, RandomFlip, RandomResizedCrop, ShapesClassification, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import ClassificationMetric

train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=ShapesClassification,
        root="data/shapes",
        split="train",
        transforms=[dict(type=RandomResizedCrop, size_hw=(64, 64), scale=(0.4, 1.0)), dict(type=RandomFlip)],
    ),
)
val_dataloader = dict(
    batch_size=50,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=EvalSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=ShapesClassification,
        root="data/shapes",
        split="val",
        transforms=[dict(type=CentreCrop, size=64, share=1.0)],
    ),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=ClassificationMetric)
