"""The check of images with masks: files, sizes and the label of every pixel."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xseg.data.check.report import Fault, Findings, duplicate_ids, in_threads, kind_of, look_at, print_sizes
from xseg.data.read.classes import IGNORE
from xseg.data.read.images import read_mask
from xseg.data.sets.segmentation import SegmentationDataset, check_same_size

if TYPE_CHECKING:
    from rich.console import Console

MAX_VOID_SHARE = 0.5  # of all pixels; a larger share gives a warning


@dataclass
class SegmentationStatistics:
    """Counts of the readable files of one data set."""

    classes: tuple[str, ...]
    num_images: int
    pixels: np.ndarray  # (256,) int64, per label; 255 is void
    images: np.ndarray  # (256,) int64, images with the label
    sizes_hw: Counter  # (height, width) -> number of images

    @property
    def void_share(self) -> float:
        return float(self.pixels[IGNORE] / max(self.pixels.sum(), 1))

    def print(self, console: "Console", name: str) -> None:
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=f"{name}: {self.num_images} images", title_justify="left")
        table.add_column("id", justify="right")
        table.add_column("class")
        table.add_column("pixels %", justify="right")
        table.add_column("images", justify="right")
        valid = max(int(self.pixels[:IGNORE].sum()), 1)
        for label, class_name in enumerate(self.classes):
            share = 100 * self.pixels[label] / valid
            table.add_row(str(label), escape(class_name), f"{share:.2f}", str(self.images[label]))
        table.add_row(str(IGNORE), "(void, of all)", f"{100 * self.void_share:.2f}", str(self.images[IGNORE]))
        console.print(table)
        print_sizes(console, self.sizes_hw)


class _Finding(NamedTuple):
    """Result of one pair of image and mask."""

    faults: list[Fault]
    digest: bytes | None  # of the image file
    size_hw: tuple[int, int] | None
    pixels: np.ndarray | None  # (256,)


def check_segmentation(dataset: SegmentationDataset, name: str, num_threads: int | None = None) -> Findings:
    """Read every image and mask."""
    findings = in_threads(partial(_examine, dataset, name), range(len(dataset)), num_threads)
    statistics = _summarise(dataset, findings)
    faults = duplicate_ids([(id, str(image)) for id, image, _ in dataset.pairs], name)
    faults += [fault for finding in findings for fault in finding.faults]
    digests = {
        finding.digest: str(pair[1]) for finding, pair in zip(findings, dataset.pairs, strict=True) if finding.digest
    }
    return Findings(faults, _warnings(name, statistics), statistics, digests)


def _examine(dataset: SegmentationDataset, name: str, index: int) -> _Finding:
    _, image_path, mask_path = dataset.pairs[index]
    fault, digest, size_hw = look_at(image_path, name)
    faults = [] if fault is None else [fault]
    if mask_path is None:
        return _Finding(faults, digest, size_hw, None)
    try:
        mask = read_mask(mask_path)
    except (OSError, ValueError) as error:
        return _Finding([*faults, Fault(kind_of(error), name, str(mask_path), str(error))], digest, size_hw, None)
    if size_hw is not None:
        try:
            check_same_size(size_hw, tuple(mask.shape), image_path, mask_path)
        except ValueError as error:
            faults.append(Fault("size mismatch", name, str(mask_path), str(error)))
    try:
        labels = dataset.map_labels(mask, mask_path)
    except ValueError as error:
        faults.append(Fault("label out of range", name, str(mask_path), str(error)))
        return _Finding(faults, digest, size_hw, None)
    return _Finding(faults, digest, size_hw, np.bincount(labels.numpy().ravel(), minlength=256))


def _summarise(dataset: SegmentationDataset, findings: Iterable[_Finding]) -> SegmentationStatistics:
    counts = [finding.pixels for finding in findings if finding.pixels is not None]
    stacked = np.stack(counts) if counts else np.zeros((0, 256), np.int64)
    return SegmentationStatistics(
        classes=dataset.classes,
        num_images=len(dataset),
        pixels=stacked.sum(axis=0),
        images=(stacked > 0).sum(axis=0),
        sizes_hw=Counter(finding.size_hw for finding in findings if finding.size_hw is not None),
    )


def _warnings(name: str, statistics: SegmentationStatistics) -> list[str]:
    if not statistics.pixels.any():
        return []
    absent = [label for label, images in zip(statistics.classes, statistics.images, strict=False) if not images]
    warnings = [f"{name}: no mask has {', '.join(absent)}"] if absent else []
    if statistics.void_share > MAX_VOID_SHARE:
        warnings.append(f"{name}: {statistics.void_share:.0%} of all pixels are void ({IGNORE})")
    return warnings
