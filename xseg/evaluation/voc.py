"""PASCAL VOC's average precision for boxes, by the rules of 2007 (eleven points) and of 2010 and later (area).

As in the devkit's VOCevaldet.m, a detection is compared with the object of its class that it overlaps most. Of the
detections whose IoU reaches the threshold, the one of highest score is correct and the others are wrong. Detections of
a difficult object are ignored.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xseg.evaluation.entries import Entry, areas


class VocScores(NamedTuple):
    """Shares in 0..1; None without objects."""

    mean_ap: float | None  # over the classes with objects
    ap: list[float | None]  # by class


def voc_scores(
    entries: Sequence[Entry], num_classes: int, iou_threshold: float = 0.5, eleven_points: bool = False
) -> VocScores:
    """AP by class and its mean.

    Args:
        eleven_points: as in VOC 2007, the mean over recalls 0, 0.1, …, 1 of the highest precision at that recall or
            above; otherwise the area under that curve.
    """
    truth = _stack(entries, "truth")
    detections = _stack(entries, "detections")
    order = np.argsort(-detections["scores"], kind="stable")
    detections = {key: values[order] for key, values in detections.items()}
    best_iou, best = best_overlaps(detections, truth, num_classes)
    hit = best_iou >= iou_threshold
    ignored = hit & truth["ignore"][best] if len(truth["labels"]) else hit
    first = np.zeros(len(hit), bool)
    counted = np.flatnonzero(hit & ~ignored)
    first[counted[np.unique(best[counted], return_index=True)[1]]] = True  # highest score of each object
    ap = []
    for label in range(num_classes):
        num_objects = int(((truth["labels"] == label) & ~truth["ignore"]).sum())
        hits = first[(detections["labels"] == label) & ~ignored]
        ap.append(average_precision(hits, num_objects, eleven_points) if num_objects else None)
    present = [value for value in ap if value is not None]
    return VocScores(float(np.mean(present)) if present else None, ap)


def average_precision(hits: np.ndarray, num_objects: int, eleven_points: bool = False) -> float:
    """AP of one class.

    Args:
        hits: (K,) bool by descending score: whether the detection is correct.
        eleven_points: see `voc_scores`.
    """
    true_positives = np.cumsum(hits)
    recall = true_positives / num_objects
    precision = true_positives / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]  # highest precision at this recall or above
    if eleven_points:
        place = np.searchsorted(recall, np.arange(11) / 10 - 1e-9)  # 1e-9: 3 of 10 objects reach recall 0.3
        return float(np.append(envelope, 0.0)[place].mean())
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def best_overlaps(
    detections: dict[str, np.ndarray], truth: dict[str, np.ndarray], num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each detection the object of the same image and class with the highest IoU: IoU (K,) and row (K,).

    Without such an object, IoU and row are 0. All pairs are compared at once.
    """
    keys = truth["image"] * num_classes + truth["labels"]
    order = np.argsort(keys, kind="stable")
    wanted = detections["image"] * num_classes + detections["labels"]
    start = np.searchsorted(keys[order], wanted, side="left")
    count = np.searchsorted(keys[order], wanted, side="right") - start
    detection = np.repeat(np.arange(len(wanted)), count)  # (P,) pairs
    offset = np.arange(len(detection)) - np.repeat(np.cumsum(count) - count, count)
    rows = order[start[detection] + offset]
    iou = _pair_iou(detections["boxes_xyxy"][detection], truth["boxes_xyxy"][rows])
    best_iou, best = np.zeros(len(wanted)), np.zeros(len(wanted), np.int64)
    ranked = np.lexsort((rows, -iou, detection))
    seen, place = np.unique(detection[ranked], return_index=True)
    best_iou[seen], best[seen] = iou[ranked][place], rows[ranked][place]
    return best_iou, best


def _pair_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of pairs of boxes: (P, 4), (P, 4) -> (P,)."""
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    intersection = np.clip(sides, 0, None).prod(axis=1)
    union = areas(first) + areas(second) - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def _stack(entries: Sequence[Entry], side: str) -> dict[str, np.ndarray]:
    """Arrays of all objects (side "truth") or all detections (side "detections"), with the index of their image."""
    parts = [getattr(entry, side) for entry in entries]
    stacked = dict(
        image=np.repeat(np.arange(len(parts)), [len(part.labels) for part in parts]),
        boxes_xyxy=np.concatenate([np.zeros((0, 4)), *(part.boxes_xyxy for part in parts)]),
        labels=np.concatenate([np.zeros(0, np.int64), *(part.labels for part in parts)]),
    )
    if side == "detections":
        return stacked | dict(scores=np.concatenate([np.zeros(0), *(part.scores for part in parts)]))
    ignore = [np.zeros(len(part.labels), bool) if part.ignore is None else part.ignore for part in parts]
    return stacked | dict(ignore=np.concatenate([np.zeros(0, bool), *ignore]))
