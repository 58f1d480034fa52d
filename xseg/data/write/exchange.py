"""Values of results as JSON rows, and for pandas and supervision, which are imported only here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from xseg.data.read.rle import decode_masks, encode_masks, mask_areas, mask_boxes

if TYPE_CHECKING:
    from heads.contract import Instances


def pixel_rows(mask: np.ndarray, shares: dict[str, float], classes: Sequence[str]) -> list[dict]:
    """{class, share, segmentation (COCO's run lengths)} of each class in `shares`; mask: (H, W) labels."""
    codes = (encode_masks((mask == classes.index(name))[None])[0] for name in shares)
    return [
        {"class": name, "share": share, "segmentation": code}
        for (name, share), code in zip(shares.items(), codes, strict=True)
    ]


def object_rows(instances: Instances, classes: Sequence[str]) -> list[dict]:
    """{class, score, box_xyxy} of each detection; with masks also {segmentation}, COCO's run lengths."""
    rows = [
        {"class": classes[k], "score": round(float(s), 4), "box_xyxy": [round(float(v), 2) for v in box]}
        for box, s, k in zip(instances.boxes_xyxy, instances.scores, instances.labels, strict=True)
    ]
    for row, code in zip(rows, instances.masks or (), strict=instances.masks is not None):
        row["segmentation"] = code
    return rows


def object_table(instances: Instances, classes: Sequence[str]):
    """A `pandas.DataFrame` with a line for each detection: class, score, x1, y1, x2, y2; with masks also area."""
    columns = {"class": [classes[label] for label in instances.labels], "score": instances.scores}
    columns |= zip(("x1", "y1", "x2", "y2"), instances.boxes_xyxy.T, strict=True)
    if instances.masks is not None:
        columns["area"] = mask_areas(instances.masks)
    return table(**columns)


def table(**columns: Sequence):
    """A `pandas.DataFrame`; ModuleNotFoundError with the command that installs pandas."""
    return _library("pandas").DataFrame(columns)


def object_detections(instances: Instances, classes: Sequence[str], size_hw: Sequence[int]):
    """`supervision.Detections` with boxes, scores, labels, `data["class_name"]`, and masks where there are some."""
    masks = None if instances.masks is None else decode_masks(instances.masks, size_hw).bool().numpy()
    return _detections(instances.boxes_xyxy, instances.labels, classes, masks, instances.scores)


def pixel_detections(mask: np.ndarray, classes: Sequence[str]):
    """`supervision.Detections` with one mask for each class in the image, without scores; mask: (H, W) labels."""
    labels = np.unique(mask)
    masks = mask == labels[:, None, None]
    boxes = mask_boxes(encode_masks(masks))
    boxes[:, 2:] += boxes[:, :2]
    return _detections(boxes, labels, classes, masks, None)


def classifications(scores: np.ndarray):
    """`supervision.Classifications` of all classes."""
    return _library("supervision").Classifications(class_id=np.arange(len(scores)), confidence=np.asarray(scores))


def _detections(boxes_xyxy, labels, classes, masks, scores):
    return _library("supervision").Detections(
        xyxy=np.asarray(boxes_xyxy, np.float32).reshape(-1, 4),
        mask=masks,
        confidence=scores,
        class_id=np.asarray(labels, int),
        data=dict(class_name=np.array([classes[label] for label in labels], dtype=str)),
    )


def _library(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"to_{name}() needs {error.name}: pip install {error.name}") from error
