"""COCO's JSON, and any file of its form, for data sets, checks and evaluation.

Every error names the file and the image or the annotation. `report`: see `xseg.data.read.faults`.
"""

import codecs
import json
import mmap
import os
import re
from collections.abc import Container, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from xseg.data.read.faults import Report, refuse
from xseg.data.read.json_file import read_json
from xseg.data.sample import Path_


def read_coco(path: Path_) -> dict:
    """The content of the file, dict(images, annotations, categories, …).

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is not JSON, or one of the three lists is missing.
    """
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        there = ", ".join(sorted(other.name for other in Path(path).parent.glob("*.json"))) or "none"
        raise FileNotFoundError(f"{path}: no such annotation file; JSON files there: {there}") from error
    keys = ("images", "annotations", "categories")
    missing = [key for key in keys if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise ValueError(f"{path} has no list of {', '.join(missing)}; COCO's JSON holds {', '.join(keys)}")
    for key in keys:
        for number, row in enumerate(content[key]):
            if not isinstance(row, dict):
                raise ValueError(f"{path}: entry {number} (from 0) of {key} must be an object, got {str(row)[:40]}")
    return content


def keys_in(path: Path_, keys: Sequence[str], opening: bytes = b"") -> set[str]:
    """Those of the keys that the JSON file seems to have, by a search of its bytes.

    Args:
        opening: bytes that follow the colon, such as [ for lists.
    """
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return set()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return {key for key in keys if next(_places(content, key, opening), None) is not None}


def count_key(path: Path_, key: str) -> int:
    """How often the JSON file seems to have the key, by a search of its bytes."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return sum(1 for _ in _places(content, key, b""))


def _places(content: mmap.mmap, key: str, opening: bytes) -> Iterator[int]:
    follows = re.compile(rb"\s*:\s*" + re.escape(opening))
    quoted = f'"{key}"'.encode()
    at = content.find(quoted)
    while at >= 0:
        if follows.match(content, at + len(quoted)):
            yield at
        at = content.find(quoted, at + len(quoted))


def read_categories(path: Path_) -> dict:
    """dict(categories=[…]) of the file, without parsing its annotations.

    COCO's train2017 has 448 MB, of which the categories are 8 kB. A file that does not have exactly one readable list
    under "categories" goes through `read_coco`, with its errors.
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
    """The JSON list that begins at this byte; ValueError if it is not complete."""
    size = 1 << 16
    while True:
        text = codecs.getincrementaldecoder("utf-8")().decode(
            content[start : start + size]
        )  # the last character may be cut
        try:
            return json.JSONDecoder().raw_decode(text)[0]
        except json.JSONDecodeError:
            if start + size >= len(content):
                raise
            size *= 8


def categories_of(content: dict, file: Path, classes: Sequence[str] | None = None) -> tuple[list[str], list[int]]:
    """Names and category ids in the order of labels: by ascending id, or in the order of `classes`."""
    for number, row in enumerate(content["categories"]):
        if not isinstance(row, dict) or row.get("id") is None or row.get("name") is None:
            raise ValueError(f"{file}: category {number} (from 0) has no id or no name; add both")
        if type(row["id"]) is not type(content["categories"][0]["id"]) or not isinstance(row["id"], int | float | str):
            raise ValueError(f"{file}: category {number} (from 0): id must be a number, got {str(row['id'])[:40]!r}")
    rows = sorted(content["categories"], key=lambda row: row["id"])
    if len({row["id"] for row in rows}) < len(rows):
        raise ValueError(f"{file}: two categories have one id; give each its own")
    if classes is None:
        return [str(row["name"]) for row in rows], [row["id"] for row in rows]
    id_of = {str(row["name"]): row["id"] for row in rows}
    if unknown := [name for name in classes if name not in id_of]:
        raise ValueError(f"{file} has no category {', '.join(unknown)}; it has {', '.join(id_of)}")
    return list(classes), [id_of[name] for name in classes]


def images_of(
    content: dict, file: Path, folder: Path, root: Path | None, report: Report = refuse
) -> list[tuple[int | str, Path, tuple[int, int] | None]]:
    """(id, path, size_hw) of every image.

    The size is None if the file does not state it and `report` does not raise. `folder` and `root`: see `path_of`.
    """
    images = []
    for number, row in enumerate(content["images"]):
        absent = [key for key in ("id", "file_name") if row.get(key) is None]
        if absent := absent + [key for key in ("height", "width") if not row.get(key)]:
            image = f"{file}: image {row.get('id', number)}"
            report("incomplete image", ValueError(f"{image} has no {', '.join(absent)}; add it to the file"))
        if row.get("id") is None or row.get("file_name") is None:
            continue
        try:
            path = path_of(row["file_name"], folder, root, f"{file}: image {row['id']}")
        except ValueError as error:
            report("wrong file name", error)
            continue
        has_size = row.get("height") and row.get("width")
        images.append((row["id"], path, (int(row["height"]), int(row["width"])) if has_size else None))
    return images


def path_of(name: object, folder: Path, root: Path | None, place: str) -> Path:
    """The path of a `file_name`, which is relative to `folder`.

    Args:
        root: the path must be inside of `folder` or of `root`; None allows any path.
        place: names the row in messages.

    Raises:
        ValueError: the name is not a text, or leads outside.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"{place}: file_name must be the name of a file, got {name!r}")
    path = folder / name
    if root is not None and (os.path.isabs(name) or ".." in name):
        real = Path(os.path.abspath(path))  # links are not followed: users set their own
        if not any(real.is_relative_to(os.path.abspath(base)) for base in (folder, root)):
            raise ValueError(
                f"{place}: file_name {name} leads out of {root}; name the folder of all images as root, or allow it "
                "with outside_root=True"
            )
    return path


def annotations_of(
    content: dict, file: Path, image_ids: Container, labels: Container | None = None, report: Report = refuse
) -> list[dict]:
    """The annotations whose image and category are in the file, in the order of the file.

    Args:
        labels: category ids to keep; None keeps all.
    """
    category_ids = {row["id"] for row in content["categories"]}
    rows = []
    for row in content["annotations"]:
        for key, kind, ids in (
            ("image_id", "unknown image", image_ids),
            ("category_id", "unknown class", category_ids),
        ):
            if not isinstance(row.get(key), int | float | str) or row[key] not in ids:
                where = f"{place_of(file, row)}: {key} {row.get(key)} is not in the file"
                report(kind, ValueError(f"{where}; add it, or remove this annotation"))
                break
        else:
            if labels is None or row["category_id"] in labels:
                rows.append(row)
    return rows


def boxes_of(rows: list[dict], file: Path) -> np.ndarray:
    """(A, 4) float64 x, y, width, height as stated; ValueError for an annotation without a box."""
    boxes = np.zeros((len(rows), 4))
    for index, row in enumerate(rows):
        box = row.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, int | float) for side in box):
            raise ValueError(f"{place_of(file, row)}: bbox must be [x, y, width, height], got {box}")
        try:
            boxes[index] = box
        except OverflowError:
            boxes[index] = np.inf
    return boxes


def areas_of(rows: list[dict], file: Path) -> np.ndarray:
    """(A,) float64 pixels as stated, NaN if not stated; ValueError for an area that is not a number."""
    areas = np.full(len(rows), np.nan)
    for index, row in enumerate(rows):
        if (area := row.get("area")) is None:
            continue
        if not isinstance(area, int | float):
            raise ValueError(f"{place_of(file, row)}: area must be a number of pixels, got {area!r}")
        areas[index] = area
    return areas


def place_of(file: Path, row: dict) -> str:
    return f"{file}: annotation {row.get('id', '(without id)')}"
