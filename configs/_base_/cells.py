"""Blood cells cut out of BCCD's images: RBC, WBC, Platelets; 2,804 images for training, 1,137 for validation.

There are eleven times as many red cells as others. Make the data set by `xseg data convert crops BCCD data/cells`."""

from mmengine.runner import ValLoop
from torchvision.transforms.v2 import ColorJitter, RandomVerticalFlip

from xseg.data import CentreCrop, ImageFolder, RandomFlip, RandomResizedCrop, collate
from xseg.engine import EvalSampler, TrainSampler
from xseg.evaluation import ClassificationMetric

train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=TrainSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=ImageFolder,
        root="data/cells",
        split="train",
        transforms=[
            dict(type=RandomResizedCrop, size_hw=(64, 64), scale=(0.5, 1.0), ratio=(0.8, 1.25)),
            dict(type=RandomFlip),
            dict(type=RandomVerticalFlip),
            dict(type=ColorJitter, brightness=0.2, contrast=0.2, saturation=0.2),
        ],
    ),
)
val_dataloader = dict(
    batch_size=50,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=EvalSampler),
    collate_fn=dict(type=collate),
    dataset=dict(
        type=ImageFolder,
        root="data/cells",
        split="val",
        transforms=[dict(type=CentreCrop, size=64, share=1.0)],
    ),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=ClassificationMetric)
