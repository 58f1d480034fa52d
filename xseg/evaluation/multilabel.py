"""Scores of classifiers that give an image any number of labels: MAP@100, and F1 of every class."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.registry import METRICS
from torch import Tensor

from xseg.data.read.images import read_image
from xseg.drawing import panel
from xseg.evaluation.metric import Metric, write_worst
from xseg.evaluation.tables import Table, cell, percent, shown_classes

DEPTH = 100  # classes of an image that are ranked
THRESHOLD = 0.5  # probability from which a label counts as predicted


class MisrankedImage(NamedTuple):
    """An image with a low average precision, kept for its picture."""

    precision: float  # average precision
    id: str
    path: str
    truth: tuple[int, ...]
    likeliest: tuple[int, ...]  # as many classes as the image has labels


def average_precision_at(
    scores: Tensor, targets: Tensor, class_weights: Tensor | None = None, depth: int = DEPTH
) -> Tensor:
    """Average precision of the `depth` likeliest classes of each image, weighted by class.

    The sum runs over the ranks k = 1 … depth whose class is a label of the image. Each adds the weight of its class
    times the precision among the first k. The sum is divided by the highest sum of weights that is possible. Of equal
    scores the lower index comes first; a label whose score is NaN adds nothing. With weights of 1, no equal scores, and
    all labels among the first `depth`, this is scikit-learn's label ranking average precision.

    Shapes: scores (N, C), targets (N, C) of 0 and 1, class_weights (C,), 1 each if None -> (N,) float64, NaN for an
    image without labels (of weight above 0).

    Source: MAP@100 on FastEval14k, Chollet 2017 (arXiv:1610.02357), Section 4.2, which weights classes by how common
    they are on social media. The paper gives no formula; this is the usual one with weights.
    """
    targets = targets.double()
    weights = torch.ones(scores.shape[1]) if class_weights is None else class_weights
    gains = targets * weights.to(targets)
    depth = min(depth, scores.shape[1])
    order = scores.nan_to_num(nan=-torch.inf).sort(dim=1, descending=True, stable=True).indices[:, :depth]
    hits = (targets * ~scores.isnan()).gather(1, order)
    precision = hits.cumsum(1) / torch.arange(1, depth + 1, device=scores.device)
    reached = (hits * precision * gains.gather(1, order)).sum(1)
    return reached / gains.topk(depth, dim=1).values.sum(1)  # 0 / 0 for an image without labels


@METRICS.register_module()
class MultiLabelMetric(Metric):
    """MAP@100 as "MAP100", and the mean F1 of the classes at a probability of 0.5 as "mF1", in percent.

    The counts are one sum of precisions, and three numbers per class. Images without labels count for F1 alone. After
    `evaluate`, `counts`, `num_labelled` and `map100` hold what the numbers come from, and `worst` the `num_worst`
    images of lowest average precision.

    Args:
        class_weights: weight of each class in MAP@100, in the order of the classes; None for 1 each.
        num_worst: how many of the worst images are kept for their pictures.
    """

    leading = "MAP100"

    def __init__(self, class_weights: Sequence[float] | None = None, num_worst: int = 0):
        super().__init__(num_worst)
        if class_weights is not None and (min(class_weights) < 0 or max(class_weights) <= 0):
            raise ValueError(f"class_weights must be 0 or more and one above, got {class_weights}")
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float64)
        self.counts: Tensor | None = None  # (3, C) int64: labels, predicted labels, correctly predicted labels
        self.num_labelled = 0  # images with labels
        self.map100: float | None = None

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        scores = torch.stack([result["scores"] for result in data_samples]).cpu()  # (N, C)
        targets = torch.stack([sample["label"] for sample in data_batch["samples"]]).cpu().bool()
        self._check_classes(scores.shape[1])
        precisions = average_precision_at(scores, targets, self.class_weights)
        ranked, predicted = ~precisions.isnan(), scores >= THRESHOLD
        sums = torch.stack([precisions[ranked].sum(), ranked.sum().double()])
        counts = torch.stack([targets.sum(0), predicted.sum(0), (predicted & targets).sum(0)])
        self.add(torch.cat([sums, counts.flatten().double()]))  # (2 + 3 C,)
        if self.num_worst:
            for index in ranked.nonzero().flatten().tolist():
                meta = data_batch["samples"][index]["meta"]
                self._keep(meta, float(precisions[index]), scores[index], targets[index])

    def compute(self) -> dict[str, float]:
        self.num_labelled = int(self.total[1])
        if not self.num_labelled:
            raise ValueError("there was no image with a label; look at the list and split of val_dataloader.dataset")
        self.map100 = float(self.total[0] / self.total[1])
        self.counts = self.total[2:].long().reshape(3, -1)
        of_classes = [value for value in self.f1() if value is not None]
        return {"MAP100": percent(self.map100), "mF1": percent(sum(of_classes) / max(len(of_classes), 1))}

    def f1(self) -> list[float | None]:
        """F1 = 2 correct / (labels + predicted labels) of every class; None for a class that no image has."""
        rows = self.counts.T.tolist()
        return [2 * correct / (labels + predicted) if labels else None for labels, predicted, correct in rows]

    def report(self) -> dict:
        """The numbers, and F1 (percent, None without images) and the number of images of every class."""
        return {
            **self.values,
            "F1": dict(zip(self.classes, map(percent, self.f1()), strict=True)),
            "counts": dict(zip(self.classes, self.counts[0].tolist(), strict=True)),
        }

    def table(self) -> Table:
        """F1 and number of images by class (of more than 40 classes the lowest ones), and the totals."""
        report = self.report()
        f1, counts = report["F1"], report["counts"]
        rows = [(name, cell(f1[name]), str(counts[name])) for name in shown_classes(f1)]
        titles = {"mF1": "mean F1 of the classes", "MAP100": "MAP@100"}
        totals = [(title, cell(report[key]), str(self.num_labelled)) for key, title in titles.items()]
        return Table(("class", "F1 %", "images"), rows, totals)

    def write(self, out: Path) -> list[str]:
        """Write worst/NN_<id>.jpg: the images of lowest average precision."""
        pictures = ((Path(item.id).name, draw_misranked(item, self.classes)) for item in self.worst)
        write_worst(out, pictures)
        return ["worst/"]

    def _check_classes(self, num_classes: int) -> None:
        if self.class_weights is not None and len(self.class_weights) != num_classes:
            raise ValueError(f"class_weights must be {num_classes} numbers, one a class, got {len(self.class_weights)}")

    def _keep(self, meta: dict, precision: float, scores: Tensor, targets: Tensor) -> None:
        if precision == 1:
            return
        truth = targets.nonzero().flatten().tolist()

        def make() -> MisrankedImage:
            likeliest = scores.sort(descending=True, stable=True).indices[: len(truth)].tolist()
            return MisrankedImage(precision, meta["id"], meta["path"], tuple(truth), tuple(likeliest))

        self.keep_worst(precision, meta["id"], make)


def draw_misranked(item: MisrankedImage, classes: Sequence[str]) -> np.ndarray:
    """(H, W, 3) RGB: the image below a title with its labels and as many of the likeliest classes."""
    image = np.ascontiguousarray(read_image(item.path).permute(1, 2, 0).numpy())
    truth, likeliest = (", ".join(classes[index] for index in part) for part in (item.truth, item.likeliest))
    return panel([image], [f"{truth} as {likeliest}"])
