"""Your own images with an outline of every object, in any format that xseg reads.

Give the folder by `--data-root`; it must have the splits train and val (`xseg plan DIR` makes them)."""

from mmengine.runner import ValLoop

from xseg.data import OwnDetection, PhotometricDistortion, RandomFlip, RandomResize, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import DetectionMetric

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=OwnDetection,
        root="data/custom",
        split="train",
        with_masks=True,
        transforms=[
            dict(type=RandomResize, shortest=(288, 320, 352, 384), longest=640),
            dict(type=RandomFlip),
            dict(type=PhotometricDistortion),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=EvalSampler),
    collate_fn=dict(type=collate),
    dataset=dict(type=OwnDetection, root="data/custom", split="val", with_masks=True),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=DetectionMetric)
