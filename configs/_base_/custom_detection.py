"""Your own images and boxes in VOC's detection layout.

The folder, given by `--data-root`, holds JPEGImages/, Annotations/*.xml, ImageSets/Main/{train,val}.txt, and
classes.txt with one class name per line. The number of classes is that of classes.txt."""

from mmengine.runner import ValLoop

from xseg.data import PhotometricDistortion, RandomFlip, RandomResize, VOCDetection, collate
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
        type=VOCDetection,
        root="data/custom",
        split="train",
        keep_difficult=False,
        drop_invalid=True,
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
    dataset=dict(type=VOCDetection, root="data/custom", split="val", drop_invalid=True),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=DetectionMetric)
