"""YOLO's files: a text file of labels per image, and the YAML (or darknet's .data) that names classes and splits.

A line of a box is class, centre x, centre y, width, height; one of a polygon is class, x, y, x, y, …. Coordinates are
shares of the image's width and height. Source: https://docs.ultralytics.com/datasets/detect and /segment
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import yaml

from xseg.data.read.classes import distinct_names, read_names

SLACK = 1e-3  # coordinates may exceed 0..1 by rounding; they are clipped
MAX_CONFIG = 1 << 18  # bytes
SPLIT_KEYS = dict(train="train", val="val", valid="val", validation="val", test="test")


class YoloObject(NamedTuple):
    """One line. Four coordinates are a box (centre x, centre y, width, height), six or more a polygon."""

    line: int  # from 1
    class_id: int
    coordinates: list[float]


class YoloConfig(NamedTuple):
    """What a YAML or .data says of a data set."""

    path: Path  # of the file
    names: dict[int, str]  # id -> class, by ascending id
    base: str  # that the splits are relative to; empty for the folder of the file
    splits: dict[str, tuple[str, ...]]  # split -> folders and lists of images
    skip_unlabelled: bool  # images without a label file are no background


def read_yolo(path: Path) -> list[YoloObject]:
    """The objects in a file of labels, without repeated lines.

    ValueError with file, line and remedy for lines that are neither a box nor a polygon, and for coordinates beyond
    0..1.
    """
    objects: dict[tuple, YoloObject] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if fields := line.split():
            item = _object(fields, number, f"{path}: line {number}")
            objects.setdefault((item.class_id, *item.coordinates), item)
    return list(objects.values())


def _object(fields: list[str], number: int, place: str) -> YoloObject:
    try:
        class_id, *coordinates = (float(field) for field in fields)
    except ValueError as error:
        raise ValueError(f"{place}: {error}; a line is the number of a class and coordinates") from error
    if not math.isfinite(class_id) or class_id % 1 or class_id < 0:
        raise ValueError(f"{place}: the class must be a whole number from 0, got {fields[0]}")
    if len(coordinates) < 4 or len(coordinates) == 5:
        extra = "; with a confidence it is a prediction, whose last column must go" if len(coordinates) == 5 else ""
        raise ValueError(f"{place}: a box has 5 numbers, a polygon 7 or more, got {len(fields)}{extra}")
    if len(coordinates) % 2:
        raise ValueError(
            f"{place}: {len(fields)} numbers are no polygon, which has a class and pairs of x and y; labels of "
            "keypoints (pose) cannot be read: export boxes or polygons"
        )
    if not all(-SLACK <= value <= 1 + SLACK for value in coordinates):  # false for NaN
        wrong = next(value for value in coordinates if not -SLACK <= value <= 1 + SLACK)
        raise ValueError(
            f"{place}: coordinates are shares of the image from 0 to 1, got {wrong:g}; divide x by the width and y by "
            "the height"
        )
    return YoloObject(number, int(class_id), [min(max(value, 0.0), 1.0) for value in coordinates])


def read_config(path: Path) -> YoloConfig | None:
    """The file's content; None if it is not about a data set of YOLO, which has names.

    ValueError for broken names and for keypoints.
    """
    content = _darknet(path) if path.suffix.lower() == ".data" else _yaml(path)
    if not isinstance(content, dict) or not content.get("names"):
        return None
    if content.get("kpt_shape"):
        raise ValueError(f"{path} has kpt_shape: labels of keypoints (pose) cannot be read; export boxes or polygons")
    splits = {}
    for key, split in SPLIT_KEYS.items():
        entries = content.get(key)
        entries = [entries] if isinstance(entries, str) else entries
        if entries and (not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries)):
            if isinstance(entries, dict):
                return None  # another program's
            raise ValueError(f"{path}: {key} must be a folder or a list of images, or several, got {_short(entries)}")
        if entries and any(entries):
            splits[split] = tuple(entry.strip() for entry in entries if entry.strip())
    base = content.get("path")
    skip = str(content.get("skip_if_label_file_missing")).lower() == "true"
    return YoloConfig(path, _names(content["names"], path), base if isinstance(base, str) else "", splits, skip)


def _names(names: object, path: Path) -> dict[int, str]:
    """{id: name} by ascending id."""
    if isinstance(names, list):
        names = dict(enumerate(names))
    remedy = "names must be a list of classes, or a table of numbers and classes"
    if not isinstance(names, dict):
        raise ValueError(f"{path}: {remedy}, got {_short(names)}")
    table = {}
    for id, name in names.items():
        if not isinstance(name, str) or not str(id).strip().isdecimal() or len(str(id)) > 9:
            raise ValueError(f"{path}: {remedy}, got {_short(id)}: {_short(name)}")
        table[int(id)] = name.strip()
    distinct_names(list(table.values()), path)
    return dict(sorted(table.items()))


def _short(value: object) -> str:
    """A value for messages. Tables and lists of YAML may refer to each other, so that their text has no end."""
    return repr(value)[:60] if isinstance(value, str) else f"a {type(value).__name__}"


def _yaml(path: Path) -> object:
    """The content with all values as text, so that the class `no` is not False; None for what is not YAML."""
    if path.stat().st_size > MAX_CONFIG:
        return None
    try:
        return yaml.load(_text(path), Loader=yaml.BaseLoader)  # makes only text, lists and tables
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        if "names" in path.read_text(encoding="utf-8", errors="replace"):
            raise ValueError(f"{path} is not YAML: {str(error)[:200]}; correct it") from error
        return None


def _darknet(path: Path) -> dict | None:
    """darknet's .data: lines of key = value, of which names is a file with a class per line."""
    if path.stat().st_size > MAX_CONFIG:
        return None
    lines = (line.partition("=") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    content: dict = {key.strip(): value.strip() for key, _, value in lines if value.strip()}
    if "names" in content:
        stated = content["names"].replace("\\", "/")
        files = [path.parent / stated, path.parent / Path(stated).name]
        content["names"] = read_names(next((file for file in files if file.is_file()), files[0]))
    return content


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text of UTF-8: {error}; copy it again") from error
