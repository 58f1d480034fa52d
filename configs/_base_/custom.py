"""Your own images and masks in VOC's layout.

The folder, given by `--data-root`, holds JPEGImages/, SegmentationClass/ (palette or grey PNG; a pixel's value is its
class, 255 is ignored), ImageSets/Segmentation/{train,val}.txt, and classes.txt with one class name per line. The
number of classes is that of classes.txt."""

from mmengine.runner import ValLoop

from xseg.data import VOC, PhotometricDistortion, RandomFlip, RandomScaleCrop, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import SegmentationMetric

train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=VOC,
        root="data/custom",
        split="train",
        transforms=[
            dict(type=RandomScaleCrop, size_hw=(257, 257), scale=(0.5, 2.0), max_class_share=0.75),
            dict(type=RandomFlip),
            dict(type=PhotometricDistortion),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=EvalSampler),
    collate_fn=dict(type=collate),
    dataset=dict(type=VOC, root="data/custom", split="val"),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=SegmentationMetric)
