"""COCO 2017 detection: 118,287 images for training, of which those without objects are left out, 5,000 for validation.

Shorter edge 640 to 800 pixels in training, longer edge at most 1333; batches of wide or of tall images."""

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
