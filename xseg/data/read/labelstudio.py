"""Label Studio's own JSON: a list of tasks, each with an image and annotations.

Coordinates are percent of the image's width and height, from 0 to 100 at its edges. A rectangle turns clockwise around
its top left corner. Format: https://labelstud.io/guide/export (JSON), https://labelstud.io/tags/rectanglelabels
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from xseg.data.read.images import IMAGE_SUFFIXES
from xseg.data.read.json_file import read_json
from xseg.data.read.outlines import Box, Shape, checked_numbers, checked_polygon, corners, ellipse, turned

WITH_AREA = ("rectangle", "polygon", "ellipse")
WITHOUT_AREA = ("keypoint", "vector")
BRUSHES = ("brush", "bitmask")


class Task(NamedTuple):
    """One image with the results of one annotation."""

    place: str
    image: str  # path or URL as stated
    regions: list[tuple[str, dict]]  # (label, result) of rectangles, polygons and ellipses
    choices: tuple[str, ...]  # labels of the whole image
    size_hw: tuple[int, int] | None  # as stated with a region
    left_out: int  # regions without area or without a label
    others: int  # further annotations of the task, which are not used

    def shapes(self, size_hw: tuple[int, int]) -> Iterator[Shape]:
        """The regions in pixels; ValueError with file, task and number of the region (from 1)."""
        for number, (label, result) in enumerate(self.regions, start=1):
            place = f"{self.place}: region {number} ({label}, {result['type']})"
            value = result.get("value")
            if result.get("image_rotation"):
                degrees = result["image_rotation"]
                raise ValueError(f"{place}: the image is rotated by {degrees} degrees; turn its file and annotate it")
            if not isinstance(value, dict):
                raise ValueError(f"{place} has no value; export the file again")
            yield Shape(label, place, _FORMS[_form(result)](value, size_hw, place))


def read_labelstudio(path: Path) -> tuple[list[Task], int]:
    """The annotated tasks, and the number of tasks without an annotation.

    Of several annotations of a task the first is used that was not cancelled; one marked as ground truth goes first.

    Raises:
        FileNotFoundError, ValueError: with the file and the number of the task (from 1); also for brush labels.
    """
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(task, dict) for task in content):
        raise ValueError(f"{path} is not a list of tasks; export it from Label Studio as JSON")
    tasks, bare = [], 0
    for number, task in enumerate(content, start=1):
        place = f"{path}: task {number} (id {task.get('id')})"
        listed = task.get("annotations", task.get("completions")) or []
        if not isinstance(listed, list) or not all(isinstance(row, dict) for row in listed):
            raise ValueError(f"{place}: annotations must be a list; export the file again")
        usable = [row for row in listed if not row.get("was_cancelled") and isinstance(row.get("result"), list)]
        if not usable:
            bare += 1
            continue
        usable.sort(key=lambda row: not row.get("ground_truth"))
        tasks.append(_task(usable[0]["result"], task.get("data"), place, len(usable) - 1))
    return tasks, bare


def file_names(stated: str) -> list[str]:
    """Paths below which the image of a task may lie on disk: as stated, then without the prefix of uploads."""
    name = stated
    if "://" in stated or stated.startswith("/data/"):
        url = urlsplit(stated)
        name = (parse_qs(url.query).get("d") or [unquote(url.path)])[0]  # /data/local-files/?d=path
    folder, slash, last = name.rpartition("/")
    return [name, f"{folder}{slash}{re.sub('^[0-9a-f]{8}-', '', last)}"]


def upload_name(name: str) -> str:
    """The file name that Label Studio gives to an uploaded file, without its prefix."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))


def _task(results: list, data: object, place: str, others: int) -> Task:
    if not all(isinstance(result, dict) for result in results):
        raise ValueError(f"{place}: result must be a list of regions; export the file again")
    if any(_form(result) in BRUSHES for result in results):
        raise ValueError(
            f"{place} has brush labels, which this reader does not decode; export the project from Label Studio as "
            "COCO or as PNG masks"
        )
    label_of = {result.get("id"): _names(result) for result in results if result.get("type") == "labels"}
    regions, choices, left_out, size_hw = [], [], 0, None
    drawn = {result.get("id") for result in results if _form(result) in (*WITH_AREA, *WITHOUT_AREA)}
    for result in results:
        value = result.get("value") if isinstance(result.get("value"), dict) else {}
        names = _names(result) or label_of.get(result.get("id"), [])
        if _form(result) in WITH_AREA and names and value.get("closed") is not False:
            if len(names) > 1:
                raise ValueError(f"{place}: a region has the labels {', '.join(names)}; give each region one label")
            regions.append((names[0], result))
            size_hw = size_hw or _size_hw(result, place)
        elif _form(result) in (*WITH_AREA, *WITHOUT_AREA):
            left_out += 1
        elif result.get("type") == "choices" and result.get("id") not in drawn:
            choices += names
    return Task(place, _image(data, place), regions, tuple(dict.fromkeys(choices)), size_hw, left_out, others)


def _form(result: dict) -> str:
    return str(result.get("type", "")).removesuffix("labels") or "labels"


def _names(result: dict) -> list[str]:
    value = result.get("value")
    names = value.get(result.get("type")) if isinstance(value, dict) else None
    return [str(name).strip() for name in names if str(name).strip()] if isinstance(names, list) else []


def _size_hw(result: dict, place: str) -> tuple[int, int] | None:
    stated = [result.get("original_height"), result.get("original_width")]
    return None if None in stated else tuple(map(int, checked_numbers(stated, f"{place}: original size")))


def _image(data: object, place: str) -> str:
    values = {key: value for key, value in data.items() if isinstance(value, str)} if isinstance(data, dict) else {}
    if any(value.startswith("data:image") for value in values.values()):
        raise ValueError(f"{place}: the image is inside of the JSON; save it as a file and import that")
    images = {
        key: value
        for key, value in values.items()
        if any(name.lower().endswith(IMAGE_SUFFIXES) for name in file_names(value))
    }
    if not images or (len(images) > 1 and "image" not in images):
        raise ValueError(f"{place}: data must state one image, got {str(data)[:80]}; leave one of them, as image")
    return images.get("image") or next(iter(images.values()))


def _rectangle(value: dict, size_hw: tuple[int, int], place: str) -> Box | list[list[float]]:
    x, y, width, height = _pixels(value, ("x", "y", "width", "height"), size_hw, place)
    box_xyxy = Box(x, y, x + width, y + height)
    degrees = _degrees(value, place)
    return [turned(corners(box_xyxy), degrees, (x, y))] if degrees else box_xyxy


def _polygon(value: dict, size_hw: tuple[int, int], place: str) -> list[list[float]]:
    height, width = size_hw
    polygon = checked_polygon(value.get("points"), place)
    return [[number * (height if odd % 2 else width) / 100 for odd, number in enumerate(polygon)]]


def _ellipse(value: dict, size_hw: tuple[int, int], place: str) -> list[list[float]]:
    x, y, radius_x, radius_y = _pixels(value, ("x", "y", "radiusX", "radiusY"), size_hw, place)
    return [turned(ellipse((x, y), radius_x, radius_y), _degrees(value, place), (x, y))]


_FORMS = {"rectangle": _rectangle, "polygon": _polygon, "ellipse": _ellipse}


def _pixels(value: dict, keys: tuple[str, ...], size_hw: tuple[int, int], place: str) -> list[float]:
    """Horizontal and vertical values in turn, as pixels."""
    numbers = checked_numbers([value.get(key) for key in keys], f"{place}: {', '.join(keys)}")
    return [number * size_hw[1 - index % 2] / 100 for index, number in enumerate(numbers)]


def _degrees(value: dict, place: str) -> float:
    return checked_numbers([value.get("rotation") or 0], f"{place}: rotation")[0]
