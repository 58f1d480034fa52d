"""The data pipeline of training: read files, then scale, crop and flip the samples.

torchvision's preset normalises in the loader's worker. Ours returns uint8, and the device normalises. One row adds
the time of our normalisation on the CPU.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from xseg.benchmark.sections import Candidate, Scale, Section
from xseg.data import VOC, RandomFlip, RandomScaleCrop, collate, write_shapes
from xseg.data.read.classes import SHAPES_CLASSES
from xseg.models.preprocessor import Preprocessor

SCALES = (0.5, 2.0)


def data(plan: Scale) -> Section:
    """Crops of the benchmark's size from JPEG files of drawn scenes, in one thread; ours also from a decoded cache."""
    section = Section([], threads=1)  # as a worker of a data loader has
    folder = tempfile.TemporaryDirectory(prefix="xseg-benchmark-")
    section.closing.append(folder.cleanup)
    for size_hw in plan.sources_hw:
        root = Path(folder.name) / f"{size_hw[0]}"
        write_shapes(root, num_train=plan.samples, num_val=1, size_hw=size_hw)
        transforms = [RandomScaleCrop((plan.size, plan.size), SCALES), RandomFlip()]
        ours, cached = (
            VOC(root, "train", classes=SHAPES_CLASSES, transforms=transforms, cache=cache)
            for cache in (None, root / "cache")
        )
        for index in range(plan.samples):
            cached[index]  # fills the cache before timing
        forms = {
            "torchvision's reference preset": reference_preset(ours.pairs, size_hw[0], plan.size),
            "ours": loaded(ours),
            "ours, and normalised on the CPU": normalised(ours),
            "ours, decoded before": loaded(cached),
        }
        group = f"{size_hw[0]} x {size_hw[1]}"
        for name, read in forms.items():
            run = partial(epoch, read, plan.samples)
            section.candidates.append(Candidate(name, run, group, plan.samples))
    return section


def epoch(read: Callable[[int], object], count: int) -> None:
    for index in range(count):
        read(index)


def loaded(dataset: VOC) -> Callable[[int], dict]:
    return lambda index: collate([dataset[index]])


def normalised(dataset: VOC) -> Callable[[int], dict]:
    preprocessor, load = Preprocessor(), loaded(dataset)
    return lambda index: preprocessor(load(index), True)


def reference_preset(pairs: list, height: int, crop: int) -> Callable[[int], tuple]:
    """torchvision/references/segmentation/presets.py, which decodes by Pillow, in its faster form with tv_tensors."""
    from PIL import Image
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    low, high = (int(height * scale) for scale in SCALES)
    fill = {tv_tensors.Mask: 255, "others": 0}
    types = {tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}
    transforms = v2.Compose(
        [
            v2.RandomResize(min_size=low, max_size=high, antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomCrop((crop, crop), pad_if_needed=True, fill=fill),
            v2.ToDtype(types, scale=True),
            v2.Normalize(mean=(0.5,) * 3, std=(0.5,) * 3),
            v2.ToPureTensor(),
        ]
    )

    def read(index: int) -> tuple:
        _, image, mask = pairs[index]
        with Image.open(image) as opened, Image.open(mask) as labels:
            pair = v2.functional.to_image(opened.convert("RGB")), tv_tensors.Mask(v2.functional.pil_to_tensor(labels))
        return transforms(*pair)

    return read
