"""The mmengine metric around `confusion_matrix`: bounded state, exact over any number of processes."""

import heapq
from typing import NamedTuple

import torch
from mmengine.dist import all_gather_object, all_reduce, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from torch import Tensor

from xseg.evaluation.confusion import Scores, confusion_matrix, scores


class WorstImage(NamedTuple):
    """One of the images with the lowest mean IoU, kept for its picture."""

    mean_iou: float
    id: str
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
            names = ", ".join(self.dataset_meta["classes"][index] for index in self.scores.absent)
            from mmengine.logging import print_log

            print_log(f"Not in the ground truth, left out of the means: {names}", logger="current")
        return {
            "mIoU": round(100 * self.scores.mean_iou, 4),
            "mAcc": round(100 * self.scores.mean_accuracy, 4),
            "aAcc": round(100 * self.scores.pixel_accuracy, 4),
        }

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
