"""The check of images with one label: files, classes and duplicate images."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from xseg.data.check.report import Fault, Findings, Look, duplicate_ids, in_threads, look_at, print_sizes
from xseg.data.sets.classification import ClassificationDataset, Labelled

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class ClassificationStatistics:
    """Counts of one data set."""

    classes: tuple[str, ...]
    images: np.ndarray  # (C,) int64
    sizes_hw: Counter  # (height, width) of the files -> number of images

    def print(self, console: "Console", name: str) -> None:
        from rich.markup import escape
        from rich.table import Table

        total = int(self.images.sum())
        table = Table(title=f"{name}: {total} images", title_justify="left")
        for column in ("id", "class", "images", "%"):
            table.add_column(column, justify="left" if column == "class" else "right")
        for label, (class_name, count) in enumerate(zip(self.classes, self.images, strict=True)):
            table.add_row(str(label), escape(class_name), str(count), f"{100 * count / max(total, 1):.2f}")
        console.print(table)
        print_sizes(console, self.sizes_hw)


def check_classification(dataset: ClassificationDataset, name: str, num_threads: int | None = None) -> Findings:
    """Read every image."""
    looks = in_threads(partial(_look, name), dataset.images, num_threads)
    faults = duplicate_ids([(row.id, row.path) for row in dataset.images], name)
    faults += [look.fault for look in looks if look.fault is not None]
    first: dict[bytes, Labelled] = {}
    again = []
    for row, look in zip(dataset.images, looks, strict=True):
        if look.digest is None:
            continue
        other = first.setdefault(look.digest, row)
        if other.label != row.label:
            labels = f"{dataset.classes[row.label]}, and {other.path}, {dataset.classes[other.label]}"
            message = f"{row.path}, {labels}, are the same image; keep the right one"
            faults.append(Fault("two labels", name, row.path, message))
        elif other is not row:
            again.append(row)
    counts = np.bincount([row.label for row in dataset.images], minlength=len(dataset.classes))
    sizes = Counter(look.size_hw for look in looks if look.size_hw is not None)
    warnings = []
    if absent := [label for label, count in zip(dataset.classes, counts, strict=True) if not count]:
        warnings.append(f"{name}: no image of {', '.join(absent)}")
    if again:
        warnings.append(f"{name}: {len(again)} images occur more than once, first {again[0].path}")
    digests = {digest: row.path for digest, row in first.items()}
    return Findings(faults, warnings, ClassificationStatistics(dataset.classes, counts, sizes), digests)


def _look(name: str, row: Labelled) -> Look:
    look = look_at(row.path, name)
    if row.box_xyxy is None or look.digest is None:
        return look
    return look._replace(digest=look.digest + repr(row.box_xyxy).encode())  # the digest of the cut-out part
