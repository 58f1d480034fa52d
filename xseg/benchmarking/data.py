"""The data pipeline of training: scale, crop and flip."""

from __future__ import annotations

import tempfile
from functools import partial

import torch

from xseg.benchmarking.sections import Candidate, Scale, Section
from xseg.data import RandomFlip, RandomScaleCrop, Shapes, collate


def data(plan: Scale) -> Section:
    """Drawn scenes of half the crop's edge more, scaled by 0.5 to 2, cropped and flipped; one worker, this process."""
    from torchvision.transforms import v2

    edge = plan.size * 3 // 2
    reference = [  # torchvision/references/segmentation/presets.py
        v2.ScaleJitter((edge, edge), (0.5, 2.0), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomCrop(plan.size, pad_if_needed=True, fill=127),
    ]
    forms = {
        "ours": [RandomScaleCrop((plan.size, plan.size), (0.5, 2.0)), RandomFlip()],
        "torchvision's reference preset": reference,
    }
    folder = tempfile.TemporaryDirectory(prefix="xseg-benchmark-")
    section = Section([])
    for name, transforms in forms.items():
        shapes = Shapes(folder.name, "train", {"train": plan.samples, "val": 1}, (edge, edge), transforms=transforms)
        loader = torch.utils.data.DataLoader(shapes, plan.samples, collate_fn=collate)
        loader.folder = folder  # lives as long as it is read from
        section.candidates.append(Candidate(name, partial(list, loader), "samples", plan.samples))
    return section
