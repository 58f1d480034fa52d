"""Accuracy of classifiers, from a confusion matrix of images."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.registry import METRICS
from torch import Tensor

from xseg.data.read.images import read_image
from xseg.data.transforms.labels import cut_square
from xseg.drawing import confusion_picture, panel
from xseg.evaluation.confusion import Scores, scores
from xseg.evaluation.metric import Metric, write_worst
from xseg.evaluation.tables import Table, cell, percent, shown_classes

TOP = 5
MOST_DRAWN = 100  # classes up to which the confusion matrix is drawn


class MisjudgedImage(NamedTuple):
    """A wrongly classified image, kept for its picture."""

    chance: float  # probability of the true class
    id: str
    path: str
    box_xyxy: tuple[int, int, int, int] | None  # part of the file that is the image; None: all of it
    truth: int
    prediction: int


def count_pairs(prediction: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Count (N,) int64 predictions and labels in a (num_classes, num_classes) int64 matrix, rows ground truth."""
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        wrong = labels[(labels < 0) | (labels >= num_classes)][0]
        raise ValueError(f"labels must be in 0..{num_classes - 1}, got {int(wrong)}")
    return torch.bincount(labels * num_classes + prediction, minlength=num_classes**2).reshape(num_classes, num_classes)


def rank_of_truth(scores: Tensor, labels: Tensor) -> Tensor:
    """Rank of the true class among the scores: (N, C) scores, (N,) labels -> (N,), 0 for the highest score.

    Of equal scores the lower index comes first, and NaN comes last. A model with constant or NaN scores is then not
    right for every class.
    """
    own = scores.gather(1, labels[:, None])
    index = torch.arange(scores.shape[1], device=scores.device)
    return (~(scores <= own) | ((scores == own) & (index < labels[:, None]))).sum(1)


@METRICS.register_module()
class ClassificationMetric(Metric):
    """Accuracy "top1", with more than five classes "top5", and mean class accuracy "mAcc", in percent.

    The counts are one confusion matrix, and the images with the true class among the first five. After `evaluate`,
    `confusion`, `scores` and `top5` (a share, or None) hold what the numbers come from, and `worst` the `num_worst`
    wrongly classified images whose true class has the lowest probability.

    Args:
        num_worst: how many of the worst images are kept for their pictures.
    """

    leading = "top1"

    def __init__(self, num_worst: int = 0):
        super().__init__(num_worst)
        self.confusion: Tensor | None = None
        self.scores: Scores | None = None
        self.top5: float | None = None

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        chances = torch.stack([result["scores"] for result in data_samples])  # (N, C)
        labels = torch.tensor([sample["label"] for sample in data_batch["samples"]], device=chances.device)
        prediction = chances.argmax(1)
        confusion = count_pairs(prediction, labels, chances.shape[1])
        hits = (rank_of_truth(chances, labels) < TOP).sum()
        self.add(torch.cat([confusion.flatten(), hits[None]]))
        if self.num_worst:
            rows = zip(data_batch["samples"], chances.cpu(), prediction.tolist(), strict=True)
            for sample, of_classes, predicted in rows:
                self._keep(sample, float(of_classes[sample["label"]]), predicted)

    def compute(self) -> dict[str, float]:
        num_classes = len(self.classes)
        self.confusion = self.total[:-1].reshape(num_classes, num_classes)
        self.scores = scores(self.confusion)
        self.top5 = float(self.total[-1] / self.total[:-1].sum()) if num_classes > TOP else None
        values = {"top1": self.scores.pixel_accuracy, "top5": self.top5, "mAcc": self.scores.mean_accuracy}
        return {name: percent(value) for name, value in values.items() if value is not None}

    def report(self) -> dict:
        """The numbers, and the accuracy (percent, None without images) and the number of images of every class."""
        return {
            **self.values,
            "Acc": dict(zip(self.classes, map(percent, self.scores.accuracy), strict=True)),
            "counts": dict(zip(self.classes, self.confusion.sum(1).tolist(), strict=True)),
        }

    def table(self) -> Table:
        """Accuracy and number of images by class (of more than 40 classes the lowest ones), and the totals."""
        report = self.report()
        accuracy, counts = report["Acc"], report["counts"]
        rows = [(name, cell(accuracy[name]), str(counts[name])) for name in shown_classes(accuracy)]
        total = str(sum(counts.values()))
        titles = {"top1": "all images, top 1", "top5": "all images, top 5", "mAcc": "mean of the classes"}
        totals = [(title, cell(report[key]), total) for key, title in titles.items() if key in report]
        return Table(("class", "accuracy %", "images"), rows, totals)

    def write(self, out: Path) -> list[str]:
        """Write confusion.csv (rows ground truth) and worst/NN_TRUTH_as_OTHER_<id>.jpg.

        Up to 100 classes, the matrix is also drawn as confusion.png.
        """
        classes = self.classes
        with open(out / "confusion.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["truth \\ prediction", *classes])
            writer.writerows([name, *row] for name, row in zip(classes, self.confusion.tolist(), strict=True))
        if len(classes) <= MOST_DRAWN:
            confusion_picture(out / "confusion.png", self.confusion.numpy(), classes)
        names = [
            f"{classes[item.truth]}_as_{classes[item.prediction]}_{Path(item.id).name}".replace("/", "_")
            for item in self.worst
        ]
        write_worst(out, zip(names, (draw_misjudged(item, classes) for item in self.worst), strict=True))
        return ["confusion.csv", *(["confusion.png"] if len(classes) <= MOST_DRAWN else []), "worst/"]

    def _keep(self, sample: dict, chance: float, prediction: int) -> None:
        label, meta = sample["label"], sample["meta"]
        if prediction != label:
            item = MisjudgedImage(chance, meta["id"], meta["path"], meta.get("box_xyxy"), label, prediction)
            self.keep_worst(chance, item.id, lambda: item)


def draw_misjudged(item: MisjudgedImage, classes: tuple[str, ...]) -> np.ndarray:
    """(H, W, 3) RGB: the image below a title with its true and its predicted class."""
    image = read_image(item.path)
    if item.box_xyxy is not None:
        image = cut_square(image, item.box_xyxy)
    title = f"{classes[item.truth]} ({100 * item.chance:.1f} %) as {classes[item.prediction]}"
    return panel([np.ascontiguousarray(image.permute(1, 2, 0).numpy())], [title])
