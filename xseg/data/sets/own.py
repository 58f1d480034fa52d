"""People's own data sets, in any format that `xseg.data.formats` reads: one class a task.

All take the same arguments:
    root: the folder, or the file that lists the images.
    split: "train", "val" or "test".
    format: its name; None recognises it.
    classes: names in the order of labels, which must be those of the data; with them `describe` reads no data.
    splits: JSON file {"train": [ids], "val": [ids], …} that replaces the splits of the data; `xseg plan` writes one.
    transforms: callables on the sample, or their configs.
Reading raises the errors of the format's reader.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.registry import DATASETS
from torch import Tensor

from xseg.data.formats import Catalog, Item, read_catalog
from xseg.data.formats.catalog import MASKS, OUTLINES, PANOPTIC
from xseg.data.formats.tree import Tree
from xseg.data.read.classes import IGNORE
from xseg.data.read.images import read_mask, read_segment_ids
from xseg.data.read.json_file import read_json
from xseg.data.sample import Path_, Transforms
from xseg.data.sets.classification import ClassificationDataset, Labelled, MultiLabelDataset
from xseg.data.sets.detection import DetectionDataset, ImageFile
from xseg.data.sets.panoptic import objects_in_segments
from xseg.data.sets.regions import draw_regions, region_objects, segment_objects
from xseg.data.sets.segmentation import SegmentationDataset

BACKGROUND = "background"


@DATASETS.register_module()
class OwnSegmentation(SegmentationDataset):
    """A class a pixel: from masks, or drawn from outlines or panoptic segments.

    Outlines get the class "background" in front. Where they overlap, the smaller object is on top. Crowds, and objects
    of which only the box is known, are ignored (255).
    """

    @staticmethod
    def describe(root: Path_, format: str | None = None, classes: Sequence[str] | None = None, **_) -> dict:
        """dict(classes, palette); the data are read if `classes` is not given."""
        if classes is not None:
            return SegmentationDataset.describe(classes)
        catalog = _catalog(root, format, "segmentation")
        return SegmentationDataset.describe(_pixel_classes(catalog), catalog.palette)

    def __init__(
        self,
        root: Path_,
        split: str = "train",
        format: str | None = None,
        classes: Sequence[str] | None = None,
        splits: Path_ | None = None,
        transforms: Transforms = None,
        cache: Path_ | None = None,
    ):
        self.catalog = _catalog(root, format, "segmentation")
        names = _checked(_pixel_classes(self.catalog), classes, root)
        self.items = [item for item in items_of(self.catalog, split, splits) if item.mask or self.catalog.kind != MASKS]
        pairs = [(item.id, item.path, item.mask) for item in self.items]
        super().__init__(pairs, names, self.catalog.palette, transforms, _label_map(self.catalog.values), cache)

    def _labels(self, index: int) -> Tensor | None:
        item = self.items[index]
        if self.catalog.kind == OUTLINES:
            shift = int(self.classes != self.catalog.classes)
            return draw_regions(item, shift)
        if self.catalog.kind == PANOPTIC:
            return objects_in_segments(read_segment_ids(item.mask), item.segments, (), item.mask)["mask"]
        return super()._labels(index)

    def _read_labels(self, path: Path) -> Tensor:
        return labels_in_file(self.catalog, path) if _are_colours(self.catalog.values) else super()._read_labels(path)


@DATASETS.register_module()
class OwnDetection(DetectionDataset):
    """Boxes, and with `with_masks` instance masks, from boxes, outlines or panoptic segments."""

    @staticmethod
    def describe(root: Path_, format: str | None = None, classes: Sequence[str] | None = None, **_) -> dict:
        """dict(classes, palette, category_ids); the data are read if `classes` is not given."""
        names = classes if classes is not None else _thing_classes(_catalog(root, format, "detection"))
        return DetectionDataset.describe(names)

    def __init__(
        self,
        root: Path_,
        split: str = "train",
        format: str | None = None,
        classes: Sequence[str] | None = None,
        splits: Path_ | None = None,
        transforms: Transforms = None,
        with_masks: bool = False,
        keep_empty: bool = True,
    ):
        self.catalog = _catalog(root, format, "instances" if with_masks else "detection")
        names = _checked(_thing_classes(self.catalog), classes, root)
        items = items_of(self.catalog, split, splits)
        files = [ImageFile(item.id, item.path, item.size_hw) for item in items]
        objects = segment_objects(items, self.catalog.things, with_masks) if self.catalog.kind == PANOPTIC else None
        super().__init__(files, objects or region_objects(items, with_masks), names, None, None, transforms, keep_empty)


@DATASETS.register_module()
class OwnPanoptic(DetectionDataset):
    """Objects and a mask of all classes, from panoptic segments or from outlines over a background."""

    @staticmethod
    def describe(root: Path_, format: str | None = None, **_) -> dict:
        """dict(classes, palette, things, category_ids); the data are read."""
        catalog = _catalog(root, format, "panoptic")
        names = _pixel_classes(catalog)
        shift = len(names) - len(catalog.classes)
        things = tuple(range(shift, len(names))) if catalog.things is None else catalog.things
        return dict(**SegmentationDataset.describe(names), things=things, category_ids=[label + 1 for label in things])

    def __init__(
        self,
        root: Path_,
        split: str = "train",
        format: str | None = None,
        splits: Path_ | None = None,
        transforms: Transforms = None,
    ):
        self.catalog = _catalog(root, format, "panoptic")
        self._metainfo = OwnPanoptic.describe(root, format)
        self.items = items_of(self.catalog, split, splits)
        files = [ImageFile(item.id, item.path, item.size_hw) for item in self.items]
        objects = region_objects(self.items, True) if self.catalog.kind == OUTLINES else None
        names, palette = ([self._metainfo[key][label] for label in self.things] for key in ("classes", "palette"))
        super().__init__(files, objects, names, palette, self._metainfo["category_ids"], transforms)

    @property
    def things(self) -> tuple[int, ...]:
        return self._metainfo["things"]

    @property
    def metainfo(self) -> dict:
        return dict(self._metainfo)

    def objects_of(self, index: int) -> dict[str, Tensor]:
        item = self.items[index]
        if self.catalog.kind == OUTLINES:
            return super().objects_of(index) | dict(mask=draw_regions(item, self.things[0]))
        return objects_in_segments(read_segment_ids(item.mask), item.segments, self.things, item.mask)


@DATASETS.register_module()
class OwnClassification(ClassificationDataset):
    """One class an image."""

    @staticmethod
    def describe(root: Path_, format: str | None = None, classes: Sequence[str] | None = None, **_) -> dict:
        """dict(classes); the data are read if `classes` is not given."""
        return dict(classes=tuple(classes or _catalog(root, format, "classification").classes))

    def __init__(
        self,
        root: Path_,
        split: str = "train",
        format: str | None = None,
        classes: Sequence[str] | None = None,
        splits: Path_ | None = None,
        transforms: Transforms = None,
    ):
        catalog = _catalog(root, format, "classification")
        rows = [Labelled(item.id, str(item.path), item.labels[0]) for item in items_of(catalog, split, splits)]
        super().__init__(rows, _checked(catalog.classes, classes, root), transforms)


@DATASETS.register_module()
class OwnMultiLabel(MultiLabelDataset):
    """Any number of classes an image."""

    @staticmethod
    def describe(root: Path_, format: str | None = None, classes: Sequence[str] | None = None, **_) -> dict:
        """dict(classes); the data are read if `classes` is not given."""
        return dict(classes=tuple(classes or _catalog(root, format, "multilabel").classes))

    def __init__(
        self,
        root: Path_,
        split: str = "train",
        format: str | None = None,
        classes: Sequence[str] | None = None,
        splits: Path_ | None = None,
        transforms: Transforms = None,
    ):
        catalog = _catalog(root, format, "multilabel")
        rows = [Labelled(item.id, str(item.path), item.labels or ()) for item in items_of(catalog, split, splits)]
        super().__init__(rows, _checked(catalog.classes, classes, root), transforms)


def items_of(catalog: Catalog, split: str, splits: Path_ | None = None) -> list[Item]:
    """The images of a split; ValueError if it has none, or if the file of splits names an image that is not there."""
    if splits is None:
        items = catalog.of_split(split)
        if not items:
            raise ValueError(
                f"{catalog.root} has no split {split!r}; write one with `xseg plan {catalog.root}`, whose splits.json "
                "goes into `splits`"
            )
        return items
    ids = read_json(splits).get(split) or []
    by_id = {item.id: item for item in catalog.items}
    if unknown := [id for id in ids if id not in by_id]:
        raise ValueError(f"{splits}: {split} names {unknown[0]!r}, which is not in {catalog.root}; make the plan again")
    if not ids:
        raise ValueError(f"{splits} has no images of the split {split!r}")
    return [by_id[id] for id in ids]


def labels_in_file(catalog: Catalog, path: Path) -> Tensor:
    """(H, W) uint8: the labels in a mask file, 255 = ignored; values that are no class raise ValueError for colours,
    and count as ignored otherwise."""
    if _are_colours(catalog.values):
        from xseg.data.formats.masks import read_labels

        return read_labels(path, catalog.values)
    values = read_mask(path)
    if catalog.values is None:
        return values
    return torch.tensor([catalog.values.get(value, IGNORE) for value in range(256)], dtype=torch.uint8)[values.long()]


def _are_colours(values: dict | None) -> bool:
    return bool(values) and isinstance(next(iter(values)), tuple)


def _pixel_classes(catalog: Catalog) -> tuple[str, ...]:
    if catalog.kind == OUTLINES and catalog.classes[0].lower() != BACKGROUND:
        return (BACKGROUND, *catalog.classes)
    return catalog.classes


def _thing_classes(catalog: Catalog) -> tuple[str, ...]:
    things = range(len(catalog.classes)) if catalog.things is None else catalog.things
    return tuple(catalog.classes[label] for label in things)


def _checked(names: tuple[str, ...], stated: Sequence[str] | None, root: Path_) -> tuple[str, ...]:
    if stated is not None and tuple(stated) != names:
        raise ValueError(f"{root} has the classes {', '.join(names)}, but the config says {', '.join(stated)}")
    return names


def _label_map(values: dict | None) -> list[int] | None:
    if values is None or _are_colours(values):
        return None
    return [values.get(value, -1) for value in range(256)]


def _catalog(root: Path_, format: str | None, task: str) -> Catalog:
    """`read_catalog`, kept for the other splits of the same data as long as no file changes."""
    return _kept(str(root), format, task, Tree(root).stamp)


@functools.lru_cache(maxsize=4)
def _kept(root: str, format: str | None, task: str, stamp: int) -> Catalog:
    return read_catalog(Path(root), format, task)
