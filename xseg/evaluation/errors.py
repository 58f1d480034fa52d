"""Kinds of wrong detections as TIDE defines them, and how much AP each kind costs.

Paper: Bolya et al. 2020 (arXiv:2008.08115). The numbers equal those of the authors' program, tidecv 1.0.1 (see the
tests), if each class has an object. A class without objects has AP 0 there; here it does not count, as in COCO.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from heads.contract import Instances
from xseg.data.sets.detection import to_xywh
from xseg.evaluation.coco import RECALLS
from xseg.evaluation.entries import Entry, Truth

ERRORS = ("classification", "localisation", "both", "duplicate", "background", "missed")
CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, BACKGROUND, MISSED = range(len(ERRORS))
CORRECT = -1


class Verdict(NamedTuple):
    """Kinds of the K detections, and state of the M objects, of an image."""

    kinds: np.ndarray  # (K,) CORRECT, or an index into ERRORS
    objects: np.ndarray  # (K,) object that a detection matches, or would match without its error; -1: none
    skipped: np.ndarray  # (K,) bool: wrong but not counted, as it lies inside an ignored object of its class
    unfound: np.ndarray  # (M,) bool: not ignored, and without a correct detection
    missed: np.ndarray  # (M,) bool: unfound, and no detection would match it without its error


class ErrorScores(NamedTuple):
    """Shares in 0..1; None where the ground truth has no object."""

    ap: float | None  # at the IoU of the verdicts
    delta_ap: dict[str, float | None]  # by ERRORS: gain of AP if only these errors are corrected
    false_positives: float | None  # gain of AP if every wrong detection gets the lowest score
    false_negatives: float | None  # gain of AP if objects without a correct detection do not count
    counts: dict[str, int]  # by ERRORS


def judge(
    truth: Truth, detections: Instances, kind: str = "bbox", iou: float = 0.5, background_iou: float = 0.1
) -> Verdict:
    """Match detections to objects in order of score, and name the error of those without a match.

    The first of these rules that holds decides, with IoU as the overlap:

    - localisation: overlap of `background_iou` to `iou` with an object of the same class
    - classification: overlap of `iou` or more with an object of another class
    - duplicate: overlap of `iou` or more with an object of the same class that another detection matches
    - background: overlap of at most `background_iou` with every object
    - both: none of the above

    An object without a match may have localisation and classification errors. The one of highest score would match it
    if it were corrected.

    Args:
        kind: "bbox" compares boxes, "segm" compares masks.
    """
    ignore = np.zeros(len(truth.labels), bool) if truth.ignore is None else truth.ignore
    ious, inside = overlaps(truth, detections, kind, ignore)  # (K, M) each
    same = detections.labels[:, None] == truth.labels
    own, other = ious * same, ious * ~same
    order = np.argsort(-detections.scores, kind="stable")
    objects = _match(own, order, iou)
    correct, used = objects >= 0, np.zeros(len(ignore), bool)
    used[objects[correct]] = True

    best_own, best_other = own.max(1, initial=0), other.max(1, initial=0)
    rules = {
        CORRECT: correct,
        LOCALISATION: (best_own >= background_iou) & (best_own <= iou),
        CLASSIFICATION: best_other >= iou,
        DUPLICATE: (own * used).max(1, initial=0) >= iou,
        BACKGROUND: ious.max(1, initial=0) <= background_iou,
    }
    kinds = np.select(list(rules.values()), list(rules), BOTH)
    for error, values in ((LOCALISATION, own), (CLASSIFICATION, other)):
        rows = kinds == error
        objects[rows] = values[rows].argmax(1) if rows.any() else -1
    candidates = order[~correct[order] & (objects[order] >= 0)]
    best = candidates[np.unique(objects[candidates], return_index=True)[1]]  # the highest score of each object
    best = best[~used[objects[best]]]
    objects[np.setdiff1d(candidates, best)] = -1
    unfound, missed = ~used & ~ignore, ~used & ~ignore
    missed[objects[best]] = False
    return Verdict(kinds, objects, ~correct & (inside * same > iou).any(1), unfound, missed)


def overlaps(truth: Truth, detections: Instances, kind: str, ignore: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K, M) IoU with objects that are not ignored, and (K, M) share of a detection's area inside ignored objects."""
    from pycocotools import mask as coco_mask

    shape = (len(detections.labels), len(truth.labels))
    if 0 in shape:
        return np.zeros(shape), np.zeros(shape)
    sides = [part.masks if kind == "segm" else to_xywh(part.boxes_xyxy) for part in (detections, truth)]
    shares = coco_mask.iou(*sides, ignore.astype(np.uint8).tolist())
    return shares * ~ignore, shares * ignore


def error_scores(entries: Sequence[Entry], verdicts: Sequence[Verdict]) -> ErrorScores:
    """AP, and how much it gains if one kind of error is corrected; `verdicts` are the results of `judge` by entry."""
    truths, detections = [entry.truth for entry in entries], [entry.detections for entry in entries]
    scores, labels = _stack([d.scores for d in detections], float), _stack([d.labels for d in detections], int)
    kinds, skipped = _stack([v.kinds for v in verdicts], int), _stack([v.skipped for v in verdicts], bool)
    corrected = _stack([_labels_at(t, v.objects) for t, v in zip(truths, verdicts, strict=True)], int)
    wanted = _stack([t.labels[~t.ignore] if t.ignore is not None else t.labels for t in truths], int)
    unfound = _stack([t.labels[v.unfound] for t, v in zip(truths, verdicts, strict=True)], int)
    missed = _stack([t.labels[v.missed] for t, v in zip(truths, verdicts, strict=True)], int)
    classes = np.unique(wanted)
    size = max([0, *(labels + 1), *(wanted + 1)])
    positives, unfound, missed = (np.bincount(values, minlength=size) for values in (wanted, unfound, missed))

    def ap(kept: np.ndarray, scores=scores, labels=labels, correct=kinds == CORRECT, positives=positives):
        return mean_ap(scores[kept], labels[kept], correct[kept], positives, classes)

    def gain(value: float | None) -> float | None:
        return None if base is None or value is None else value - base

    base = ap(~skipped)
    delta_ap = {}
    for index, name in enumerate(ERRORS):
        at = kinds == index
        kept, relabelled = np.where(at, corrected >= 0, ~skipped), np.where(at, corrected, labels)
        fewer = positives - missed if index == MISSED else positives
        value = gain(ap(kept, labels=relabelled, correct=at | (kinds == CORRECT), positives=fewer))
        delta_ap[name] = None if value is None else max(value, 0.0)  # sampling at 101 recalls may give a little less
    counts = np.bincount(kinds[(kinds >= 0) & ~skipped], minlength=len(ERRORS))
    counts[MISSED] = missed.sum()
    return ErrorScores(
        base,
        delta_ap,
        false_positives=gain(ap(~skipped, scores=np.where(kinds == CORRECT, 1.0, 0.0))),
        false_negatives=gain(ap(~skipped, positives=positives - unfound)),
        counts=dict(zip(ERRORS, counts.tolist(), strict=True)),
    )


def mean_ap(
    scores: np.ndarray, labels: np.ndarray, correct: np.ndarray, positives: np.ndarray, classes: np.ndarray
) -> float | None:
    """Mean over `classes` of COCO's AP at one IoU.

    A class that a correction leaves without objects has AP 0 if it has detections; otherwise it does not count.

    Args:
        scores, labels, correct: (K,) of all detections.
        positives: number of objects by class.
    """
    order = np.argsort(-scores, kind="stable")
    labels, correct = labels[order], correct[order]
    values = []
    for label in classes:
        hits = correct[labels == label]
        if positives[label]:
            values.append(precision_at_recalls(hits, positives[label]).mean())
        elif len(hits):
            values.append(0.0)
    return float(np.mean(values)) if values else None


def precision_at_recalls(hits: np.ndarray, num_objects: int) -> np.ndarray:
    """Highest precision at each recall of RECALLS or above: (101,).

    Args:
        hits: (K,) bool by descending score: whether the detection is correct.
    """
    true_positives = np.cumsum(hits)
    precision = true_positives / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return np.append(envelope, 0.0)[np.searchsorted(true_positives / num_objects, RECALLS)]


def _match(own: np.ndarray, order: np.ndarray, iou: float) -> np.ndarray:
    """(K,) matches: in order of score, each detection takes the free object of highest IoU; -1 for none."""
    free, objects = own.copy(), np.full(len(own), -1)
    for row in order if own.size else ():
        best = free[row].argmax()
        if free[row, best] >= iou:
            objects[row] = best
            free[:, best] = 0
    return objects


def _labels_at(truth: Truth, objects: np.ndarray) -> np.ndarray:
    """(K,) labels of the objects; -1 for no object."""
    return np.append(truth.labels, -1)[objects]


def _stack(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)
