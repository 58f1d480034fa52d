"""Results in the form of COCO's evaluation server; `read_coco_files` reads them back."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from xseg.data.sets.detection import to_xywh
from xseg.evaluation.coco import KINDS
from xseg.evaluation.entries import Entry


def result_rows(entries: Sequence[Entry], kind: str, category_ids: Sequence[int]) -> list[dict]:
    """dict(image_id, category_id, score, and bbox (x, y, width, height) or segmentation) per detection."""
    if kind not in KINDS:
        raise ValueError(f"kind must be {' or '.join(KINDS)}, got {kind}")
    rows = []
    for entry in entries:
        found = entry.found
        if kind == "segm" and found.masks is None:
            raise ValueError(f"image {entry.id}: the model gave no masks, so that there is no segm to write")
        boxes = to_xywh(found.boxes_xyxy).tolist()
        for index, (score, label) in enumerate(zip(found.scores.tolist(), found.labels.tolist(), strict=True)):
            what = dict(bbox=boxes[index]) if kind == "bbox" else dict(segmentation=found.masks[index])
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
