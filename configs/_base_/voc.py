"""VOC 2012 with the augmented training set of 10,582 images (`xseg data convert sbd`); crops of 513 x 513.

Settings of Chen et al. 2018 (arXiv:1802.02611), Section 4: scales 0.5 to 2.0 in steps of 0.25, flip, batch 16."""

from mmengine.runner import ValLoop

from xseg.data import VOC, RandomFlip, RandomScaleCrop, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import SegmentationMetric

train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=VOC,
        root="data/VOCdevkit/VOC2012",
        split="train_aug",
        mask_dir="SegmentationClassAug",
        transforms=[
            dict(type=RandomScaleCrop, size_hw=(513, 513), scale=(0.5, 2.0), step=0.25),
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
    dataset=dict(type=VOC, root="data/VOCdevkit/VOC2012", split="val"),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=SegmentationMetric)
