"""Scores of semantic segmentation from a confusion matrix of pixels.

Definitions as in Long et al. 2015 (arXiv:1411.4038), Section 5, and the programs of VOC and Cityscapes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

EXACT = 2**24  # pixels counted at a time: opencv counts in float32, which is exact up to here


class Scores(NamedTuple):
    """Scores of a confusion matrix, as shares in 0..1; None where there is nothing to divide by."""

    mean_iou: float | None  # over the classes that occur in the ground truth or in the prediction
    mean_accuracy: float | None  # over the classes that occur in the ground truth
    pixel_accuracy: float | None
    iou: list[float | None]  # 0: only predicted; None: neither predicted nor in the ground truth
    accuracy: list[float | None]  # None: not in the ground truth
    absent: list[int]  # classes without a pixel of ground truth


def confusion_matrix(prediction: Tensor, mask: Tensor, num_classes: int) -> Tensor:
    """Count pixels by (ground truth, prediction) in one pass.

    Args:
        prediction: (…) uint8 labels below num_classes.
        mask: (…) uint8 ground truth of the same shape; labels of num_classes and above (255) are ignored.

    Returns: (num_classes, num_classes) int64 on the same device, rows ground truth, columns prediction.
    """
    if prediction.shape != mask.shape:
        raise ValueError(f"prediction is {tuple(prediction.shape)} but the mask {tuple(mask.shape)}: sizes must agree")
    counts = _count(mask.flatten(), prediction.flatten())
    if counts[:num_classes, num_classes:].any():
        label = int(counts[:num_classes, num_classes:].sum(0).nonzero()[0]) + num_classes
        raise ValueError(f"the prediction holds label {label}, but there are {num_classes} classes")
    return counts[:num_classes, :num_classes]


def _count(mask: Tensor, prediction: Tensor) -> Tensor:
    """Count the pairs of two flat uint8 tensors: (256, 256) int64, rows mask."""
    if mask.device.type != "cpu" or mask.dtype != torch.uint8 or prediction.dtype != torch.uint8:
        pairs = mask.to(torch.int32).mul_(256).add_(prediction)
        return torch.bincount(pairs, minlength=256 * 256).reshape(256, 256)
    import cv2  # its two-channel histogram needs no array of pairs

    counts = torch.zeros(256, 256, dtype=torch.int64)
    for pair in zip(mask.split(EXACT), prediction.split(EXACT), strict=True):
        rows = [part.numpy()[None] for part in pair if len(part)]
        if rows:
            counts += torch.from_numpy(cv2.calcHist(rows, [0, 1], None, [256, 256], [0, 256, 0, 256])).long()
    return counts


def scores(confusion: Tensor) -> Scores:
    """Scores of (C, C) counts, rows ground truth; never NaN.

    As in the programs of VOC and Cityscapes, a class that is predicted but not in the ground truth has IoU 0 and counts
    in the mean. A class that is in neither does not count.
    """
    confusion = confusion.double().cpu()
    hits, truth, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    iou, accuracy = _shares(hits, truth + predicted - hits), _shares(hits, truth)
    total = confusion.sum()
    return Scores(
        mean_iou=mean_of_known(iou),
        mean_accuracy=mean_of_known(accuracy),
        pixel_accuracy=(hits.sum() / total).item() if total else None,
        iou=iou,
        accuracy=accuracy,
        absent=(truth == 0).nonzero().flatten().tolist(),
    )


def _shares(parts: Tensor, wholes: Tensor) -> list[float | None]:
    """Quotients; None where the whole is 0."""
    return [part / whole if whole else None for part, whole in zip(parts.tolist(), wholes.tolist(), strict=True)]


def mean_of_known(values: list[float | None]) -> float | None:
    """Mean of the values that are not None; None without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
