"""PASCAL VOC's average precision, by the rules of 2007 (eleven points) and of 2010 and after (area), for boxes.

Rules as in the devkit's VOCevaldet.m: a detection looks at the one object of its class that it overlaps most; that is
found by the first detection of at least the IoU, further ones are false, and a difficult one counts for nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xseg.evaluation.entries import Entry, areas


class VocScores(NamedTuple):
    """Shares in 0..1; None where there is nothing to find."""

    mean_ap: float | None  # over the classes with ground truth
    ap: list[float | None]


def voc_scores(
    entries: Sequence[Entry], num_classes: int, iou_threshold: float = 0.5, eleven_points: bool = False
) -> VocScores:
    """AP by class and its mean.

    Args:
        eleven_points: VOC 2007: the mean of the best precision at recalls from 0, 0.1, … on; otherwise the area under
            the curve, precision made monotonous.
    """
    truth = _stack(entries, "truth")
    found = _stack(entries, "found")
    found = {key: values[np.argsort(-found["scores"], kind="stable")] for key, values in found.items()}
    best_iou, best = best_overlaps(found, truth, num_classes)
    hit = best_iou >= iou_threshold
    ignored = hit & truth["ignore"][best] if len(truth["labels"]) else hit
    first = np.zeros(len(hit), bool)
    counted = np.flatnonzero(hit & ~ignored)
    first[counted[np.unique(best[counted], return_index=True)[1]]] = True  # the first of each object
    ap = []
    for label in range(num_classes):
        num_objects = int(((truth["labels"] == label) & ~truth["ignore"]).sum())
        hits = first[(found["labels"] == label) & ~ignored]
        ap.append(average_precision(hits, num_objects, eleven_points) if num_objects else None)
    present = [value for value in ap if value is not None]
    return VocScores(float(np.mean(present)) if present else None, ap)


def average_precision(hits: np.ndarray, num_objects: int, eleven_points: bool = False) -> float:
    """(K,) bool, whether each detection by descending score is right, and how many objects there are -> AP."""
    right = np.cumsum(hits)
    recall = right / num_objects
    precision = right / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]  # the best precision at this recall or more
    if eleven_points:
        place = np.searchsorted(recall, np.arange(11) / 10 - 1e-9)  # 1e-9: 3 of 10 objects reach recall 0.3
        return float(np.append(envelope, 0.0)[place].mean())
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def best_overlaps(
    found: dict[str, np.ndarray], truth: dict[str, np.ndarray], num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """IoU (K,) and row (K,) of the object of the same image and class that each detection overlaps most.

    0 and row 0 where there is none. All pairs that can meet are compared at once.
    """
    keys = truth["image"] * num_classes + truth["labels"]
    order = np.argsort(keys, kind="stable")
    wanted = found["image"] * num_classes + found["labels"]
    start = np.searchsorted(keys[order], wanted, side="left")
    count = np.searchsorted(keys[order], wanted, side="right") - start
    detection = np.repeat(np.arange(len(wanted)), count)  # (P,) pairs
    offset = np.arange(len(detection)) - np.repeat(np.cumsum(count) - count, count)
    rows = order[start[detection] + offset]
    iou = _pair_iou(found["boxes_xyxy"][detection], truth["boxes_xyxy"][rows])
    best_iou, best = np.zeros(len(wanted)), np.zeros(len(wanted), np.int64)
    ranked = np.lexsort((rows, -iou, detection))
    seen, place = np.unique(detection[ranked], return_index=True)
    best_iou[seen], best[seen] = iou[ranked][place], rows[ranked][place]
    return best_iou, best


def _pair_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(P, 4), (P, 4) -> (P,)."""
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    both = np.clip(sides, 0, None).prod(axis=1)
    either = areas(first) + areas(second) - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def _stack(entries: Sequence[Entry], side: str) -> dict[str, np.ndarray]:
    parts = [getattr(entry, side) for entry in entries]
    stacked = dict(
        image=np.repeat(np.arange(len(parts)), [len(part.labels) for part in parts]),
        boxes_xyxy=np.concatenate([np.zeros((0, 4)), *(part.boxes_xyxy for part in parts)]),
        labels=np.concatenate([np.zeros(0, np.int64), *(part.labels for part in parts)]),
    )
    if side == "found":
        return stacked | dict(scores=np.concatenate([np.zeros(0), *(part.scores for part in parts)]))
    ignore = [np.zeros(len(part.labels), bool) if part.ignore is None else part.ignore for part in parts]
    return stacked | dict(ignore=np.concatenate([np.zeros(0, bool), *ignore]))
