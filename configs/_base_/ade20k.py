"""ADE20K's scene parsing challenge: 20,210 images for training, 2,000 for validation; crops of 513 x 513."""

from mmengine.runner import ValLoop

from xseg.data import ADE20K, RandomFlip, RandomScaleCrop, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import SegmentationMetric

train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=ADE20K,
        root="data/ADEChallengeData2016",
        split="training",
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
    dataset=dict(type=ADE20K, root="data/ADEChallengeData2016", split="validation"),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=SegmentationMetric)
