"""Your own images with an outline of every object, or with COCO's panoptic segments, in any format that xseg reads.

Give the folder by `--data-root`; it must have the splits train and val (`xseg plan DIR` makes them)."""

from mmengine.runner import ValLoop

from xseg.data import OwnPanoptic, PhotometricDistortion, RandomFlip, RandomScaleCrop, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import DetectionMetric, SegmentationMetric

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=OwnPanoptic,
        root="data/custom",
        split="train",
        transforms=[
            dict(type=RandomScaleCrop, size_hw=(257, 257), scale=(0.5, 1.5)),
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
    dataset=dict(type=OwnPanoptic, root="data/custom", split="val"),
)
val_cfg = dict(type=ValLoop)
val_evaluator = [dict(type=SegmentationMetric), dict(type=DetectionMetric)]
