"""Accuracy of classifiers: a confusion matrix of images, summed exactly over any number of processes."""

import csv
import heapq
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from torch import Tensor

from xseg.data.read.images import read_image
from xseg.data.transforms.labels import cut_square
from xseg.drawing import confusion_picture, panel, write_image
from xseg.evaluation.confusion import Scores, scores
from xseg.evaluation.tables import Table, cell, percent

TOP = 5
MOST_ROWS = 40  # of classes in a table on the screen
MOST_DRAWN = 100  # classes in the picture of a confusion matrix


class MisjudgedImage(NamedTuple):
    """One of the images whose true class got the least probability, kept for its picture."""

    chance: float  # of the true class
    id: str
    path: str
    box_xyxy: tuple[int, int, int, int] | None  # where the image is cut out of the file
    truth: int
    prediction: int


def count_pairs(prediction: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """(N,) int64 predictions and labels below num_classes -> (num_classes, num_classes) int64, rows ground truth."""
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        wrong = labels[(labels < 0) | (labels >= num_classes)][0]
        raise ValueError(f"labels must be in 0..{num_classes - 1}, got {int(wrong)}")
    return torch.bincount(labels * num_classes + prediction, minlength=num_classes**2).reshape(num_classes, num_classes)


def rank_of_truth(scores: Tensor, labels: Tensor) -> Tensor:
    """How many classes stand before the true one: (N, C) scores, (N,) labels -> (N,), 0 the best.

    Of equal scores the lower index stands first, so that a model that tells nothing is not right everywhere; nor is
    one that gives NaN.
    """
    own = scores.gather(1, labels[:, None])
    index = torch.arange(scores.shape[1], device=scores.device)
    return (~(scores <= own) | ((scores == own) & (index < labels[:, None]))).sum(1)


@METRICS.register_module()
class ClassificationMetric(BaseMetric):
    """Accuracy "top1", with more than five classes "top5", and mean class accuracy "mAcc", in percent.

    The state is one confusion matrix and one count, summed over processes, and the `num_worst` wrongly classified
    images of least probability. After `evaluate`, `confusion`, `scores`, `top5` (a share, or None) and `worst` hold
    what the numbers come from.

    Args:
        num_worst: images to keep for a look.
    """

    default_prefix = ""  # keys as they stand above; None has mmengine warn

    def __init__(self, num_worst: int = 0):
        super().__init__(collect_device="cpu")
        self.num_worst = num_worst
        self.confusion: Tensor | None = None
        self.scores: Scores | None = None
        self.top5: float | None = None
        self.worst: list[MisjudgedImage] = []
        self._running: Tensor | None = None  # (C * C + 1,): the matrix, and the images with the truth in the top five
        self._heap: list[tuple[float, int, MisjudgedImage]] = []

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        chances = torch.stack([result["scores"] for result in data_samples])  # (N, C)
        labels = torch.tensor([sample["label"] for sample in data_batch["samples"]], device=chances.device)
        prediction = chances.argmax(1)
        confusion = count_pairs(prediction, labels, chances.shape[1])
        hits = (rank_of_truth(chances, labels) < TOP).sum()
        counts = torch.cat([confusion.flatten(), hits[None]])
        self._running = counts if self._running is None else self._running + counts
        if self.num_worst:
            rows = zip(data_batch["samples"], chances.cpu(), prediction.tolist(), strict=True)
            for sample, of_classes, predicted in rows:
                self._keep(sample, float(of_classes[sample["label"]]), predicted)

    def evaluate(self, size: int) -> dict:
        """Sum over processes, report, and start anew. `size` is not needed: nothing was padded."""
        num_classes = len(self.dataset_meta["classes"])
        total = self._running
        if total is None:  # this process had no image
            total = torch.zeros(num_classes**2 + 1, dtype=torch.int64)
        if torch.distributed.is_initialized() and torch.distributed.get_backend() == "nccl":
            total = total.cuda()
        all_reduce(total)
        total = total.cpu()
        self.confusion = total[:-1].reshape(num_classes, num_classes)
        self.scores = scores(self.confusion)
        self.top5 = float(total[-1] / total[:-1].sum()) if num_classes > TOP else None
        kept = [item for items in all_gather_object([item for _, _, item in self._heap]) for item in items]
        self.worst = sorted(kept, key=lambda item: (item.chance, item.id))[: self.num_worst]
        self._running, self._heap = None, []
        return self.compute_metrics([])

    def compute_metrics(self, results: list) -> dict[str, float]:
        if self.scores.pixel_accuracy is None:
            raise ValueError("there was no image to evaluate; look at the folder and split of val_dataloader.dataset")
        values = {"top1": self.scores.pixel_accuracy, "top5": self.top5, "mAcc": self.scores.mean_accuracy}
        return {name: percent(value) for name, value in values.items() if value is not None}

    def report(self) -> dict:
        """The numbers in percent, and for each class its accuracy (None where it has no image) and its images."""
        classes = self.dataset_meta["classes"]
        return {
            **self.compute_metrics([]),
            "Acc": dict(zip(classes, map(percent, self.scores.accuracy), strict=True)),
            "counts": dict(zip(classes, self.confusion.sum(1).tolist(), strict=True)),
        }

    def table(self) -> Table:
        """Accuracy and images of every class, of many classes those of least accuracy; and the totals."""
        report = self.report()
        names = list(report["Acc"])
        if len(names) > MOST_ROWS:
            names = sorted((n for n in names if report["Acc"][n] is not None), key=report["Acc"].get)[:MOST_ROWS]
        rows = [(name, cell(report["Acc"][name]), str(report["counts"][name])) for name in names]
        total = str(sum(report["counts"].values()))
        titles = {"top1": "all images, top 1", "top5": "all images, top 5", "mAcc": "mean of the classes"}
        totals = [(title, cell(report[key]), total) for key, title in titles.items() if key in report]
        return Table(("class", "accuracy %", "images"), rows, totals)

    def write(self, out: Path) -> list[str]:
        """confusion.csv (rows ground truth), up to 100 classes confusion.png, and worst/NN_TRUTH_as_OTHER_<id>.jpg."""
        classes = self.dataset_meta["classes"]
        with open(out / "confusion.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["truth \\ prediction", *classes])
            writer.writerows([name, *row] for name, row in zip(classes, self.confusion.tolist(), strict=True))
        if len(classes) <= MOST_DRAWN:
            confusion_picture(out / "confusion.png", self.confusion.numpy(), classes)
        for stale in out.glob("worst/*.jpg"):
            stale.unlink()
        for rank, item in enumerate(self.worst, start=1):
            judged = f"{classes[item.truth]}_as_{classes[item.prediction]}_{Path(item.id).name}".replace("/", "_")
            write_image(out / "worst" / f"{rank:02d}_{judged}.jpg", draw_misjudged(item, classes))
        return ["confusion.csv", *(["confusion.png"] if len(classes) <= MOST_DRAWN else []), "worst/"]

    def _keep(self, sample: dict, chance: float, prediction: int) -> None:
        full = len(self._heap) == self.num_worst
        if prediction == sample["label"] or (full and chance >= -self._heap[0][0]):
            return
        meta = sample["meta"]
        item = MisjudgedImage(chance, meta["id"], meta["path"], meta.get("box_xyxy"), sample["label"], prediction)
        (heapq.heapreplace if full else heapq.heappush)(self._heap, (-chance, id(item), item))


def draw_misjudged(item: MisjudgedImage, classes: tuple[str, ...]) -> np.ndarray:
    """(H, W, 3) RGB: the image under what it is and what it was taken for."""
    image = read_image(item.path)
    if item.box_xyxy is not None:
        image = cut_square(image, item.box_xyxy)
    title = f"{classes[item.truth]} ({100 * item.chance:.1f} %) as {classes[item.prediction]}"
    return panel([np.ascontiguousarray(image.permute(1, 2, 0).numpy())], [title])
