"""VOC's boxes, "07+12": 16,551 images of trainval of both years for training, 4,952 of VOC 2007 test for evaluation.

The root holds VOC2007/ and VOC2012/. Training and evaluation skip difficult objects: missing or detecting one changes
no number. In training the shorter edge is 480 to 800 pixels, the longer at most 1333."""

from mmengine.runner import ValLoop

from xseg.data import RandomFlip, RandomResize, VOCDetection, collate
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
        type=VOCDetection,
        root="data/VOCdevkit",
        split=("VOC2007/trainval", "VOC2012/trainval"),
        keep_difficult=False,
        transforms=[
            dict(
                type=RandomResize,
                shortest=(480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800),
                longest=1333,
            ),
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
    dataset=dict(type=VOCDetection, root="data/VOCdevkit", split="VOC2007/test"),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=DetectionMetric, kinds=("voc07", "voc12", "bbox"))
