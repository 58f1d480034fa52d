"""Files of results in the form of COCO's evaluation server; `read_coco_files` reads them."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from xseg.data.sets.detection import to_xywh
from xseg.evaluation.coco import KINDS
from xseg.evaluation.entries import Entry


def result_rows(entries: Sequence[Entry], kind: str, category_ids: Sequence[int]) -> list[dict]:
    """One dict per detection: image_id, category_id, score, and bbox (x, y, width, height) or segmentation."""
    if kind not in KINDS:
        raise ValueError(f"kind must be {' or '.join(KINDS)}, got {kind}")
    rows = []
    for entry in entries:
        detections = entry.detections
        if kind == "segm" and detections.masks is None:
            raise ValueError(f"image {entry.id}: the model gave no masks; kind segm needs them")
        boxes = to_xywh(detections.boxes_xyxy).tolist()
        pairs = zip(detections.scores.tolist(), detections.labels.tolist(), strict=True)
        for index, (score, label) in enumerate(pairs):
            what = dict(bbox=boxes[index]) if kind == "bbox" else dict(segmentation=detections.masks[index])
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
