"""Masks of classes: {name}.png with class indices as palette, and classes.txt with the names.

Objects of detections are drawn over a background of 0 by rising score, so that the surest lies on top; their classes
count from 1.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xseg.data.read.images import write_mask
from xseg.data.write.objects import Labels, Row


def write_image(row: Row, labels: Labels, out: Path) -> None:
    path = out / f"{row.name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path, drawn(row) if row.mask is None else row.mask, labels.palette)


def write_whole(entries: Sequence, labels: Labels, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in labels.names), encoding="utf-8")


def drawn(row: Row) -> np.ndarray:
    """(H, W) uint8: 0, or 1 + label where an object with pixels lies."""
    mask = np.zeros(row.size_hw, np.uint8)
    for item in sorted(row.objects, key=lambda item: item.score or 0):
        if item.patch is not None:
            (height, width), top, left = item.patch.pixels.shape, item.patch.top, item.patch.left
            mask[top : top + height, left : left + width][item.patch.pixels] = item.label + 1
    return mask
