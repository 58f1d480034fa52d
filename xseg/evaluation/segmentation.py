"""The mmengine metric around `confusion_matrix`: bounded state, exact over any number of processes."""

import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from torch import Tensor

from xseg.data.read.classes import voc_palette
from xseg.data.read.images import read_image
from xseg.drawing import confusion_picture, legend, overlay, panel, write_image
from xseg.evaluation.confusion import Scores, confusion_matrix, scores
from xseg.evaluation.tables import Table, cell, percent


class WorstImage(NamedTuple):
    """One of the images with the lowest mean IoU, kept for its picture."""

    mean_iou: float
    id: int | str
    path: str
    truth: Tensor  # (H, W) uint8 on the CPU
    prediction: Tensor


@METRICS.register_module()
class SegmentationMetric(BaseMetric):
    """mIoU, mean accuracy (mAcc) and pixel accuracy (aAcc), in percent, as "mIoU", "mAcc", "aAcc".

    The state is one confusion matrix, summed over processes, and the `num_worst` images of lowest mean IoU. After
    `evaluate`, `confusion`, `scores` and `worst` hold what the numbers come from.

    Args:
        num_worst: images to keep for a look.
    """

    default_prefix = ""  # keys as they stand above; None has mmengine warn

    def __init__(self, num_worst: int = 0):
        super().__init__(collect_device="cpu")
        self.num_worst = num_worst
        self.confusion: Tensor | None = None
        self.scores: Scores | None = None
        self.worst: list[WorstImage] = []
        self._running: Tensor | None = None
        self._heap: list[tuple[float, int, WorstImage]] = []

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        num_classes = len(self.dataset_meta["classes"])
        for sample, result in zip(data_batch["samples"], data_samples, strict=True):
            prediction = result["mask"]
            truth = sample["mask"].to(prediction.device)
            counts = confusion_matrix(prediction, truth, num_classes)
            self._running = counts if self._running is None else self._running + counts
            if self.num_worst:
                self._keep(counts, sample["meta"], truth, prediction)

    def evaluate(self, size: int) -> dict:
        """Sum over processes, report, and start anew. `size` is not needed: nothing was padded."""
        num_classes = len(self.dataset_meta["classes"])
        total = self._running
        if total is None:  # this process had no image
            total = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        if torch.distributed.is_initialized() and torch.distributed.get_backend() == "nccl":
            total = total.cuda()
        all_reduce(total)
        self.confusion, self.scores = total.cpu(), scores(total)
        kept = [item for items in all_gather_object([item for _, _, item in self._heap]) for item in items]
        self.worst = sorted(kept, key=lambda item: (item.mean_iou, item.id))[: self.num_worst]
        self._running, self._heap = None, []
        return self.compute_metrics([])

    def compute_metrics(self, results: list) -> dict[str, float]:
        if self.scores.mean_iou is None:
            raise ValueError("the evaluated masks hold no labelled pixel; `xseg data check` shows what they hold")
        if is_main_process() and self.scores.absent:
            from mmengine.logging import print_log

            print_log(absent_line(self.dataset_meta["classes"], self.scores), logger="current")
        return {
            "mIoU": round(100 * self.scores.mean_iou, 4),
            "mAcc": round(100 * self.scores.mean_accuracy, 4),
            "aAcc": round(100 * self.scores.pixel_accuracy, 4),
        }

    def report(self) -> dict:
        """All scores as plain values in percent, None where `Scores` has None; and the counts."""
        classes, s = self.dataset_meta["classes"], self.scores
        return {
            "mIoU": percent(s.mean_iou),
            "mAcc": percent(s.mean_accuracy),
            "aAcc": percent(s.pixel_accuracy),
            "IoU": dict(zip(classes, map(percent, s.iou), strict=True)),
            "Acc": dict(zip(classes, map(percent, s.accuracy), strict=True)),
            "absent": [classes[index] for index in s.absent],
            "confusion": self.confusion.tolist(),
        }

    def table(self) -> Table:
        """IoU and accuracy of every class, and their means."""
        report = self.report()
        return Table(
            ("class", "IoU %", "accuracy %"),
            [(name, cell(report["IoU"][name]), cell(report["Acc"][name])) for name in report["IoU"]],
            [("mean", cell(report["mIoU"]), cell(report["mAcc"])), ("pixels", "", cell(report["aAcc"]))],
        )

    def write(self, out: Path) -> list[str]:
        """confusion.png and worst/NN_iouXX_<id>.jpg: image, ground truth, prediction."""
        classes = self.dataset_meta["classes"]
        palette = self.dataset_meta.get("palette") or voc_palette(len(classes))
        confusion_picture(out / "confusion.png", self.confusion.numpy(), classes)
        for stale in out.glob("worst/*_iou*.jpg"):
            stale.unlink()
        for rank, item in enumerate(self.worst, start=1):
            name = f"{rank:02d}_iou{100 * item.mean_iou:.0f}_{Path(str(item.id)).name}.jpg"
            write_image(out / "worst" / name, draw_worst(item, classes, palette))
        return ["confusion.png", "worst/"]

    def _keep(self, counts: Tensor, meta: dict, truth: Tensor, prediction: Tensor) -> None:
        mean_iou = scores(counts).mean_iou
        if mean_iou is None:
            return  # nothing labelled in this image
        full = len(self._heap) == self.num_worst
        if full and mean_iou >= -self._heap[0][0]:
            return
        item = WorstImage(mean_iou, meta["id"], meta["path"], truth.cpu(), prediction.cpu())
        entry = (-mean_iou, id(item), item)
        (heapq.heapreplace if full else heapq.heappush)(self._heap, entry)


def absent_line(classes: Sequence[str], scores: Scores) -> str:
    """Which classes the ground truth lacks, and how the means treat them."""
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
