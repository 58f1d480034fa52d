"""Mean IoU and accuracy of masks, from one confusion matrix."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.dist import is_main_process
from mmengine.registry import METRICS
from torch import Tensor

from xseg.data.read.classes import voc_palette
from xseg.data.read.images import read_image
from xseg.drawing import confusion_picture, legend, overlay, panel
from xseg.evaluation.confusion import Scores, confusion_matrix, scores
from xseg.evaluation.metric import Metric, write_worst
from xseg.evaluation.tables import Table, cell, percent


class WorstImage(NamedTuple):
    """An image with a low mean IoU, kept for its picture."""

    mean_iou: float
    id: int | str
    path: str
    truth: Tensor  # (H, W) uint8 on the CPU
    prediction: Tensor


@METRICS.register_module()
class SegmentationMetric(Metric):
    """mIoU, mean accuracy (mAcc) and pixel accuracy (aAcc), in percent, as "mIoU", "mAcc", "aAcc".

    The counts are one confusion matrix. After `evaluate`, `confusion` and `scores` hold what the numbers come from, and
    `worst` the `num_worst` images of lowest mean IoU.

    Args:
        num_worst: how many of the worst images are kept for their pictures.
    """

    leading = "mIoU"

    def __init__(self, num_worst: int = 0):
        super().__init__(num_worst)
        self.confusion: Tensor | None = None
        self.scores: Scores | None = None

    def update(self, prediction: dict, sample: dict) -> None:
        mask = prediction["mask"]
        truth = sample["mask"].to(mask.device)
        counts = confusion_matrix(mask, truth, len(self.classes))
        self.add(counts)
        mean_iou = scores(counts).mean_iou if self.num_worst else None
        if mean_iou is not None:  # None: no pixel of the image is labelled
            id, path = sample["meta"]["id"], sample["meta"]["path"]
            self.keep_worst(mean_iou, id, lambda: WorstImage(mean_iou, id, path, truth.cpu(), mask.cpu()))

    def compute(self) -> dict[str, float]:
        self.confusion, self.scores = self.total, scores(self.total)
        if self.scores.mean_iou is None:
            raise ValueError("the evaluated masks hold no labelled pixel; `xseg data check` shows what they hold")
        if is_main_process() and self.scores.absent:
            from mmengine.logging import print_log

            print_log(absent_line(self.classes, self.scores), logger="current")
        s = self.scores
        return dict(mIoU=percent(s.mean_iou), mAcc=percent(s.mean_accuracy), aAcc=percent(s.pixel_accuracy))

    def report(self) -> dict:
        """All scores in percent (None where `Scores` has None), the absent classes, and the confusion matrix."""
        classes, s = self.classes, self.scores
        return {
            **self.values,
            "IoU": dict(zip(classes, map(percent, s.iou), strict=True)),
            "Acc": dict(zip(classes, map(percent, s.accuracy), strict=True)),
            "absent": [classes[index] for index in s.absent],
            "confusion": self.confusion.tolist(),
        }

    def table(self) -> Table:
        """IoU and accuracy by class, and their means."""
        report = self.report()
        return Table(
            ("class", "IoU %", "accuracy %"),
            [(name, cell(report["IoU"][name]), cell(report["Acc"][name])) for name in report["IoU"]],
            [("mean", cell(report["mIoU"]), cell(report["mAcc"])), ("pixels", "", cell(report["aAcc"]))],
        )

    def write(self, out: Path) -> list[str]:
        """Write confusion.png, and worst/NN_iouXX_<id>.jpg with image, ground truth and prediction side by side."""
        classes = self.classes
        palette = self.dataset_meta.get("palette") or voc_palette(len(classes))
        confusion_picture(out / "confusion.png", self.confusion.numpy(), classes)
        names = [f"iou{100 * item.mean_iou:.0f}_{Path(str(item.id)).name}" for item in self.worst]
        pictures = (draw_worst(item, classes, palette) for item in self.worst)
        write_worst(out, zip(names, pictures, strict=True), stale="*_iou*.jpg")
        return ["confusion.png", "worst/"]


def absent_line(classes: Sequence[str], scores: Scores) -> str:
    """A message: which classes the ground truth lacks, and how the means treat them."""
    names = ", ".join(classes[index] for index in scores.absent)
    predicted = ", ".join(classes[index] for index in scores.absent if scores.iou[index] is not None)
    means = f"mAcc leaves them out; mIoU counts the predicted ones as 0: {predicted}"
    return f"Not in the ground truth: {names}. {means if predicted else 'mAcc and mIoU leave them out'}"


def draw_worst(item: WorstImage, classes: tuple[str, ...], palette: list[tuple[int, int, int]]) -> np.ndarray:
    """(H, W, 3) RGB: image, ground truth and prediction side by side above a legend."""
    image = read_image(item.path).permute(1, 2, 0).numpy()
    truth, prediction = item.truth.numpy(), item.prediction.numpy()
    tiles = [image, overlay(image, truth, palette), overlay(image, prediction, palette)]
    picture = panel(tiles, ["image", "ground truth", f"prediction, mIoU {100 * item.mean_iou:.1f}"])
    shown = sorted({*truth[truth < 255].flatten().tolist(), *prediction.flatten().tolist()})
    key = legend([classes[i] for i in shown], [palette[i] for i in shown], picture.shape[1])
    return np.vstack([picture, key])
