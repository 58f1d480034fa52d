"""Objects and detections of an image as small arrays, with masks as run lengths."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from heads.contract import Instances
from xseg.data.read.rle import RunLengths, encode_masks, run_lengths
from xseg.data.sets.detection import to_xyxy

MAX_DETECTIONS = 100  # per image, as COCO counts


class Truth(NamedTuple):
    """The M objects of an image."""

    boxes_xyxy: np.ndarray  # (M, 4) pixels
    labels: np.ndarray  # (M,) from 0
    ignore: np.ndarray | None = None  # (M,) bool: crowds and difficult objects, which count neither way
    area: np.ndarray | None = None  # (M,) pixels: small, medium or large; NaN or None: that of mask or box
    masks: list[RunLengths] | None = None
    boxes_xywh: np.ndarray | None = None  # (M, 4) boxes as a file has them; x + width would round


class Entry(NamedTuple):
    """One evaluated image. Boxes are in pixels of the image as read."""

    id: int | str
    size_hw: tuple[int, int]
    truth: Truth
    detections: Instances  # float64, masks as run lengths
    path: str | None = None  # file of the image


def entry_of(sample: dict, instances: Instances, num_classes: int, with_masks: bool = True) -> Entry:
    """Make the entry of a sample (see `DetectionDataset`) and the model's detections in it.

    Args:
        instances: in pixels of the image as read, masks as K run lengths or (K, H, W) bool; the 100 detections of
            highest score are kept.
        with_masks: keep masks, where there are any.

    Raises ValueError, with the id of the image, if lengths differ, a number is not finite, a label is
    out of range, or the size of a mask is not that of the image.
    """
    meta = sample["meta"]
    size_hw = tuple(int(side) for side in meta["size_hw"])
    detections = _detections(instances, meta, num_classes, with_masks)
    return Entry(meta["id"], size_hw, _truth(sample, with_masks), detections, meta.get("path"))


def areas(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Areas of (…, 4) boxes: (…) in square pixels."""
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).prod(axis=-1)


def _truth(sample: dict, with_masks: bool) -> Truth:
    labels = _numpy(sample["labels"], np.int64)
    ignore = np.zeros(len(labels), bool)
    for key in ("iscrowd", "difficult"):
        if key in sample:
            ignore |= _numpy(sample[key], bool)
    stated = _numpy(sample["stated_xywh"], np.float64).reshape(-1, 4) if "stated_xywh" in sample else None
    return Truth(
        boxes_xyxy=_numpy(sample["boxes_xyxy"], np.float64).reshape(-1, 4) if stated is None else to_xyxy(stated),
        labels=labels,
        ignore=ignore,
        area=_numpy(sample["area"], np.float64) if "area" in sample else None,
        masks=encode_masks(sample["masks"]) if with_masks and "masks" in sample else None,
        boxes_xywh=stated,
    )


def _detections(instances: Instances, meta: dict, num_classes: int, with_masks: bool) -> Instances:
    id = meta["id"]
    boxes = _numpy(instances.boxes_xyxy, np.float64).reshape(-1, 4)
    scores, labels = _numpy(instances.scores, np.float64), _numpy(instances.labels, np.int64)
    masks = instances.masks if with_masks else None
    lengths = [len(boxes), len(scores), len(labels), *([] if masks is None else [len(masks)])]
    if len(set(lengths)) > 1:
        raise ValueError(f"image {id}: boxes, scores, labels (and masks) must have equal lengths, got {lengths}")
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise ValueError(f"image {id}: boxes and scores must be finite; did the training diverge?")
    if len(labels) and not (0 <= labels.min() and labels.max() < num_classes):
        raise ValueError(f"image {id}: labels must be in 0..{num_classes - 1}, got {labels.min()} to {labels.max()}")
    best = np.argsort(-scores, kind="stable")[:MAX_DETECTIONS]
    return Instances(boxes[best], scores[best], labels[best], None if masks is None else _codes(masks, best, meta))


def _codes(masks: Tensor | np.ndarray | list[RunLengths], rows: np.ndarray, meta: dict) -> list[RunLengths]:
    if isinstance(masks, list):
        try:
            return [run_lengths(masks[row], meta["size_hw"]) for row in rows]
        except ValueError as error:
            raise ValueError(f"image {meta['id']}: mask of a detection: {error}") from error
    return encode_masks(masks[rows.tolist()] if isinstance(masks, Tensor) else masks[rows])


def _numpy(values: Tensor | np.ndarray | Sequence, dtype: type) -> np.ndarray:
    return (values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)).astype(dtype)
