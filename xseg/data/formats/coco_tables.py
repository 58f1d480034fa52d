"""Categories and regions of COCO's JSON files, which may be several with tables of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from xseg.data.formats.catalog import Region, split_in, split_of
from xseg.data.formats.tree import Tree, folders, stem
from xseg.data.read.classes import distinct_names
from xseg.data.read.coco import annotations_of, boxes_of, categories_of, place_of, read_coco
from xseg.data.read.rle import MAX_OUTLINE, check_polygons, mask_boxes, run_lengths


class CocoFile(NamedTuple):
    """One JSON file."""

    name: str  # path below the root of the tree
    path: Path
    content: dict
    split: str | None  # that the file's name says
    folder_split: str | None  # that its folders say


def load(tree: Tree, name: str) -> CocoFile:
    split = split_in(stem(name))
    return CocoFile(name, tree.path(name), read_coco(tree.path(name)), split, split_of(folders(name)))


def merged_classes(files: Sequence[CocoFile]) -> tuple[tuple[str, ...], list[dict], list[str]]:
    """(names in the order of labels, {category id: label} of each file, notes).

    Categories of several files are the same if their names are. The order is that of ids in the file with the most
    categories, then of names that it lacks. The first category is left out if no annotation has it and it is a
    background, or a placeholder of Roboflow, whose name is the super category of the others.

    Raises:
        ValueError: a file's table is broken, or has a name twice.
    """
    tables = []
    for file in files:
        names, ids = categories_of(file.content, file.path)
        tables.append(dict(zip(ids, (name.strip() for name in names), strict=True)))
    tables, notes = _without_placeholders(files, tables)
    order: dict[str, None] = {}
    for file, table in sorted(zip(files, tables, strict=True), key=lambda pair: -len(pair[1])):
        order.update(dict.fromkeys(distinct_names(list(table.values()), file.path)))
    names = tuple(order)
    label_of = {name: label for label, name in enumerate(names)}
    if any(set(table.values()) != set(names) for table in tables):
        notes.append("the files have different categories; they are joined by name")
    return names, [{id: label_of[name] for id, name in table.items()} for table in tables], notes


def _without_placeholders(files: Sequence[CocoFile], tables: list[dict]) -> tuple[list[dict], list[str]]:
    """The tables {category id: name} without placeholders, and notes."""
    unused = [_placeholder(file, table) for file, table in zip(files, tables, strict=True)]
    pairs = list(zip(unused, tables, strict=True))
    dropped = {table[id] for id, table in pairs if id is not None}
    dropped -= {name for placeholder, table in pairs for id, name in table.items() if id != placeholder}
    if all(id is not None for id in unused):  # then a class of the same name may stand beside the placeholder
        dropped |= {table[id] for id, table in pairs}
    kept = [{id: name for id, name in table.items() if id != drop or name not in dropped} for drop, table in pairs]
    notes = [f"category {name} is a placeholder that no annotation has; left out" for name in sorted(dropped)]
    return kept, notes


def _placeholder(file: CocoFile, table: dict) -> object:
    """The id of the first category if it is a placeholder, otherwise None."""
    first, *others = sorted(file.content["categories"], key=lambda row: row["id"]) or [None]
    if not others:
        return None
    name = table[first["id"]]
    if name.strip("_").lower() != "background" and any(str(row.get("supercategory")).strip() != name for row in others):
        return None
    is_used = any(row.get("category_id") == first["id"] for row in file.content["annotations"])
    return None if is_used else first["id"]


def regions_of(file: CocoFile, labels: dict, sizes_hw: dict) -> tuple[dict[object, list[Region]], int]:
    """({image id: regions} of the images in `sizes_hw`, number of boxes without area in their image).

    Boxes are x, y, width, height in pixels from 0. A missing box is taken from the outline.

    Raises:
        ValueError: an annotation is broken; the message names file, annotation and remedy.
    """
    all_ids = {row["id"] for row in file.content["images"]}
    rows = annotations_of(file.content, file.path, all_ids)
    _check_ids(rows, file.path)
    rows = [row for row in rows if row["image_id"] in sizes_hw]
    outlines = [_outline(row, sizes_hw[row["image_id"]], file.path) for row in rows]
    for row, outline in zip(rows, outlines, strict=True):
        if not row.get("bbox") and outline:
            row["bbox"] = _box_of(outline)
    regions: dict[object, list[Region]] = {id: [] for id in sizes_hw}
    left_out = 0
    for row, outline, (x, y, width, height) in zip(rows, outlines, boxes_of(rows, file.path).tolist(), strict=True):
        if not all(abs(side) <= MAX_OUTLINE for side in (x, y, width, height)):  # false for NaN
            raise ValueError(
                f"{place_of(file.path, row)}: bbox must lie within {MAX_OUTLINE} pixels, got {str(row['bbox'])[:60]}"
            )
        image_hw = sizes_hw[row["image_id"]]
        if width <= 0 or height <= 0 or x >= image_hw[1] or y >= image_hw[0] or x + width <= 0 or y + height <= 0:
            left_out += 1
            continue
        crowd = bool(row.get("iscrowd") or row.get("ignore"))
        box_xyxy = (x, y, x + width, y + height)
        regions[row["image_id"]].append(Region(labels[row["category_id"]], box_xyxy, outline, crowd))
    return regions, left_out


def _check_ids(rows: list[dict], file: Path) -> None:
    seen = set()
    for row in rows:
        id = row.get("id")
        if isinstance(id, list | dict) or id in seen:
            raise ValueError(f"{place_of(file, row)}: a second annotation with this id; give each its own")
        if id is not None:
            seen.add(id)


def _outline(row: dict, size_hw: tuple[int, int], file: Path) -> list[list[float]] | dict | None:
    """The polygons or run lengths of an annotation, checked; None if it has only a box."""
    outline = row.get("segmentation")
    if isinstance(outline, list):
        outline = [outline] if outline and isinstance(outline[0], int | float) else [part for part in outline if part]
    if not outline:
        return None
    try:
        if isinstance(outline, dict):
            return run_lengths(outline, size_hw)
        if not isinstance(outline, list):
            raise ValueError(f"segmentation must be a list of polygons or run lengths, got {str(outline)[:40]!r}")
        check_polygons(outline)
    except ValueError as error:
        raise ValueError(f"{place_of(file, row)}: {error}; correct it, or remove this annotation") from error
    return outline


def _box_of(outline: list[list[float]] | dict) -> list[float]:
    """x, y, width, height of an outline."""
    if isinstance(outline, dict):
        return mask_boxes([outline])[0].tolist()
    xs = [x for polygon in outline for x in polygon[::2]]
    ys = [y for polygon in outline for y in polygon[1::2]]
    return [min(xs), min(ys), math.fsum((max(xs), -min(xs))), math.fsum((max(ys), -min(ys)))]
