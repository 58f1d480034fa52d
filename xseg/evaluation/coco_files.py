"""Results in the form of COCO's evaluation server, written and read back."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xseg.data.coco import CocoDetection
from xseg.data.rle import RunLengths
from xseg.evaluation.coco import KINDS
from xseg.evaluation.entries import MAX_DETECTIONS, Entry, Found, Truth


def result_rows(entries: Sequence[Entry], kind: str, category_ids: Sequence[int]) -> list[dict]:
    """dict(image_id, category_id, score, and bbox (x, y, width, height) or segmentation) per detection."""
    if kind not in KINDS:
        raise ValueError(f"kind must be {' or '.join(KINDS)}, got {kind}")
    rows = []
    for entry in entries:
        boxes_xyxy, scores, labels, masks = entry.found
        if kind == "segm" and masks is None:
            raise ValueError(f"image {entry.id}: the model gave no masks, so that there is no segm to write")
        boxes = np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1).tolist()
        for index, (score, label) in enumerate(zip(scores.tolist(), labels.tolist(), strict=True)):
            what = dict(bbox=boxes[index]) if kind == "bbox" else dict(segmentation=masks[index])
            rows.append(dict(image_id=entry.id, category_id=category_ids[label], score=score, **what))
    return rows


def write_results(
    folder: str | os.PathLike, entries: Sequence[Entry], category_ids: Sequence[int], kind: str = "bbox"
) -> Path:
    """Write results.bbox.json or results.segm.json into `folder`; returns its path."""
    path = Path(folder) / f"results.{kind}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result_rows(entries, kind, category_ids)))
    return path


def entries_of_files(truth: CocoDetection, results: str | os.PathLike) -> list[Entry]:
    """Entries for `coco_scores` from a file of results; no image is opened.

    Args:
        truth: built with_masks=True if the results are masks.

    Raises:
        ValueError: the file is none of results; a row of an image or a category that the ground truth does not have.
    """
    rows = _read_rows(Path(results))
    by_image: dict = {image.id: [] for image in truth.images}
    label_of = {id: label for label, id in enumerate(truth.category_ids)}
    for number, row in enumerate(rows):
        for key, known in (("image_id", by_image), ("category_id", label_of)):
            if row.get(key) not in known:
                raise ValueError(f"{results}: result {number} has {key} {row.get(key)}, unknown to the ground truth")
        by_image[row["image_id"]].append(row)
    with_masks = bool(rows) and "segmentation" in rows[0]
    objects, entries = truth.objects, []
    for image, span in zip(truth.images, truth.objects.spans, strict=True):
        at = slice(*span)
        masks = None
        if objects.masks is not None:
            masks = [RunLengths(size=list(image.size_hw), counts=counts) for counts in objects.masks[at]]
        known = Truth(objects.boxes_xyxy[at], objects.labels[at], objects.iscrowd[at], objects.area[at], masks)
        found = _found(by_image[image.id], label_of, with_masks)
        entries.append(Entry(image.id, image.size_hw, known, found))
    return entries


def _read_rows(path: Path) -> list[dict]:
    try:
        rows = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON, or not whole: {error}; write it again") from error
    keys = {"image_id", "category_id", "score"}
    for number, row in enumerate(rows if isinstance(rows, list) else [None]):
        if not isinstance(row, dict) or not keys <= row.keys() or not {"bbox", "segmentation"} & row.keys():
            raise ValueError(f"{path}: result {number} must have image_id, category_id, score and bbox or segmentation")
    return rows


def _found(rows: list[dict], label_of: dict, with_masks: bool) -> Found:
    rows = sorted(rows, key=lambda row: -row["score"])[:MAX_DETECTIONS]  # stable
    boxes = np.array([row.get("bbox", (0, 0, 0, 0)) for row in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Found(
        boxes_xyxy=boxes,
        scores=np.array([row["score"] for row in rows], np.float64),
        labels=np.array([label_of[row["category_id"]] for row in rows], np.int64),
        masks=[row["segmentation"] for row in rows] if with_masks else None,
    )
