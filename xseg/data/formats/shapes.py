"""Catalogs from shapes of annotation tools: objects of groups, kinds, labels of whole images."""

import re
from collections.abc import Iterable, Sequence

from xseg.data.formats.catalog import BOXES, CLASSES, OUTLINES, TAGS, Item, Region
from xseg.data.formats.regions import SIZE_HW, box_region, outline_region
from xseg.data.read.outlines import Box, Patch, Shape, corners, pasted
from xseg.data.read.rle import run_lengths


def regions_of(shapes: Iterable[Shape], classes: Sequence[str], size_hw: SIZE_HW) -> tuple[tuple[Region, ...], int]:
    """The regions of one image, and the number of shapes without area inside the image, which are left out.

    Polygons and patches with one label and one group are parts of one object; a box is always an object of its own.

    Raises:
        ValueError: with the place of the shape.
    """
    objects: dict[object, list[Shape]] = {}
    for number, shape in enumerate(shapes):
        alone = shape.group is None or isinstance(shape.form, Box)
        objects.setdefault(number if alone else (shape.label, shape.group), []).append(shape)
    regions = []
    for parts in objects.values():
        label, place = _label(parts[0], classes), parts[0].place
        if isinstance(parts[0].form, Box):
            regions.append(box_region(label, parts[0].form, size_hw, place))
        else:
            regions.append(outline_region(label, _outline(parts, size_hw), size_hw, place))
    kept = tuple(region for region in regions if region is not None)
    return kept, len(regions) - len(kept)


def of_one_kind(items: Sequence[Item]) -> tuple[str, list[Item], list[str]]:
    """(kind, items, notes): OUTLINES if a region has an outline; boxes then become rectangles. Otherwise BOXES."""
    regions = [region for item in items for region in item.regions]
    boxes = sum(region.outline is None for region in regions)
    if boxes == len(regions):
        return BOXES, list(items), []
    items = [item._replace(regions=tuple(map(_with_outline, item.regions))) for item in items]
    return OUTLINES, items, [f"{boxes} boxes are taken as rectangular outlines"] if boxes else []


def of_tags(items: Sequence[Item]) -> tuple[str, list[Item], list[str]]:
    """(kind, items, notes) from labels of whole images: TAGS if one has several, else CLASSES of labelled images."""
    if any(len(item.labels) > 1 for item in items):
        return TAGS, list(items), []
    labelled = [item for item in items if item.labels]
    count = len(items) - len(labelled)
    return CLASSES, labelled, [f"{count} images without a class are left out"] if count else []


def palette_of(colours: Iterable[str | None]) -> tuple[tuple[int, int, int], ...] | None:
    """RGB of each "#rrggbb"; None if one of them is no colour."""
    colours = list(colours)
    if not all(isinstance(colour, str) and re.fullmatch("#[0-9a-fA-F]{6}", colour) for colour in colours):
        return None
    return tuple(tuple(bytes.fromhex(colour[1:])) for colour in colours)


def _outline(parts: Sequence[Shape], size_hw: SIZE_HW):
    if all(isinstance(part.form, list) for part in parts):
        return [polygon for part in parts for polygon in part.form]
    from pycocotools import mask as coco_mask

    codes = [
        pasted(part.form, size_hw, part.place) if isinstance(part.form, Patch) else _runs(part, size_hw)
        for part in parts
    ]
    return codes[0] if len(codes) == 1 else run_lengths(coco_mask.merge(codes), size_hw)


def _runs(part: Shape, size_hw: SIZE_HW):
    try:
        return run_lengths(part.form, size_hw)
    except ValueError as error:
        raise ValueError(f"{part.place}: {error}; correct it") from error


def _label(shape: Shape, classes: Sequence[str]) -> int:
    if shape.label not in classes:
        raise ValueError(f"{shape.place}: no class {shape.label}; the classes are {', '.join(classes)}")
    return classes.index(shape.label)


def _with_outline(region: Region) -> Region:
    return region if region.outline is not None else region._replace(outline=[corners(region.box_xyxy)])
