"""What is written: rows of images with objects, and objects from masks of classes and from run lengths."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from xseg.data.read.outlines import Patch
from xseg.data.read.rle import RunLengths, decode_masks, mask_boxes


class Labels(NamedTuple):
    """The classes of all rows: names in the order of labels, and RGB per class."""

    names: tuple[str, ...]
    palette: Sequence[Sequence[int]]


class Ring(NamedTuple):
    """One part of an object: x, y of its corners, (K, 2) float in pixels from 0, and the corners of its holes."""

    outer: np.ndarray
    holes: list[np.ndarray]


class Object(NamedTuple):
    """One object. `patch` and `rings` describe the same pixels; both are None if only the box is known."""

    label: int
    box_xyxy: tuple[float, float, float, float]  # pixels from 0; x2, y2 is the edge after the last pixel
    score: float | None = None
    patch: Patch | None = None
    rings: tuple[Ring, ...] | None = None

    @property
    def has_holes(self) -> bool:
        return any(ring.holes for ring in self.rings or ())


class Row(NamedTuple):
    """One image and what was predicted."""

    name: str  # of its files, below the folder of results, without suffix
    file: str  # of the image, below the folder of all images
    path: Path  # of the image
    size_hw: tuple[int, int]
    objects: tuple[Object, ...] = ()
    mask: np.ndarray | None = None  # (H, W) uint8 class indices


def objects_of_mask(
    mask: np.ndarray, labels: Collection[int], min_area: int = 16, tolerance: float = 1.0
) -> Iterator[Object]:
    """The connected components, also across corners, of each class.

    Args:
        mask: (H, W) uint8 class indices.
        labels: classes to look for.
        min_area: pixels; smaller components are left out.
        tolerance: see `rings_of`.
    """
    for label in np.unique(mask).tolist():
        if label not in labels:
            continue
        count, numbers, boxes, _ = cv2.connectedComponentsWithStats((mask == label).astype(np.uint8), connectivity=8)
        for number in range(1, count):
            left, top, width, height, area = boxes[number].tolist()
            if area >= min_area:
                pixels = numbers[top : top + height, left : left + width] == number
                patch, box_xyxy = Patch(pixels, top, left), (left, top, left + width, top + height)
                yield Object(label, tuple(map(float, box_xyxy)), None, patch, rings_of(patch, tolerance))


def object_of_runs(
    code: RunLengths, label: int, box_xyxy: Sequence[float], score: float, tolerance: float = 1.0
) -> Object:
    """The object of a run-length mask; without any pixel it has only its box."""
    x, y, width, height = mask_boxes([code])[0].astype(int).tolist()
    item = Object(label, tuple(map(float, box_xyxy)), score)
    if not width * height:
        return item
    pixels = decode_masks([code], code["size"])[0, y : y + height, x : x + width].bool().numpy()
    patch = Patch(pixels, y, x)
    return item._replace(patch=patch, rings=rings_of(patch, tolerance))


def rings_of(patch: Patch, tolerance: float = 1.0) -> tuple[Ring, ...]:
    """The outlines of a patch of pixels.

    They run along the edges of pixels, so that filling them gives the same pixels if the tolerance is 0.

    Args:
        tolerance: pixels by which an outline may leave its course, as `cv2.approxPolyDP`, to have fewer corners. A part
            that would have less than 3 corners keeps all of them; such a hole is filled.
    """
    doubled = patch.pixels.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, tree = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parents = [-1] * len(contours) if tree is None else tree[0, :, 3].tolist()
    outlines = [_corners(contour[:, 0], patch) for contour in contours]
    rings = {index: Ring(_simplified(outlines[index], tolerance), []) for index in np.flatnonzero(np.less(parents, 0))}
    for outline, parent in zip(outlines, parents, strict=True):
        if parent >= 0 and len(hole := _simplified(outline, tolerance, keep=False)):
            rings[parent].holes.append(hole)
    return tuple(rings.values())


def _corners(points: np.ndarray, patch: Patch) -> np.ndarray:
    """(K, 2) corners at edges of pixels, of a contour in the image of doubled size.

    The doubled pixel 2 x is the left half of pixel x and maps to its left edge; 2 x + 1 maps to its right edge.
    """
    corners = (points + 1) // 2
    corners = corners[(corners != np.roll(corners, 1, axis=0)).any(axis=1)]
    before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return corners[turns] + np.array([patch.left, patch.top], np.float64)


def _simplified(corners: np.ndarray, tolerance: float, keep: bool = True) -> np.ndarray:
    """The corners within the tolerance; where fewer than 3 would be left all of them, or with `keep=False` none."""
    if tolerance == 0:
        return corners
    fewer = cv2.approxPolyDP(corners.astype(np.float32), tolerance, closed=True)[:, 0].astype(np.float64)
    return fewer if len(fewer) >= 3 else corners if keep else corners[:0]
