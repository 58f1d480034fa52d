"""Your own images with one class each, in folders by class or in a list, in any format that xseg reads.

Give the folder by `--data-root`; it must have the splits train and val (`xseg plan DIR` makes them)."""

from mmengine.runner import ValLoop
from torchvision.transforms.v2 import ColorJitter

from xseg.data import CentreCrop, OwnClassification, RandomFlip, RandomResizedCrop, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import ClassificationMetric

train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=OwnClassification,
        root="data/custom",
        split="train",
        transforms=[
            dict(type=RandomResizedCrop, size_hw=(96, 96), scale=(0.35, 1.0)),
            dict(type=RandomFlip),
            dict(type=ColorJitter, brightness=0.2, contrast=0.2, saturation=0.2),
        ],
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=EvalSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=OwnClassification, root="data/custom", split="val", transforms=[dict(type=CentreCrop, size=96, share=0.9)]
    ),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=ClassificationMetric)
