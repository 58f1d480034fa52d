"""COCO's twelve numbers for boxes or masks, and AP by class, by faster-coco-eval or pycocotools with equal results.

Definitions: https://cocodataset.org/#detection-eval. Annotations are numbered from 1 and images sorted by id, since the
results of the libraries depend on both. Images without detections or without objects are allowed.
"""

import contextlib
import gc
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from heads.contract import Instances
from xseg.data.read.rle import mask_areas
from xseg.data.sets.detection import to_xywh
from xseg.evaluation.entries import Entry, Truth

BACKENDS = ("faster_coco_eval", "pycocotools")
KINDS = ("bbox", "segm")


class Number(NamedTuple):
    """One of the twelve numbers: the mean of a part of the tables that the libraries give."""

    name: str
    table: str  # "precision" (IoUs, recalls, classes, areas, detections) | "recall", without recalls
    iou: float | None = None  # None: mean over 0.50, 0.55, …, 0.95
    area: int = 0  # all | small, below 32^2 pixels | medium | large, 96^2 pixels and above
    detections: int = 2  # the best 1 | 10 | 100 per image and class


NUMBERS = (
    Number("mAP", "precision"),
    Number("mAP_50", "precision", iou=0.5),
    Number("mAP_75", "precision", iou=0.75),
    Number("mAP_s", "precision", area=1),
    Number("mAP_m", "precision", area=2),
    Number("mAP_l", "precision", area=3),
    Number("AR_1", "recall", detections=0),
    Number("AR_10", "recall", detections=1),
    Number("AR_100", "recall"),
    Number("AR_s", "recall", area=1),
    Number("AR_m", "recall", area=2),
    Number("AR_l", "recall", area=3),
)


IOUS = np.arange(50, 100, 5) / 100
RECALLS = np.arange(101) / 100
AREAS = ("all", "small", "medium", "large")


class CocoScores(NamedTuple):
    """Shares in 0..1; None where the ground truth has no object."""

    numbers: dict[str, float | None]  # by the names of `NUMBERS`
    ap: list[float | None]  # by class
    ap_50: list[float | None]
    precision: np.ndarray  # (IOUS, RECALLS, classes, AREAS): highest at each recall or above; -1 without objects

    def ap_by_area(self, label: int) -> dict[str, float | None]:
        """AP of a class for each of AREAS."""
        return {name: _mean(self.precision[:, :, label, index]) for index, name in enumerate(AREAS)}


def coco_scores(
    entries: Sequence[Entry], num_classes: int, kind: str = "bbox", backend: str = "faster_coco_eval"
) -> CocoScores:
    """Score the detections of all entries against their ground truth.

    Args:
        kind: "bbox" compares boxes, "segm" compares masks, which all entries must have.
        backend: "faster_coco_eval", or the reference, "pycocotools".

    Raises ValueError for an unknown kind or backend, and for missing masks, with the id of the image.
    """
    if kind not in KINDS or backend not in BACKENDS:
        allowed, got = (KINDS, kind) if kind not in KINDS else (BACKENDS, backend)
        raise ValueError(f"{'kind' if allowed is KINDS else 'backend'} must be {' or '.join(allowed)}, got {got}")
    if not entries:
        nothing = np.full((len(IOUS), len(RECALLS), num_classes, len(AREAS)), -1.0)
        return CocoScores({number.name: None for number in NUMBERS}, *[[None] * num_classes] * 2, nothing)
    with uncollected():
        tables, ious = _run(*coco_dicts(entries, num_classes, kind), kind, backend)
    at_50 = np.isclose(ious, 0.5)
    numbers = {}
    for number in NUMBERS:
        table = tables[number.table][..., number.area, number.detections]
        numbers[number.name] = _mean(table if number.iou is None else table[np.isclose(ious, number.iou)])
    precision = tables["precision"][..., 2]  # of the best 100 detections
    by_class = [precision[:, :, label, 0] for label in range(num_classes)]
    at_all, at_half = ([_mean(table[ious]) for table in by_class] for ious in (slice(None), at_50))
    return CocoScores(numbers, at_all, at_half, precision)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Switch Python's garbage collector off.

    It took a third of the time to make hundreds of thousands of small objects, none of which is garbage.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def coco_dicts(entries: Sequence[Entry], num_classes: int, kind: str) -> tuple[dict, list[dict]]:
    """Ground truth in the form of COCO's JSON, and detections as annotations; ids and categories count from 1."""
    entries = sorted(entries, key=lambda entry: (isinstance(entry.id, str), entry.id))  # the order breaks ties in score
    truths: list[dict] = []
    detections: list[dict] = []
    for image_id, entry in enumerate(entries, start=1):
        truths += _rows(entry.truth, image_id, entry, kind)
        detections += _rows(entry.detections, image_id, entry, kind)
    for rows in (truths, detections):
        for id, row in enumerate(rows, start=1):
            row["id"] = id
    content = dict(
        images=[
            dict(id=image_id, height=entry.size_hw[0], width=entry.size_hw[1])
            for image_id, entry in enumerate(entries, start=1)
        ],
        annotations=truths,
        categories=[dict(id=label + 1, name=str(label)) for label in range(num_classes)],
    )
    return content, detections


def _rows(objects: Truth | Instances, image_id: int, entry: Entry, kind: str) -> list[dict]:
    if kind == "segm" and objects.masks is None:
        what = (
            "the ground truth has no masks (with_masks=True)" if objects is entry.truth else "the model gave no masks"
        )
        raise ValueError(f"image {entry.id}: {what}; kind segm needs them")
    boxes = to_xywh(objects.boxes_xyxy) if objects.boxes_xywh is None else objects.boxes_xywh
    area = np.full(len(boxes), np.nan) if objects.area is None else objects.area.copy()
    if (unknown := np.flatnonzero(np.isnan(area))).size:
        own = mask_areas([objects.masks[row] for row in unknown]) if kind == "segm" else boxes[unknown, 2:].prod(axis=1)
        area[unknown] = own
    ignore = getattr(objects, "ignore", None)
    extra = [{}] * len(boxes)
    if isinstance(objects, Instances):
        extra = [dict(score=score) for score in objects.scores.tolist()]
    if kind == "segm":
        extra = [dict(row, segmentation=dict(code)) for row, code in zip(extra, objects.masks, strict=True)]
    crowd = [0] * len(boxes) if ignore is None else ignore.astype(int).tolist()
    columns = zip(boxes.tolist(), (objects.labels + 1).tolist(), area.tolist(), crowd, extra, strict=True)
    return [
        dict(image_id=image_id, bbox=box, category_id=category, area=size, iscrowd=is_crowd, **more)
        for box, category, size, is_crowd, more in columns
    ]


def _run(truth: dict, detections: list[dict], kind: str, backend: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The tables of precision and recall (see `Number`), -1 without objects; and the IoUs of their first axis."""
    if backend == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        indices = []
        for annotations in (truth["annotations"], detections):
            index = COCO()
            index.dataset = dict(truth, annotations=annotations)
            index.createIndex()
            indices.append(index)
        run = COCOeval(*indices, kind)
        run.evaluate()
        run.accumulate()
    return {key: np.asarray(run.eval[key]) for key in ("precision", "recall")}, run.params.iouThrs


def _mean(table: np.ndarray) -> float | None:
    """Mean of the defined values; -1 marks undefined ones."""
    defined = table[table > -1]
    return float(defined.mean()) if defined.size else None
