"""YOLO's labels: labels/{name}.txt and data.yaml, for images that are put into images/ beside labels/.

A line is the class and a box (centre, width, height) or a polygon, as shares of the image's width and height. Parts of
an object are joined by bridges without width, since a line holds one polygon. Holes are filled.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from xseg.data.write.objects import Labels, Object, Row


def write_image(row: Row, labels: Labels, out: Path) -> None:
    path = out / "labels" / f"{row.name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(_line(item, row.size_hw) for item in row.objects))


def write_whole(entries: Sequence, labels: Labels, out: Path) -> None:
    content = dict(path=".", train="images", val="images", names=dict(enumerate(labels.names)))
    out.mkdir(parents=True, exist_ok=True)
    (out / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _line(item: Object, size_hw: tuple[int, int]) -> str:
    sides = np.array(size_hw[::-1], np.float64)
    if item.rings is None:
        low, high = np.reshape(item.box_xyxy, (2, 2)).clip(0, sides)
        points = np.stack([(low + high) / 2, high - low])
    else:
        points = _joined([ring.outer for ring in item.rings])
    return " ".join([str(item.label), *(f"{share:.8g}" for share in (points / sides).clip(0, 1).ravel())]) + "\n"


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One polygon around all parts: from the first corner of the first to each other part and back."""
    first, *others = parts
    start = first[:1]
    loops = [np.concatenate([part, part[:1], start]) for part in others]
    return np.concatenate([first, *([start] if loops else []), *loops])
