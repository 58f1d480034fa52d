"""COCO's JSON, and any file of its form: checked and as arrays; errors name the file and the annotation."""

import codecs
import json
import mmap
import re
from collections.abc import Container, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from xseg.data.sample import Path_


def read_coco(path: Path_) -> dict:
    """The JSON's dict(images, annotations, categories, …); ValueError or FileNotFoundError naming the file."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        there = ", ".join(sorted(other.name for other in Path(path).parent.glob("*.json"))) or "none"
        raise FileNotFoundError(f"{path}: no such annotation file; JSON files there: {there}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON, or not whole: {error}; copy it again") from error
    keys = ("images", "annotations", "categories")
    missing = [key for key in keys if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise ValueError(f"{path} has no list of {', '.join(missing)}; COCO's JSON holds {', '.join(keys)}")
    return content


def read_categories(path: Path_) -> dict:
    """dict(categories=[…]) of the JSON; annotations are not parsed where the file holds one list of categories.

    COCO's train2017 takes 448 MB, of which the categories are 8 kB. `read_coco` reads every other file, and raises its
    errors.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            starts = [match.end() for match in islice(_CATEGORIES.finditer(content), 2)]
            categories = _list_at(content, starts[0]) if len(starts) == 1 else None
    except (OSError, ValueError):  # missing, empty or not JSON
        categories = None
    return read_coco(path) if categories is None else dict(categories=categories)


_CATEGORIES = re.compile(rb'"categories"\s*:\s*(?=\[)')


def _list_at(content: mmap.mmap, start: int) -> list:
    """The JSON list that begins at this byte; ValueError where it does not end."""
    size = 1 << 16
    while True:
        text = codecs.getincrementaldecoder("utf-8")().decode(content[start : start + size])  # may cut a character
        try:
            return json.JSONDecoder().raw_decode(text)[0]
        except json.JSONDecodeError:
            if start + size >= len(content):
                raise
            size *= 8


def categories_of(content: dict, file: Path, classes: Sequence[str] | None = None) -> tuple[list[str], list[int]]:
    """Names and category ids in the order of labels: by ascending id, or as `classes` asks."""
    for number, row in enumerate(content["categories"]):
        if not isinstance(row, dict) or row.get("id") is None or row.get("name") is None:
            raise ValueError(f"{file}: category {number} (from 0) has no id or no name; write both there")
    rows = sorted(content["categories"], key=lambda row: row["id"])
    if len({row["id"] for row in rows}) < len(rows):
        raise ValueError(f"{file}: two categories have one id; give each its own")
    if classes is None:
        return [str(row["name"]) for row in rows], [row["id"] for row in rows]
    id_of = {str(row["name"]): row["id"] for row in rows}
    if unknown := [name for name in classes if name not in id_of]:
        raise ValueError(f"{file} has no category {', '.join(unknown)}; it has {', '.join(id_of)}")
    return list(classes), [id_of[name] for name in classes]


def boxes_of(rows: list[dict], file: Path) -> np.ndarray:
    """(A, 4) float64 x, y, width, height as stated; ValueError naming the annotation where there is none."""
    boxes = np.zeros((len(rows), 4))
    for index, row in enumerate(rows):
        box = row.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, int | float) for side in box):
            raise ValueError(f"{place_of(file, row)}: bbox must be [x, y, width, height], got {box}")
        boxes[index] = box
    return boxes


def check_reference(file: Path, row: dict, image_ids: Container, category_ids: Container) -> None:
    """ValueError naming an annotation whose image or category the file does not have."""
    for key, ids in (("image_id", image_ids), ("category_id", category_ids)):
        if row.get(key) not in ids:
            place = place_of(file, row)
            raise ValueError(f"{place}: {key} {row.get(key)} is not in the file; add it or remove this")


def place_of(file: Path, row: dict) -> str:
    return f"{file}: annotation {row.get('id', '(without id)')}"
