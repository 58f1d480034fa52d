"""Supervisely's files, one JSON per image, and meta.json with the classes of a project.

Whole numbers are indices of pixels from 0: a rectangle of the whole image of 30 x 20 pixels (width x height) is 0, 0,
29, 19, and a point of a polygon is the centre of its pixel. Other numbers are edges of pixels from 0.
Format: https://docs.supervisely.com/customization-and-integration/00_ann_format_navi
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xseg.data.read.images import MAX_PIXELS, read_values
from xseg.data.read.json_file import read_json
from xseg.data.read.outlines import Box, Patch, Shape, checked_numbers, checked_polygon
from xseg.data.read.rle import decode_masks, run_lengths

_MAX_BYTES = 1 << 28  # of a PNG after decompression of its text
_HALF = 128  # masks with grey or alpha values count from here on, as in Supervisely's SDK


class SuperviselyImage(NamedTuple):
    """One file."""

    path: Path  # of the JSON
    size_hw: tuple[int, int]
    tags: tuple[str, ...]  # names, of the whole image
    objects: list[dict]  # those with an area
    labels: list[str]  # of the objects
    left_out: int  # objects without area: points, lines, skeletons and others

    def shapes(self) -> Iterator[Shape]:
        """The objects in the order in which they are drawn; ValueError with file and number of the object (from 1)."""
        for number, (item, label) in enumerate(zip(self.objects, self.labels, strict=True), start=1):
            place = f"{self.path}: object {number} ({label}, {item['geometryType']})"
            yield Shape(label, place, _FORMS[item["geometryType"]](item, self.size_hw, place))


def read_supervisely(path: Path) -> SuperviselyImage:
    """Read the file of one image.

    Raises:
        FileNotFoundError, ValueError: it is not JSON, or lacks the size of the image or the class of an object.
    """
    content = read_json(path)
    size = content.get("size") if isinstance(content, dict) else None
    if not isinstance(size, dict) or not isinstance(content.get("objects"), list):
        raise ValueError(f"{path} is not a file of Supervisely, which has size and objects; move it elsewhere")
    size_hw = tuple(map(int, checked_numbers([size.get("height"), size.get("width")], f"{path}: size")))
    if min(size_hw) < 1 or size_hw[0] * size_hw[1] > MAX_PIXELS:
        raise ValueError(f"{path}: size of {size_hw} (H, W) must have 1 to {MAX_PIXELS} pixels; correct it")
    objects, labels = [], []
    for number, item in enumerate(content["objects"], start=1):
        label = item.get("classTitle") if isinstance(item, dict) else None
        if not isinstance(label, str) or not label.strip() or not isinstance(item.get("geometryType"), str):
            raise ValueError(f"{path}: object {number} has no classTitle or no geometryType; export the file again")
        if item["geometryType"] in _FORMS:
            objects.append(item)
            labels.append(label.strip())
    tags = (tag.get("name") if isinstance(tag, dict) else tag for tag in content.get("tags") or ())
    tags = tuple(tag for tag in tags if isinstance(tag, str))
    return SuperviselyImage(path, size_hw, tags, objects, labels, len(content["objects"]) - len(objects))


def read_meta(path: Path) -> dict[str, str | None]:
    """{name of a class: its colour as "#rrggbb", or None} in the order of meta.json; ValueError if it has none."""
    content = read_json(path)
    classes = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(classes, list) or not all(isinstance(row, dict) and row.get("title") for row in classes):
        raise ValueError(f"{path} has no list of classes with titles; export the project again")
    return {str(row["title"]).strip(): row.get("color") for row in classes}


def _rectangle(item: dict, size_hw: tuple[int, int], place: str) -> Box:
    exterior = _points(item, place).get("exterior")
    if not isinstance(exterior, list) or len(exterior) != 2 or not all(_is_point(point) for point in exterior):
        raise ValueError(f"{place}: exterior must be two points [x, y], got {exterior!r:.80}; correct it")
    numbers = checked_numbers([value for point in exterior for value in point], place)
    (x1, x2), (y1, y2) = sorted(numbers[::2]), sorted(numbers[1::2])
    last = all(number.is_integer() for number in numbers)  # indices of the last pixels
    return Box(x1, y1, x2 + last, y2 + last)


def _polygon(item: dict, size_hw: tuple[int, int], place: str) -> list[list[float]] | Patch:
    """A polygon; with holes a patch of the whole image."""
    points = _points(item, place)
    holes = points.get("interior") or []
    if not isinstance(holes, list):
        raise ValueError(f"{place}: interior must be a list of polygons, got {holes!r:.80}; correct it")
    rings = [checked_polygon(points.get("exterior"), place)]
    rings += [checked_polygon(hole, f"{place}: interior") for hole in holes]
    if all(number.is_integer() for ring in rings for number in ring):
        rings = [[number + 0.5 for number in ring] for ring in rings]  # centres of pixels
    if not holes:
        return rings
    try:
        codes = [run_lengths([ring], size_hw) for ring in rings]
    except ValueError as error:
        raise ValueError(f"{place}: {error}; correct it") from error
    outer, *inner = decode_masks(codes, size_hw).bool().numpy()
    return Patch(outer & ~np.any(inner, axis=0), 0, 0)


def _bitmap(item: dict, size_hw: tuple[int, int], place: str) -> Patch:
    """A PNG, compressed by zlib and written in base64, at its origin."""
    bitmap = item.get("bitmap")
    if not isinstance(bitmap, dict) or not _is_point(bitmap.get("origin")) or not isinstance(bitmap.get("data"), str):
        raise ValueError(f"{place}: bitmap must have data and origin [x, y]; export the file again")
    left, top = checked_numbers(bitmap["origin"], f"{place}: origin")
    unpacking = zlib.decompressobj()
    try:
        content = unpacking.decompress(base64.b64decode(bitmap["data"]), _MAX_BYTES)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise ValueError(f"{place}: its data are no compressed PNG in base64: {error}; export it again") from error
    if unpacking.unconsumed_tail:
        raise ValueError(f"{place}: its data have more than {_MAX_BYTES} bytes; export the file again")
    values, _, mode, _ = read_values(content, f"{place}: its data")
    if mode in ("RGBA", "LA"):
        pixels = values[..., -1] >= _HALF
    elif mode in ("P", "1"):
        pixels = values > 0
    elif mode == "L":
        pixels = values >= _HALF
    else:
        raise ValueError(f"{place}: its data are a PNG of mode {mode}, without a mask; export the file again")
    return Patch(pixels, int(top), int(left))


_FORMS = {"rectangle": _rectangle, "polygon": _polygon, "bitmap": _bitmap, "alpha_mask": _bitmap}


def _points(item: dict, place: str) -> dict:
    if not isinstance(item.get("points"), dict):
        raise ValueError(f"{place}: points must have exterior and interior; export the file again")
    return item["points"]


def _is_point(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2
