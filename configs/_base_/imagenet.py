"""ImageNet: train/ and val/ with one folder a class, n01440764/*.JPEG and so on; 299 x 299 pixels.

Give the folder by `--data-root`. The classes' folders, sorted, are the labels, in the order of published weights."""

from mmengine.runner import ValLoop

from xseg.data import CentreCrop, ImageFolder, RandomFlip, RandomResizedCrop, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import ClassificationMetric

train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=ImageFolder,
        root="data/imagenet",
        split="train",
        transforms=[dict(type=RandomResizedCrop, size_hw=(299, 299)), dict(type=RandomFlip)],
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=EvalSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=ImageFolder,
        root="data/imagenet",
        split="val",
        transforms=[dict(type=CentreCrop, size=299, share=0.903)],
    ),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=ClassificationMetric)
