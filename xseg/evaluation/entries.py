"""What detection metrics keep of an image: its objects and its detections as small arrays, masks as run lengths."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from xseg.data.read.rle import RunLengths, encode_masks, run_lengths
from xseg.data.sets.detection import to_xyxy

MAX_DETECTIONS = 100  # an image, as COCO counts


class Truth(NamedTuple):
    """The M objects of an image."""

    boxes_xyxy: np.ndarray  # (M, 4) pixels
    labels: np.ndarray  # (M,) from 0
    ignore: np.ndarray | None = None  # (M,) bool: crowds and difficult objects, neither asked for nor punished
    area: np.ndarray | None = None  # (M,) pixels, which make objects small, medium or large; NaN, None: of mask or box
    masks: list[RunLengths] | None = None
    boxes_xywh: np.ndarray | None = None  # (M, 4) the boxes as a file states them: x + width is rounded


class Found(NamedTuple):
    """The K detections in an image."""

    boxes_xyxy: np.ndarray  # (K, 4) pixels
    scores: np.ndarray  # (K,)
    labels: np.ndarray  # (K,) from 0
    masks: list[RunLengths] | None = None
    area: np.ndarray | None = None  # as of `Truth`
    boxes_xywh: np.ndarray | None = None  # as of `Truth`


class Entry(NamedTuple):
    """One evaluated image; all boxes are in its own pixels."""

    id: int | str
    size_hw: tuple[int, int]
    truth: Truth
    found: Found
    path: str | None = None  # of the image, for its picture


def entry_of(sample: dict, result: dict, num_classes: int, with_masks: bool = True) -> Entry:
    """Entry of a sample (see `DetectionDataset`) and the result that the model gives for it.

    Args:
        result: dict(boxes_xyxy (K, 4), scores (K,), labels (K,), perhaps masks, (K, H, W) bool or K run lengths),
            original pixels; the 100 of highest score are kept.
        with_masks: keep the masks of samples and results that have them.

    Raises:
        ValueError: a result whose lengths differ, whose numbers are not finite, or with a label out of range or a mask
            that is none of its image.
    """
    meta = sample["meta"]
    size_hw = tuple(int(side) for side in meta["size_hw"])
    found = _found(result, meta, num_classes, with_masks)
    return Entry(meta["id"], size_hw, _truth(sample, with_masks), found, meta.get("path"))


def areas(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(…, 4) -> (…) pixels."""
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


def _found(result: dict, meta: dict, num_classes: int, with_masks: bool) -> Found:
    id = meta["id"]
    boxes = _numpy(result["boxes_xyxy"], np.float64).reshape(-1, 4)
    scores, labels = _numpy(result["scores"], np.float64), _numpy(result["labels"], np.int64)
    masks = result.get("masks") if with_masks else None
    lengths = [len(boxes), len(scores), len(labels), *([] if masks is None else [len(masks)])]
    if len(set(lengths)) > 1:
        raise ValueError(f"image {id}: boxes, scores, labels (and masks) must be equally many, got {lengths}")
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise ValueError(f"image {id}: a detection with a box or score that is not finite; did the training diverge?")
    if len(labels) and not (0 <= labels.min() and labels.max() < num_classes):
        raise ValueError(f"image {id}: labels {labels.min()} to {labels.max()}, but there are {num_classes} classes")
    best = np.argsort(-scores, kind="stable")[:MAX_DETECTIONS]
    return Found(boxes[best], scores[best], labels[best], None if masks is None else _codes(masks, best, meta))


def _codes(masks: Tensor | np.ndarray | list[RunLengths], rows: np.ndarray, meta: dict) -> list[RunLengths]:
    if isinstance(masks, list):
        try:
            return [run_lengths(masks[row], meta["size_hw"]) for row in rows]
        except ValueError as error:
            raise ValueError(f"image {meta['id']}: a detection with {error}") from error
    return encode_masks(masks[rows.tolist()] if isinstance(masks, Tensor) else masks[rows])


def _numpy(values: Tensor | np.ndarray | Sequence, dtype: type) -> np.ndarray:
    return (values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)).astype(dtype)
