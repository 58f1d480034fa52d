"""CVAT's XML of images ("CVAT for images 1.1").

Coordinates are edges of pixels from 0: the whole image of 30 x 20 pixels (width x height) is 0, 0, 30, 20.
Format: https://docs.cvat.ai/docs/dataset_management/formats/xml_format/
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from xseg.data.read.images import MAX_PIXELS
from xseg.data.read.outlines import Box, Patch, Shape, checked_numbers, checked_polygon, corners, ellipse, turned
from xseg.data.read.xml_file import finite_number, read_xml

WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton")
WITH_AREA = ("box", "polygon", "mask", "ellipse")


class CvatLabel(NamedTuple):
    name: str
    colour: str | None = None  # "#rrggbb"
    kind: str = "any"  # or the only kind of shapes that it has: "rectangle", "polygon", "tag", …


class CvatImage(NamedTuple):
    """One image. `shapes_of` reads its shapes."""

    name: str  # path below the folder of images
    subset: str | None
    size_hw: tuple[int, int]
    tags: tuple[str, ...]  # labels of the whole image
    shape_labels: frozenset[str]
    left_out: int  # shapes without area: polylines, points, cuboids, skeletons
    place: str
    node: Element


class CvatFile(NamedTuple):
    labels: list[CvatLabel]
    images: list[CvatImage]


def read_cvat(path: Path) -> CvatFile:
    """Read one file.

    Raises:
        FileNotFoundError, ValueError: it is not XML, is a video's, or an image lacks its name or size.
    """
    tree = read_xml(path)
    if tree.tag != "annotations":
        raise ValueError(f"{path} has the root <{tree.tag}>, not <annotations>; it is not CVAT's XML")
    if tree.find("track") is not None and tree.find("image") is None:
        raise ValueError(f'{path} is CVAT\'s XML of a video; export it again as "CVAT for images 1.1"')
    labels = []
    for node in tree.iterfind("meta//labels/label"):
        name = (node.findtext("name") or "").strip()
        if name and not node.findtext("parent") and name not in (label.name for label in labels):
            labels.append(CvatLabel(name, node.findtext("color"), node.findtext("type") or "any"))
    images = []
    for number, node in enumerate(tree.iterfind("image"), start=1):
        place = f"{path}: image {number} ({node.get('name')})"
        if not node.get("name"):
            raise ValueError(f"{place} has no name; export the file again")
        size_hw = tuple(int(finite_number(node.get(key), f"{place}: {key}")) for key in ("height", "width"))
        tags = tuple(dict.fromkeys(_label(tag, f"{place}: tag") for tag in node.iterfind("tag")))
        shape_labels = frozenset(_label(child, f"{place}: {child.tag}") for child in node if child.tag in WITH_AREA)
        left_out = sum(child.tag in WITHOUT_AREA for child in node)
        name, subset = node.get("name"), node.get("subset")
        images.append(CvatImage(name, subset, size_hw, tags, shape_labels, left_out, place, node))
    return CvatFile(labels, images)


def shapes_of(image: CvatImage) -> Iterator[Shape]:
    """Boxes, polygons, masks and ellipses in the order in which they are drawn, the top ones last.

    Rotated boxes and ellipses become polygons.

    Raises:
        ValueError: with file, image and number of the shape among all elements of the image (from 1).
    """
    numbered = [
        (number, child, f"{image.place}: {child.tag} {number}")
        for number, child in enumerate(image.node, start=1)
        if child.tag in WITH_AREA
    ]
    for _, child, place in sorted(numbered, key=lambda item: _number(item[1], "z_order", item[2], "0")):
        group = child.get("group_id")
        label = _label(child, place)
        yield Shape(label, place, _FORMS[child.tag](child, f"{place} ({label})"), group if group != "0" else None)


def _box(node: Element, place: str) -> Box | list[list[float]]:
    box_xyxy = Box(*(_number(node, key, place) for key in ("xtl", "ytl", "xbr", "ybr")))
    degrees = _number(node, "rotation", place, "0")
    if not degrees:
        return box_xyxy
    x1, y1, x2, y2 = box_xyxy
    return [turned(corners(box_xyxy), degrees, ((x1 + x2) / 2, (y1 + y2) / 2))]


def _polygon(node: Element, place: str) -> list[list[float]]:
    points = [point.split(",") for point in (node.get("points") or "").split(";") if point.strip()]
    return [checked_polygon(points, place)]


def _ellipse(node: Element, place: str) -> list[list[float]]:
    x, y, radius_x, radius_y = (_number(node, key, place) for key in ("cx", "cy", "rx", "ry"))
    return [turned(ellipse((x, y), radius_x, radius_y), _number(node, "rotation", place, "0"), (x, y))]


def _mask(node: Element, place: str) -> Patch:
    """Runs of the patch row by row, first the number of pixels outside of the object."""
    left, top, width, height = (int(_number(node, key, place)) for key in ("left", "top", "width", "height"))
    try:
        runs = np.array([int(run) for run in (node.get("rle") or "").split(",")], np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"{place}: rle must be whole numbers, got {node.get('rle')!r:.60}; correct it") from None
    if min(width, height) < 1 or width * height > MAX_PIXELS:
        raise ValueError(f"{place}: a mask of {width}x{height} pixels (width x height); correct it")
    if runs.min() < 0 or runs.max() > MAX_PIXELS or runs.sum() != width * height:
        raise ValueError(f"{place}: rle must sum to {width}x{height} pixels, got {runs.sum()}; correct it")
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return Patch(pixels, top, left)


_FORMS = {"box": _box, "polygon": _polygon, "ellipse": _ellipse, "mask": _mask}


def _label(node: Element, place: str) -> str:
    label = (node.get("label") or "").strip()
    if not label:
        raise ValueError(f"{place} has no label; add one")
    return label


def _number(node: Element, key: str, place: str, default: str | None = None) -> float:
    return checked_numbers([finite_number(node.get(key, default), f"{place}: {key}")], f"{place}: {key}")[0]
