"""The check of images with boxes: files, sizes and invalid boxes."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from xseg.data.check.report import Fault, Findings, duplicate_ids, in_threads, look_at, print_sizes
from xseg.data.check.survey import Survey, SurveyedImage, survey
from xseg.data.sets.detection import DetectionDataset

if TYPE_CHECKING:
    from rich.console import Console

SMALL, LARGE = 32**2, 96**2  # pixels of a box, COCO's bounds


@dataclass
class DetectionStatistics:
    """Counts of the annotations of one data set; objects are those that are neither crowds nor difficult."""

    classes: tuple[str, ...]
    num_images: int
    num_empty: int  # images without an object
    most: int  # largest number of objects in an image
    objects: np.ndarray  # (C, 3) int64: small, medium and large ones
    images: np.ndarray  # (C,) int64, images with the class
    left_aside: np.ndarray  # (C,) int64, crowds and difficult ones
    sizes_hw: Counter  # (height, width) -> number of images

    def print(self, console: "Console", name: str) -> None:
        from rich.markup import escape
        from rich.table import Table

        total = int(self.objects.sum())
        table = Table(title=f"{name}: {self.num_images} images, {total} objects", title_justify="left")
        for column in ("id", "class", "objects", "small", "medium", "large", "images", "crowd, difficult"):
            table.add_column(column, justify="left" if column == "class" else "right")
        for label, class_name in enumerate(self.classes):
            counts = (self.objects[label].sum(), *self.objects[label], self.images[label], self.left_aside[label])
            table.add_row(str(label), escape(class_name), *map(str, counts))
        console.print(table)
        mean = total / max(self.num_images, 1)
        console.print(
            f"objects in an image: mean {mean:.1f}, most {self.most}; {self.num_empty} images without objects"
        )
        print_sizes(console, self.sizes_hw)


def check_detection(source: DetectionDataset | dict, name: str, num_threads: int | None = None) -> Findings:
    """Read every image and check every box; for the source see `survey`."""
    known = survey(source, name)
    looks = in_threads(partial(_look, name), known.images, num_threads)
    faults = duplicate_ids([(image.id, str(image.path)) for image in known.images], name) + known.faults
    for image, look in zip(known.images, looks, strict=True):
        if look.fault is not None:
            faults.append(look.fault)
        elif image.size_hw is not None and look.size_hw != tuple(image.size_hw):
            faults.append(Fault("size mismatch", name, str(image.path), _mismatch(image, look.size_hw)))
    sizes = [look.size_hw or image.size_hw for image, look in zip(known.images, looks, strict=True)]
    boxes, kinds, beyond = _judge(known, sizes)
    invalid = [(item, kind) for item, kind in zip(known.objects, kinds, strict=True) if kind]
    warnings = []
    if known.drop_invalid and invalid:
        some = f"{name}: {len(invalid)} boxes without area inside their image are left out (drop_invalid)"
        warnings.append(f"{some}, first {invalid[0][0].place}")
        if len(invalid) == len(known.objects):
            message = f"{invalid[0][0].place}: no box of the data set lies inside its image; correct the annotations"
            faults.append(Fault("no valid box", name, invalid[0][0].place, message))
    elif invalid:
        for item, kind in invalid:
            corners = ", ".join(f"{side:g}" for side in item.box_xyxy)
            remedy = "correct it, or leave such objects out with drop_invalid=True"
            faults.append(Fault(kind, name, item.place, f"{item.place}: box ({corners}) in xyxy: {kind}; {remedy}"))
    if beyond:
        warnings.append(f"{name}: {beyond} boxes leave their image by more than a pixel and are clipped")
    statistics = _summarise(known, boxes, np.array([not kind for kind in kinds], bool), looks)
    warnings += _warnings(name, known, statistics)
    digests = {look.digest: str(image.path) for image, look in zip(known.images, looks, strict=True) if look.digest}
    return Findings(faults, warnings, statistics, digests)


def _look(name: str, image: SurveyedImage):
    return look_at(image.path, name)


def _mismatch(image: SurveyedImage, size_hw: tuple[int, int]) -> str:
    (height, width), (stated_height, stated_width) = size_hw, image.size_hw
    turned = size_hw == (stated_width, stated_height)
    hint = "; the image may carry an EXIF rotation that its boxes do not" if turned else "; correct the annotation"
    return f"{image.path} is {width}x{height} pixels, but its annotation says {stated_width}x{stated_height}{hint}"


def _judge(known: Survey, sizes: list[tuple[int, int] | None]) -> tuple[np.ndarray, list[str], int]:
    """Boxes (A, 4) clipped to the images, the fault of each ("" for none), and how many boxes leave their image."""
    raw = np.array([item.box_xyxy for item in known.objects], np.float64).reshape(-1, 4)
    of_image = np.array([(np.inf, np.inf) if size is None else size for size in sizes], np.float64).reshape(-1, 2)
    limits = of_image[[item.image for item in known.objects]][:, [1, 0, 1, 0]]
    finite = np.isfinite(raw).all(axis=1)
    boxes = np.clip(np.where(finite[:, None], raw, 0), 0, limits)
    flat = ~(raw[:, 2:] > raw[:, :2]).all(axis=1)
    outside = ~(boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    names = np.select([~finite, flat, outside], ["box not finite", "box without area", "box outside"], "")
    good = names == ""
    return boxes, names.tolist(), int((np.abs(raw - boxes).max(axis=1, initial=0) > 1)[good].sum())


def _summarise(known: Survey, boxes: np.ndarray, valid: np.ndarray, looks: list) -> DetectionStatistics:
    count = len(known.classes)
    labels = np.array([item.label for item in known.objects], np.int64)
    image_of = np.array([item.image for item in known.objects], np.int64)
    aside = np.array([item.iscrowd or item.difficult for item in known.objects], bool)
    wanted = valid & ~aside
    size = np.digitize((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), (SMALL, LARGE))
    per_image = np.bincount(image_of[wanted], minlength=len(known.images))
    pairs = np.unique(np.stack([image_of[wanted], labels[wanted]], axis=1), axis=0)
    return DetectionStatistics(
        classes=known.classes,
        num_images=len(known.images),
        num_empty=int((per_image == 0).sum()),
        most=int(per_image.max(initial=0)),
        objects=np.bincount(3 * labels[wanted] + size[wanted], minlength=3 * count).reshape(count, 3),
        images=np.bincount(pairs[:, 1], minlength=count),
        left_aside=np.bincount(labels[valid & aside], minlength=count),
        sizes_hw=Counter(look.size_hw for look in looks if look.size_hw is not None),
    )


def _warnings(name: str, known: Survey, statistics: DetectionStatistics) -> list[str]:
    warnings = []
    if absent := [label for label, count in zip(known.classes, statistics.images, strict=True) if not count]:
        warnings.append(f"{name}: no image has {', '.join(absent)}")
    same = Counter((item.image, item.label, item.box_xyxy) for item in known.objects)
    if twice := [key for key, count in same.items() if count > 1]:
        path = known.images[twice[0][0]].path
        warnings.append(f"{name}: {len(twice)} boxes occur more than once with the same class, first in {path}")
    return warnings
