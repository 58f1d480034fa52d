"""The catalog: all that a folder of images and labels says, in one form for every format.

A format is a file in this folder with two functions: `find` looks whether a tree of files holds the format, `read`
makes the catalog. `xseg.data.formats.recognise` lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from xseg.data.formats.tree import Tree
from xseg.data.read.classes import read_names
from xseg.data.read.rle import RunLengths

MASKS, BOXES, OUTLINES, PANOPTIC, CLASSES, TAGS = "masks", "boxes", "outlines", "panoptic", "classes", "tags"
TASKS = {  # what is annotated -> tasks that it can train, the usual one first
    MASKS: ("segmentation",),  # a class a pixel
    BOXES: ("detection",),
    OUTLINES: ("instances", "segmentation", "detection", "panoptic"),  # polygons or run lengths of each object
    PANOPTIC: ("panoptic", "segmentation", "instances", "detection"),
    CLASSES: ("classification",),  # one class an image
    TAGS: ("multilabel",),  # any number of classes an image
}
NOUNS = {kind: kind for kind in TASKS} | {PANOPTIC: "panoptic segments"}  # for messages
SPLIT_NAMES = {  # names that folders and lists have in practice -> split
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
BESIDE_SPLITS = set(  # words that may stand beside a split in a name
    "images image imgs img masks mask labels label annotations instances data dataset set gt seg".split()
)


class Region(NamedTuple):
    """One annotated object.

    box_xyxy: pixels from 0; x2, y2 is the edge after the last pixel. It may reach out of the image, as annotated.
    outline: polygons [x, y, x, y, …] in pixels whose union is the object, or run lengths of the whole image; None if
        only the box is known.
    """

    label: int
    box_xyxy: tuple[float, float, float, float]
    outline: list[list[float]] | RunLengths | None = None
    crowd: bool = False  # a group of objects, or a difficult one: neither learned nor counted


class Item(NamedTuple):
    """One image and its labels. A field of another kind of labels is None."""

    id: str  # path below the root without suffix, "/" between folders; unique in the catalog
    path: Path
    size_hw: tuple[int, int]  # (height, width) in pixels, as `read_image` gives it
    split: str | None = None  # "train", "val" or "test" where the data say so
    mask: Path | None = None  # MASKS: a class a pixel; PANOPTIC: COCO's ids a pixel
    regions: tuple[Region, ...] | None = None  # BOXES, OUTLINES
    segments: tuple[tuple[int, int, bool], ...] | None = None  # PANOPTIC: (id in `mask`, label, is a crowd)
    labels: tuple[int, ...] | None = None  # CLASSES (one), TAGS (any number): of the image as a whole


@dataclass(frozen=True)
class Catalog:
    """All images of a folder with their labels.

    format: the name of the format; `--format` takes it. root: the folder or file that was read.
    kind: what is annotated, a key of `TASKS`.
    classes: names in the order of labels. For MASKS the first may be a background.
    palette: RGB per class, where the format states colours.
    values: MASKS only: value of a pixel in a mask file -> label, or RGB -> label; 255 as label = ignored. None: the
        values are labels.
    things: PANOPTIC only: labels of classes with single objects.
    ignored: files that were passed over, by reason: {"README.md and other files without labels": 3}.
    notes: what was decided where the data leave it open, one sentence each.
    """

    format: str
    root: Path
    kind: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    palette: tuple[tuple[int, int, int], ...] | None = None
    values: dict[int, int] | dict[tuple[int, int, int], int] | None = None
    things: tuple[int, ...] | None = None
    ignored: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def of_split(self, split: str) -> list[Item]:
        return [item for item in self.items if item.split == split]

    def describe(self) -> list[str]:
        """What was understood, one line each, for people."""
        splits = [(name, len(self.of_split(name))) for name in ("train", "val", "test")]
        known = ", ".join(f"{name} {count}" for name, count in splits if count)
        open_ = sum(item.split is None for item in self.items)
        if open_ and known:
            known += f", {open_} without a split"
        labels = {
            MASKS: lambda item: item.mask is not None,
            PANOPTIC: lambda item: item.mask is not None,
        }.get(self.kind, lambda item: bool(item.regions or item.labels))
        bare = sum(not labels(item) for item in self.items)
        lines = [
            f"{len(self.items)} images with {NOUNS[self.kind]} ({self.format}) in {self.root}"
            + (f", {bare} of them without any label" if bare else ""),
            f"split: {known or 'none; it will be made'}",
            f"{len(self.classes)} classes: {_few(self.classes)}",
            *self.notes,
        ]
        if self.ignored:
            lines.append("passed over: " + ", ".join(f"{count} {reason}" for reason, count in self.ignored.items()))
        return lines


class Evidence(NamedTuple):
    """That a tree holds a format: how many images it explains, and where the labels are."""

    images: int
    where: str
    weak: bool = False  # any other format that explains as many images is more likely
    places: tuple[str, ...] = ()  # several data sets of the format: paths below the root, of which each can be read


class Format(NamedTuple):
    """One format. `read` raises ValueError or FileNotFoundError with file, place and remedy."""

    name: str
    what: str  # files that make it, for messages
    find: Callable[[Tree], Evidence | None]
    read: Callable[[Tree], Catalog]


def split_of(parts: Sequence[str]) -> str | None:
    """The split that folders, or the stem of a list, name: images/train2017, valid, masks_train; not cat_train."""
    for part in reversed(parts):
        words = set(re.findall(r"[^\W\d_]+", part.lower()))
        splits = {SPLIT_NAMES[word] for word in words & SPLIT_NAMES.keys()}
        if len(splits) == 1 and words <= SPLIT_NAMES.keys() | BESIDE_SPLITS:
            return splits.pop()
    return None


def split_in(stem: str) -> str | None:
    """The split that one word of a file name says: `instances_train2017` and `val-labels`; None if several do."""
    splits = {split_of([word]) for word in re.split(r"[^A-Za-z0-9]+", stem)} - {None}
    return splits.pop() if len(splits) == 1 else None


CLASS_FILES = ("classes.txt", "labels.txt", "class_names.txt", "obj.names", "_classes.txt")


def class_order(tree: Tree, names: Iterable[str]) -> tuple[str, ...]:
    """The class names in the order of labels: as listed in a file beside the data, otherwise sorted.

    ValueError if the list lacks a class that the labels have.
    """
    names = set(names)
    for file in CLASS_FILES:
        if file in tree.files:
            listed = tuple(read_names(tree.path(file)))
            if unknown := sorted(names - set(listed)):
                raise ValueError(f"{tree.path(file)} lacks {', '.join(unknown)}, which labels have; add it")
            return listed
    return tuple(sorted(names))


def class_files(tree: Tree) -> list[str]:
    """The file of `tree.files` that `class_order` reads, if there is one."""
    return [file for file in CLASS_FILES if file in tree.files][:1]


def _few(names: Sequence[str], count: int = 12) -> str:
    return ", ".join(names[:count]) + (f", … ({len(names) - count} more)" if len(names) > count else "")
