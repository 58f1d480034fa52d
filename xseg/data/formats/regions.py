"""Regions from boxes and outlines as annotated: checked, and without those that have no pixel in the image."""

import math
from collections.abc import Sequence

import numpy as np

from xseg.data.formats.catalog import Region
from xseg.data.read.rle import MAX_OUTLINE, RunLengths, mask_areas, mask_boxes, run_lengths

SIZE_HW = tuple[int, int]


def box_region(
    label: int, box_xyxy: Sequence[float], size_hw: SIZE_HW, place: str, crowd: bool = False
) -> Region | None:
    """The region of a box; None for a box without area inside the image.

    Raises:
        ValueError: a number is not finite or leaves the image by more than MAX_OUTLINE pixels; it begins with `place`.
    """
    if not all(math.isfinite(value) and abs(value) <= MAX_OUTLINE for value in box_xyxy):
        corners = ", ".join(f"{value:g}" for value in box_xyxy)
        raise ValueError(f"{place}: the box ({corners}) must have finite numbers up to {MAX_OUTLINE}; correct it")
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    height, width = size_hw
    if min(x2, width) <= max(x1, 0) or min(y2, height) <= max(y1, 0):
        return None
    return Region(label, (x1, y1, x2, y2), crowd=crowd)


def outline_region(
    label: int, outline: list[list[float]] | RunLengths, size_hw: SIZE_HW, place: str, crowd: bool = False
) -> Region | None:
    """The region of polygons or run lengths, its box clipped to the image; None if no pixel is inside.

    Raises:
        ValueError: as `run_lengths`; it begins with `place`.
    """
    try:
        code = run_lengths(outline, size_hw)
    except ValueError as error:
        raise ValueError(f"{place}: {error}; correct it") from error
    if mask_areas([code])[0] == 0:
        return None
    if not isinstance(outline, list):
        x, y, width, height = mask_boxes([code])[0].tolist()
        return Region(label, (x, y, x + width, y + height), code, crowd)
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in outline]).clip(0, size_hw[::-1])
    return Region(label, (*points.min(axis=0).tolist(), *points.max(axis=0).tolist()), outline, crowd)


def no_area_note(count: int) -> list[str]:
    return [f"{count} objects without area inside their image are left out"] if count else []
