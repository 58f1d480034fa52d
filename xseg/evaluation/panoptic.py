"""Panoptic quality: segments are matched at an IoU above 0.5 and counted by class.

Paper: Kirillov et al. 2019 (arXiv:1801.00868), Section 4; void and crowd as in the authors' panopticapi.
"""

from typing import NamedTuple

import torch
from mmengine.registry import METRICS
from torch import Tensor

from heads.panoptic import Panoptic, panoptic_of_sample
from xseg.evaluation.confusion import mean_of_known
from xseg.evaluation.metric import Metric
from xseg.evaluation.tables import Table, cell, percent

UNIT = 2.0**40  # IoUs are summed as whole numbers of 1 / UNIT, so that the sum does not depend on the order


class PanopticScores(NamedTuple):
    """Shares in 0..1 by class. A class in neither ground truth nor prediction has None and counts in no mean."""

    pq: list[float | None]
    sq: list[float | None]
    rq: list[float | None]

    def means(self, classes: Tensor) -> dict[str, float | None]:
        """Mean PQ, SQ and RQ of the classes that are True in (C,) bool."""
        named = dict(PQ=self.pq, SQ=self.sq, RQ=self.rq)
        return {
            name: mean_of_known([v for v, counts in zip(values, classes.tolist(), strict=True) if counts])
            for name, values in named.items()
        }


def panoptic_counts(prediction: Panoptic, truth: Panoptic, num_classes: int) -> Tensor:
    """Match the segments of one image and count them.

    Void pixels of the ground truth count in no union. A predicted segment without a match is no false positive if more
    than half of it lies on void or on crowds of its class. A crowd is never a false negative.

    Returns: (num_classes, 4) int64: sum of IoU in 1 / UNIT, true positives, false positives, false negatives.
    """
    if prediction.segments.shape != truth.segments.shape:
        sizes = tuple(prediction.segments.shape), tuple(truth.segments.shape)
        raise ValueError(f"the prediction is {sizes[0]} but the ground truth {sizes[1]}: sizes must agree")
    rows, columns = len(truth.labels) + 1, len(prediction.labels) + 1
    pairs = truth.segments.flatten().long() * columns + prediction.segments.flatten()
    shared = torch.bincount(pairs, minlength=rows * columns).reshape(rows, columns).double()
    area, true_area = shared.sum(0)[1:], shared.sum(1)[1:]
    void, both = shared[0, 1:], shared[1:, 1:]
    same = truth.labels[:, None] == prediction.labels  # (S, P)
    crowd = truth.iscrowd[:, None]
    iou = both / (area + true_area[:, None] - both - void).clamp(min=1)
    matched = same & ~crowd & (iou > 0.5)
    ignored = void + (both * (same & crowd)).sum(0)
    false_positive = ~matched.any(0) & (area > 0) & (ignored <= 0.5 * area)
    false_negative = ~matched.any(1) & ~truth.iscrowd
    counts = shared.new_zeros(num_classes, 4, dtype=torch.int64)
    matches, _ = matched.nonzero(as_tuple=True)
    counts[:, 0].index_add_(0, truth.labels[matches], (iou[matched] * UNIT).round().long())
    counts[:, 1] = truth.labels[matches].bincount(minlength=num_classes)
    counts[:, 2] = prediction.labels[false_positive].bincount(minlength=num_classes)
    counts[:, 3] = truth.labels[false_negative].bincount(minlength=num_classes)
    return counts


def panoptic_scores(counts: Tensor) -> PanopticScores:
    """PQ = SQ * RQ of every class from (num_classes, 4) summed counts."""
    iou, matches, false_positives, false_negatives = counts.double().cpu().unbind(1)
    iou, weight = iou / UNIT, matches + (false_positives + false_negatives) / 2
    present = (weight > 0).tolist()
    columns = (iou / weight, iou / matches.clamp(min=1), matches / weight)
    return PanopticScores(*([v if p else None for v, p in zip(c.tolist(), present, strict=True)] for c in columns))


@METRICS.register_module()
class PanopticMetric(Metric):
    """PQ, SQ and RQ in percent, over all classes, things and stuff: "PQ", "SQ", "RQ", "PQ_things", …, "RQ_stuff".

    Predictions need `panoptic` (a `heads.panoptic.Panoptic`), samples `mask` and `masks` of the same size, and the data
    set's metainfo `things` (see `PanopticDataset`). After `evaluate`, `counts` and `scores` hold what the numbers come
    from.
    """

    leading = "PQ"

    def __init__(self):
        super().__init__()
        self.counts: Tensor | None = None
        self.scores: PanopticScores | None = None

    def update(self, prediction: dict, sample: dict) -> None:
        things = self._things()
        if "panoptic" not in prediction:
            raise ValueError(
                "the model gives no panoptic result; panoptic quality needs a JointModel with instance masks (MaskRCNN)"
            )
        segments = prediction["panoptic"]
        truth = Panoptic(*(part.to(segments.segments.device) for part in panoptic_of_sample(sample, things)))
        self.add(panoptic_counts(segments, truth, len(self.classes)))

    def compute(self) -> dict[str, float | None]:
        self.counts, self.scores = self.total, panoptic_scores(self.total)
        things = torch.zeros(len(self.counts), dtype=torch.bool)
        things[list(self._things())] = True
        parts = {"": torch.ones_like(things), "_things": things, "_stuff": ~things}
        return {
            f"{name}{ending}": percent(value)
            for ending, classes in parts.items()
            for name, value in self.scores.means(classes).items()
        }

    def report(self) -> dict:
        """The numbers, and PQ, SQ, RQ and the counts by class; None for a class that does not occur."""
        rows = zip(self.classes, *self.scores, self.counts[:, 1:].tolist(), strict=True)
        by_class = {
            name: dict(PQ=percent(pq), SQ=percent(sq), RQ=percent(rq))
            | dict(zip(("TP", "FP", "FN"), counts, strict=True))
            for name, pq, sq, rq, counts in rows
        }
        return self.values | {"panoptic": by_class}

    def table(self) -> Table:
        """PQ, SQ and RQ by class, and their means over things, stuff and all."""
        rows = {name: [row[key] for key in ("PQ", "SQ", "RQ")] for name, row in self.report()["panoptic"].items()}
        totals = {
            name: [self.values[f"{key}{ending}"] for key in ("PQ", "SQ", "RQ")]
            for name, ending in (("things", "_things"), ("stuff", "_stuff"), ("all", ""))
        }
        rows, totals = ([(name, *map(cell, values)) for name, values in part.items()] for part in (rows, totals))
        return Table(("class", "PQ %", "SQ %", "RQ %"), rows, totals)

    def _things(self) -> tuple[int, ...]:
        if (things := self.dataset_meta.get("things")) is None:
            raise ValueError(
                "the data set does not say which classes are things; panoptic quality needs a PanopticDataset"
            )
        return tuple(things)
