"""ImageNet, in crops of 299 x 299 pixels.

The folder, given by `--data-root`, holds train/ and val/ with one folder per class, such as n01440764/*.JPEG. The
labels are the indices of the sorted folders, as in published weights."""

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
