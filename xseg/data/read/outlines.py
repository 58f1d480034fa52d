"""Shapes of annotation tools as boxes, polygons and patches of pixels."""

import math
from typing import NamedTuple

import numpy as np

from xseg.data.read.rle import MAX_OUTLINE, RunLengths, encode_region


class Box(NamedTuple):
    """Pixels from 0; x2, y2 is the edge after the last pixel."""

    x1: float
    y1: float
    x2: float
    y2: float


class Patch(NamedTuple):
    """Pixels of an object in a part of the image."""

    pixels: np.ndarray  # (h, w) bool
    top: int
    left: int


class Shape(NamedTuple):
    """One object as annotated: a box, polygons or a patch."""

    label: str
    place: str  # file and number, for messages
    form: Box | list[list[float]] | Patch
    group: str | None = None  # polygons and patches with one label and group are parts of one object


def pasted(patch: Patch, size_hw: tuple[int, int], place: str) -> RunLengths:
    """Run lengths of the whole image; ValueError if the patch does not fit into it."""
    height, width = patch.pixels.shape
    if min(patch.top, patch.left) < 0 or patch.top + height > size_hw[0] or patch.left + width > size_hw[1]:
        raise ValueError(
            f"{place}: a mask of {(height, width)} pixels (H, W) at x {patch.left}, y {patch.top} does not fit into "
            f"the image of {size_hw}; correct it"
        )
    return encode_region(patch.pixels, patch.top, patch.left, size_hw)


def corners(box_xyxy: tuple[float, float, float, float]) -> list[float]:
    """The rectangle as a polygon."""
    x1, y1, x2, y2 = box_xyxy
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def turned(polygon: list[float], degrees: float, centre_xy: tuple[float, float]) -> list[float]:
    """The polygon turned clockwise, as seen in the image, around a point."""
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = (np.reshape(polygon, (-1, 2)) - centre_xy).T
    return (np.stack([cos * x - sin * y, sin * x + cos * y], axis=1) + centre_xy).ravel().tolist()


def ellipse(centre_xy: tuple[float, float], radius_x: float, radius_y: float) -> list[float]:
    """A polygon whose sides are at most one pixel inside of the ellipse, as labelme itself exports circles."""
    radius = max(radius_x, radius_y)
    count = max(12, int(math.pi / math.acos(1 - 1 / radius))) if radius > 1 else 12
    angles = 2 * np.pi * np.arange(count) / count
    rim = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (radius_x, radius_y)
    return (np.asarray(centre_xy) + rim).ravel().tolist()


def checked_numbers(values: object, place: str) -> list[float]:
    """The values as numbers; ValueError if one is not, is not finite, or is larger than MAX_OUTLINE."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{place}: coordinates must be numbers, got {values!r:.80}; correct it") from None
    if not all(math.isfinite(number) and abs(number) <= MAX_OUTLINE for number in numbers):
        raise ValueError(f"{place}: coordinates must be finite and at most {MAX_OUTLINE}, got {values!r:.80}")
    return numbers


def checked_polygon(points: object, place: str) -> list[float]:
    """x, y, x, y, … of [[x, y], …]; ValueError for fewer than 3 points and as `checked_numbers`."""
    if not isinstance(points, list) or not all(isinstance(point, list | tuple) and len(point) == 2 for point in points):
        raise ValueError(f"{place}: a polygon must be a list of points [x, y], got {points!r:.80}; correct it")
    if len(points) < 3:
        raise ValueError(f"{place}: a polygon needs at least 3 points, got {len(points)}; draw it again")
    return checked_numbers([value for point in points for value in point], place)
