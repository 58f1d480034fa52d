"""Shapes with a list of classes per scene: 1,200 drawn scenes for training, 200 for validation.

They are written to data/shapes_multilabel at first use."""

from mmengine.runner import ValLoop
from torchvision.transforms.v2 import RandomVerticalFlip

from xseg.data import CentreCrop, PhotometricDistortion, RandomFlip, ShapesMultiLabel, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import MultiLabelMetric

train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=ShapesMultiLabel,
        root="data/shapes_multilabel",
        split="train",
        num_images=dict(train=1200, val=200),
        transforms=[
            dict(type=CentreCrop, size=96, share=1.0),
            dict(type=RandomFlip),
            dict(type=RandomVerticalFlip),
            dict(type=PhotometricDistortion),
        ],
    ),
)
val_dataloader = dict(
    batch_size=50,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=EvalSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=ShapesMultiLabel,
        root="data/shapes_multilabel",
        split="val",
        num_images=dict(train=1200, val=200),
        transforms=[dict(type=CentreCrop, size=96, share=1.0)],
    ),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=MultiLabelMetric)
