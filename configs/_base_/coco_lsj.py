"""COCO 2017 instances with large-scale jitter to 1024 x 1024 pixels and copy-paste, for heads with masks.

Scales 0.1 to 2.0, flip, and pasted objects of a second image. Source: Ghiasi et al. 2021 (arXiv:2012.07177)."""

from mmengine.runner import ValLoop

from xseg.data import CocoDetection, CopyPaste, RandomFlip, ScaleJitter, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import DetectionMetric

train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=CocoDetection,
        root="data/coco",
        images="train2017",
        annotations="annotations/instances_train2017.json",
        with_masks=True,
        keep_empty=False,
        drop_invalid=True,
        transforms=[
            dict(type=ScaleJitter, size_hw=(1024, 1024), scale=(0.1, 2.0)),
            dict(type=RandomFlip),
            dict(type=CopyPaste),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=EvalSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=CocoDetection,
        root="data/coco",
        images="val2017",
        annotations="annotations/instances_val2017.json",
        with_masks=True,
    ),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=DetectionMetric)
