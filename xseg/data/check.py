"""Look at every file of a data set before a training run trips over one.

Faults are what makes a run fail or its numbers wrong; warnings are what may well be meant.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xseg.data.classes import IGNORE
from xseg.data.images import MaskModeError, read_image, read_mask
from xseg.data.segmentation import SegmentationDataset, check_same_size

MAX_VOID_SHARE = 0.5  # of all pixels; more earns a warning
SHOWN = 20  # faults printed per kind


class Fault(NamedTuple):
    kind: str  # "missing file", "unreadable file", "RGB mask", "size mismatch", "label out of range", …
    dataset: str
    path: str
    message: str  # names file and remedy


@dataclass
class Statistics:
    """What the readable files of one data set hold."""

    classes: tuple[str, ...]
    num_images: int
    pixels: np.ndarray  # (256,) int64, per label; 255 is void
    images: np.ndarray  # (256,) int64, images that hold the label
    sizes_hw: Counter  # (height, width) -> number of images

    @property
    def void_share(self) -> float:
        return float(self.pixels[IGNORE] / max(self.pixels.sum(), 1))


@dataclass
class Report:
    """What `check` found; `ok` where there is no fault."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    statistics: dict[str, Statistics] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.faults

    def print(self, console: Console | None = None) -> None:
        console = console or Console()
        for name, statistics in self.statistics.items():
            _print_statistics(console, name, statistics)
        for warning in self.warnings:
            console.print(f"[yellow]warning[/] {escape(warning)}", soft_wrap=True)
        for kind, count in Counter(fault.kind for fault in self.faults).items():
            console.print(f"[bold red]{kind}: {count}[/]")
            for fault in [fault for fault in self.faults if fault.kind == kind][:SHOWN]:
                console.print(f"  {escape(f'[{fault.dataset}] {fault.message}')}", soft_wrap=True)
            if count > SHOWN:
                console.print(f"  … and {count - SHOWN} more")
        console.print("[green]no faults[/]" if self.ok else f"[bold red]{len(self.faults)} faults[/]")


class _Finding(NamedTuple):
    """What one pair of files showed."""

    faults: list[Fault]
    digest: bytes | None  # of the image file
    size_hw: tuple[int, int] | None
    pixels: np.ndarray | None  # (256,)


def check_dataset(dataset: SegmentationDataset, name: str = "data set", num_threads: int | None = None) -> Report:
    """Read every image and mask of one data set; see `check`."""
    return check({name: dataset}, num_threads)


def check(datasets: Mapping[str, SegmentationDataset], num_threads: int | None = None) -> Report:
    """Read every image and mask, go on after a fault, and look in the others for images of `train`.

    Transforms are not run. Decoding releases the GIL, so threads use all cores.
    """
    for name, dataset in datasets.items():
        if not isinstance(dataset, SegmentationDataset):
            raise ValueError(f"{name}: {type(dataset).__name__} cannot be checked; only segmentation data can be yet")
    report = Report()
    digests: dict[str, dict[bytes, str]] = {}  # data set -> image content -> path
    for name, dataset in datasets.items():
        with ThreadPoolExecutor(num_threads or min(os.cpu_count() or 1, 16)) as pool:
            findings = list(pool.map(_examine, repeat(dataset), range(len(dataset)), repeat(name)))
        report.faults += _duplicate_ids(dataset, name)
        report.faults += [fault for finding in findings for fault in finding.faults]
        report.statistics[name] = _summarise(dataset, findings)
        report.warnings += _warnings(name, report.statistics[name])
        digests[name] = {
            finding.digest: str(pair[1])
            for finding, pair in zip(findings, dataset.pairs, strict=True)
            if finding.digest is not None
        }
    report.faults += _overlaps(digests)
    return report


def _examine(dataset: SegmentationDataset, index: int, name: str) -> _Finding:
    _, image_path, mask_path = dataset.pairs[index]
    faults: list[Fault] = []

    def attempt(path: Path, action):
        try:
            return action()
        except (OSError, ValueError) as error:
            faults.append(Fault(_kind(error), name, str(path), str(error)))
            return None

    image = attempt(image_path, lambda: read_image(image_path))
    digest = None if image is None else hashlib.blake2b(image_path.read_bytes(), digest_size=16).digest()
    size_hw = None if image is None else tuple(image.shape[1:])
    mask = None if mask_path is None else attempt(mask_path, lambda: read_mask(mask_path))
    if mask is None:
        return _Finding(faults, digest, size_hw, None)
    if image is not None:
        try:
            check_same_size(image, mask, image_path, mask_path)
        except ValueError as error:
            faults.append(Fault("size mismatch", name, str(mask_path), str(error)))
    try:
        labels = dataset.map_labels(mask, mask_path)
    except ValueError as error:
        faults.append(Fault("label out of range", name, str(mask_path), str(error)))
        return _Finding(faults, digest, size_hw, None)
    return _Finding(faults, digest, size_hw, np.bincount(labels.numpy().ravel(), minlength=256))


def _kind(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing file"
    return "RGB mask" if isinstance(error, MaskModeError) else "unreadable file"


def _duplicate_ids(dataset: SegmentationDataset, name: str) -> list[Fault]:
    path_of = {id: str(image) for id, image, _ in dataset.pairs}
    return [
        Fault("duplicate id", name, path_of[id], f"{path_of[id]}: id {id} is listed {count} times; list it once")
        for id, count in Counter(id for id, _, _ in dataset.pairs).items()
        if count > 1
    ]


def _overlaps(digests: Mapping[str, Mapping[bytes, str]]) -> list[Fault]:
    """Images whose content is also in the data set named train, under whatever name; val and test may be one set."""
    trained = digests.get("train", {})
    return [
        Fault(
            f"train/{name} overlap",
            name,
            path,
            f"{path} is the same image as {trained[digest]} in train; remove it from one of the two",
        )
        for name, paths in digests.items()
        if name != "train"
        for digest, path in paths.items()
        if digest in trained
    ]


def _summarise(dataset: SegmentationDataset, findings: Iterable[_Finding]) -> Statistics:
    counts = [finding.pixels for finding in findings if finding.pixels is not None]
    stacked = np.stack(counts) if counts else np.zeros((0, 256), np.int64)
    return Statistics(
        classes=dataset.classes,
        num_images=len(dataset),
        pixels=stacked.sum(axis=0),
        images=(stacked > 0).sum(axis=0),
        sizes_hw=Counter(finding.size_hw for finding in findings if finding.size_hw is not None),
    )


def _warnings(name: str, statistics: Statistics) -> list[str]:
    if not statistics.pixels.any():
        return []
    absent = [label for label, images in zip(statistics.classes, statistics.images, strict=False) if not images]
    warnings = [f"{name}: no mask holds {', '.join(absent)}"] if absent else []
    if statistics.void_share > MAX_VOID_SHARE:
        warnings.append(f"{name}: {statistics.void_share:.0%} of all pixels are void ({IGNORE})")
    return warnings


def _print_statistics(console: Console, name: str, statistics: Statistics) -> None:
    sizes = sorted(statistics.sizes_hw)
    table = Table(title=f"{name}: {statistics.num_images} images", title_justify="left")
    table.add_column("id", justify="right")
    table.add_column("class")
    table.add_column("pixels %", justify="right")
    table.add_column("images", justify="right")
    valid = max(int(statistics.pixels[:IGNORE].sum()), 1)
    for label, class_name in enumerate(statistics.classes):
        share = 100 * statistics.pixels[label] / valid
        table.add_row(str(label), escape(class_name), f"{share:.2f}", str(statistics.images[label]))
    table.add_row(str(IGNORE), "(void, of all)", f"{100 * statistics.void_share:.2f}", str(statistics.images[IGNORE]))
    console.print(table)
    if sizes:
        heights, widths = zip(*sizes, strict=True)
        console.print(
            f"sizes: {len(sizes)} different; width {min(widths)} to {max(widths)}, "
            f"height {min(heights)} to {max(heights)}"
        )
