"""Why detections are wrong, as TIDE defines it, and how much AP each kind of error costs.

Paper: Bolya et al. 2020 (arXiv:2008.08115). A test holds every number equal to the authors' program, tidecv 1.0.1,
where each class has an object; a class without any counts there with AP 0, and here, as with COCO, not at all.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xseg.data.sets.detection import to_xywh
from xseg.evaluation.coco import RECALLS
from xseg.evaluation.entries import Entry, Found, Truth

ERRORS = ("classification", "localisation", "both", "duplicate", "background", "missed")
CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, BACKGROUND, MISSED = range(len(ERRORS))
CORRECT = -1


class Verdict(NamedTuple):
    """What became of the K detections and the M objects of an image."""

    kinds: np.ndarray  # (K,) CORRECT, or an index into ERRORS
    objects: np.ndarray  # (K,) the object that a detection finds, or would find without its error; -1: none
    skipped: np.ndarray  # (K,) bool: wrong, but inside an ignored object of its class, and so not counted
    unfound: np.ndarray  # (M,) bool: to be found, and not found
    missed: np.ndarray  # (M,) bool: of those the ones that no detection would find without its error


class ErrorScores(NamedTuple):
    """Shares in 0..1; None where the ground truth has nothing to find."""

    ap: float | None  # at the IoU of the verdicts
    delta_ap: dict[str, float | None]  # by the names of ERRORS: what AP gains when these errors alone are corrected
    false_positives: float | None  # what it gains when every wrong detection has the lowest score
    false_negatives: float | None  # what it gains when nothing is asked for that is not found
    counts: dict[str, int]


def judge(truth: Truth, found: Found, kind: str = "bbox", iou: float = 0.5, background_iou: float = 0.1) -> Verdict:
    """Match detections to objects, the surest first, and name what is wrong with the rest.

    A wrong detection is, by the first rule that holds: *localisation*, if it overlaps an object of its class by
    `background_iou` to `iou`; *classification*, if it overlaps one of another class by `iou` or more; *duplicate*, if
    one of its class that is found already; *background*, if it overlaps nothing by more than `background_iou`; else
    *both*. The surest localisation or classification error at an object that is not found would find it, corrected.

    Args:
        kind: "bbox" compares boxes, "segm" masks.
    """
    ignore = np.zeros(len(truth.labels), bool) if truth.ignore is None else truth.ignore
    ious, inside = overlaps(truth, found, kind, ignore)  # (K, M) each
    same = found.labels[:, None] == truth.labels
    own, other = ious * same, ious * ~same
    order = np.argsort(-found.scores, kind="stable")
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
    wants = order[~correct[order] & (objects[order] >= 0)]
    surest = wants[np.unique(objects[wants], return_index=True)[1]]
    surest = surest[~used[objects[surest]]]
    objects[np.setdiff1d(wants, surest)] = -1
    unfound, missed = ~used & ~ignore, ~used & ~ignore
    missed[objects[surest]] = False
    return Verdict(kinds, objects, ~correct & (inside * same > iou).any(1), unfound, missed)


def overlaps(truth: Truth, found: Found, kind: str, ignore: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K, M) IoU with the objects that count, and (K, M) share of a detection inside those that are ignored."""
    from pycocotools import mask as coco_mask

    shape = (len(found.labels), len(truth.labels))
    if 0 in shape:
        return np.zeros(shape), np.zeros(shape)
    sides = [part.masks if kind == "segm" else to_xywh(part.boxes_xyxy) for part in (found, truth)]
    shares = coco_mask.iou(*sides, ignore.astype(np.uint8).tolist())
    return shares * ~ignore, shares * ignore


def error_scores(entries: Sequence[Entry], verdicts: Sequence[Verdict]) -> ErrorScores:
    """AP, and what it would gain by correcting one kind of error; `verdicts` are those of the entries by `judge`."""
    truths, founds = [entry.truth for entry in entries], [entry.found for entry in entries]
    scores, labels = _stack([f.scores for f in founds], float), _stack([f.labels for f in founds], int)
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
        delta_ap[name] = None if value is None else max(value, 0.0)  # the 101 recalls may round below
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
    """Mean over `classes` of COCO's AP at one IoU; `positives` counts the objects of every class.

    Of a class that a correction leaves without objects only the wrong detections count, with AP 0.
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
    """(K,) bool, whether each detection by descending score is right -> (101,) best precision from each recall on."""
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return np.append(envelope, 0.0)[np.searchsorted(right / num_objects, RECALLS)]


def _match(own: np.ndarray, order: np.ndarray, iou: float) -> np.ndarray:
    """(K,) the object that each detection finds, -1 for none: each, the surest first, takes the best that is free."""
    free, objects = own.copy(), np.full(len(own), -1)
    for row in order if own.size else ():
        best = free[row].argmax()
        if free[row, best] >= iou:
            objects[row] = best
            free[:, best] = 0
    return objects


def _labels_at(truth: Truth, objects: np.ndarray) -> np.ndarray:
    """(K,) labels of the objects, -1 where there is none."""
    return np.append(truth.labels, -1)[objects]


def _stack(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)
