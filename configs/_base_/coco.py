"""COCO 2017 detection: 118,287 images for training, without those that have no objects; 5,000 for validation.

In training the shorter edge is 640 to 800 pixels, the longer at most 1333. The images of a batch are all wide or all
tall."""

from mmengine.runner import ValLoop

from xseg.data import CocoDetection, RandomFlip, RandomResize, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import DetectionMetric

train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=TrainSampler, same_orientation=True),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=CocoDetection,
        root="data/coco",
        images="train2017",
        annotations="annotations/instances_train2017.json",
        keep_empty=False,
        drop_invalid=True,
        transforms=[
            dict(type=RandomResize, shortest=(640, 672, 704, 736, 768, 800), longest=1333),
            dict(type=RandomFlip),
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
    ),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=DetectionMetric)
