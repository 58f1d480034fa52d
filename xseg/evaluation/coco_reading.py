"""Ground truth and results from two JSON files, without images, config or model.

Boxes and areas are taken as they are in the files, including boxes that leave the image or have no area. All detections
are kept. The numbers are then those of pycocotools for the same files.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from heads.contract import Instances
from xseg.data.read.coco import annotations_of, areas_of, boxes_of, categories_of, place_of, read_coco
from xseg.data.read.json_file import read_json
from xseg.data.read.rle import RunLengths, mask_areas, mask_boxes, run_lengths
from xseg.data.sample import Path_
from xseg.data.sets.detection import to_xyxy
from xseg.evaluation.coco import KINDS
from xseg.evaluation.entries import Entry, Truth

Sizes = dict[int | str, tuple[int, int]]  # image id -> (height, width)
LVIS_KEYS = ("neg_category_ids", "not_exhaustive_category_ids")  # of images


class CocoFiles(NamedTuple):
    """Content of the two files, ready for `coco_scores`."""

    classes: list[str]
    kind: str  # "bbox" or "segm"
    entries: list[Entry]  # in the order of the images in the ground truth


def read_coco_files(truth: Path_, results: Path_, kind: str | None = None) -> CocoFiles:
    """Read a ground truth and a list of results in the two forms of COCO.

    Args:
        truth: file with dict(images, annotations, categories). Images need an id, and for masks height and width.
        results: file with a list of dict(image_id, category_id, score, and bbox (x, y, width, height), segmentation or
            both), which may be empty. As in pycocotools, the first result decides about areas. If it has a box, the
            area of every detection is that of its box, for masks too. If not, the area is that of the mask, and a
            detection without a box gets the box around its mask.
        kind: "bbox" or "segm"; None means segm if a result has a segmentation, otherwise bbox.

    Raises FileNotFoundError or ValueError with the file, and the id of the annotation or the number of the result
    (from 0). Files of LVIS are refused, and so are results with keypoints unless `kind` is given.
    """
    if kind not in (None, *KINDS):
        raise ValueError(f"kind must be {' or '.join(KINDS)}, got {kind}")
    truth, results = Path(truth), Path(results)
    rows = _read_rows(results)
    if kind is None:
        _refuse_keypoints(rows, results)
        kind = "segm" if any("segmentation" in row for row in rows) else "bbox"
    content = read_coco(truth)
    _refuse_lvis(content, truth)
    classes, category_ids = categories_of(content, truth)
    label_of = {id: label for label, id in enumerate(category_ids)}
    with_boxes = not rows or bool(rows[0].get("bbox")) or "segmentation" not in rows[0]
    sizes = _sizes(content, truth, needed=kind == "segm" or not with_boxes)
    known: dict = {id: [] for id in sizes}
    for row in annotations_of(content, truth, known):
        known[row["image_id"]].append(row)
    detections = _by_image(rows, results, sizes, label_of, kind, with_boxes)
    entries = [
        Entry(id, size_hw, _truth(known[id], truth, size_hw, label_of, kind), _detections(detections[id], label_of))
        for id, size_hw in sizes.items()
    ]
    return CocoFiles(classes, kind, entries)


def _read_rows(path: Path) -> list[dict]:
    try:
        rows = read_json(path, "write it again")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: there is no such file of results") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path} holds no list; results are a list of dict(image_id, category_id, score, bbox, …)")
    return [row if isinstance(row, dict) else {} for row in rows]


def _refuse_keypoints(rows: list[dict], file: Path) -> None:
    for number, row in enumerate(rows):
        if "keypoints" in row:
            raise ValueError(
                f"{file}: result {number} has keypoints, whose similarity (OKS) xseg does not compute; "
                "use pycocotools, or evaluate the boxes alone with --kind bbox"
            )


def _refuse_lvis(content: dict, file: Path) -> None:
    for row in content["images"]:
        if isinstance(row, dict) and (keys := [key for key in LVIS_KEYS if key in row]):
            raise ValueError(
                f"{file} is a ground truth of LVIS: image {row.get('id')} has {', '.join(keys)}. LVIS does not "
                "annotate all objects, and COCO's rules would count correct detections as wrong; use the package lvis"
            )


def _sizes(content: dict, file: Path, needed: bool) -> Sizes:
    sizes = {}
    for number, row in enumerate(content["images"]):
        if not isinstance(row, dict) or row.get("id") is None:
            raise ValueError(f"{file}: image {number} (from 0) has no id; add one")
        if row["id"] in sizes:
            raise ValueError(f"{file}: image id {row['id']} occurs more than once; ids must differ")
        if needed and not (row.get("height") and row.get("width")):
            raise ValueError(f"{file}: image {row['id']} has no height or width, which masks need")
        sizes[row["id"]] = (int(row.get("height") or 0), int(row.get("width") or 0))
    return sizes


def _by_image(
    rows: list[dict], file: Path, sizes: Sizes, label_of: dict, kind: str, with_boxes: bool
) -> dict[int | str, list[dict]]:
    """Checked results by image: dict(category_id, score, area, bbox (x, y, width, height), mask or None).

    A mask is read only if masks are compared or boxes are missing.
    """
    by_image: dict = {id: [] for id in sizes}
    for number, row in enumerate(rows):
        place = f"{file}: result {number}"
        for key, ids in (("image_id", sizes), ("category_id", label_of)):
            if key not in row:
                raise ValueError(f"{place} has no {key}")
            if row[key] not in ids:
                raise ValueError(f"{place} has {key} {row[key]!r}, unknown to the ground truth")
        if not _is_number(row.get("score")):
            raise ValueError(f"{place}: score must be a finite number, got {row.get('score')!r}")
        mask = _mask(row.get("segmentation"), place, sizes, row) if kind == "segm" or not with_boxes else None
        if with_boxes or row.get("bbox"):
            box = _box(row.get("bbox"), place)
        else:
            box = mask_boxes([mask])[0].tolist()
        area = box[2] * box[3] if with_boxes else mask_areas([mask])[0]
        checked = dict(category_id=row["category_id"], score=row["score"], area=area, bbox=box, mask=mask)
        by_image[row["image_id"]].append(checked)
    return by_image


def _box(box: object, place: str) -> list[float]:
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)) or min(box[2:]) < 0:
        raise ValueError(
            f"{place}: bbox must be [x, y, width, height], finite and not negative in size, got {box!r}; "
            "either all results have a box, or all have only masks"
        )
    return box


def _mask(segmentation: object, place: str, sizes: Sizes, row: dict) -> RunLengths:
    try:
        return run_lengths(segmentation, sizes[row["image_id"]])
    except ValueError as error:
        raise ValueError(f"{place}: segmentation: {error}") from error


def _truth(rows: list[dict], file: Path, size_hw: tuple[int, int], label_of: dict, kind: str) -> Truth:
    boxes, masks = np.zeros((len(rows), 4)), None
    if kind == "segm":
        masks = []
        for row in rows:
            try:
                masks.append(run_lengths(row.get("segmentation"), size_hw))
            except ValueError as error:
                raise ValueError(f"{place_of(file, row)}: {error}") from error
    else:
        boxes = boxes_of(rows, file)
        if (broken := ~np.isfinite(boxes).all(axis=1)).any():
            raise ValueError(f"{place_of(file, rows[broken.argmax()])}: bbox must be finite numbers")
    return Truth(
        boxes_xyxy=to_xyxy(boxes),
        labels=np.array([label_of[row["category_id"]] for row in rows], np.int64),
        ignore=np.array([bool(row.get("iscrowd")) for row in rows], bool),
        area=areas_of(rows, file),
        masks=masks,
        boxes_xywh=boxes,
    )


def _detections(rows: list[dict], label_of: dict) -> Instances:
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    masks = [row["mask"] for row in rows]
    return Instances(
        boxes_xyxy=to_xyxy(boxes),
        scores=np.array([row["score"] for row in rows], np.float64),
        labels=np.array([label_of[row["category_id"]] for row in rows], np.int64),
        masks=None if None in masks else masks,
        area=np.array([row["area"] for row in rows], np.float64),
        boxes_xywh=boxes,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
