"""Shapes with a box and a mask per object: 400 drawn images for training, 100 for validation; 128 x 128 pixels."""

from mmengine.runner import ValLoop

from xseg.data import PhotometricDistortion, RandomFlip, ShapesDetection, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import DetectionMetric

train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=ShapesDetection,
        root="data/shapes",
        split="train",
        transforms=[dict(type=RandomFlip), dict(type=PhotometricDistortion)],
    ),
)
val_dataloader = dict(
    batch_size=10,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=EvalSampler),
    collate_fn=dict(type=collate),
    dataset=dict(type=ShapesDetection, root="data/shapes", split="val"),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=DetectionMetric)
