"""Slices: small objects of large images, detected in overlapping windows.

Source: Akyon et al. 2022, "Slicing Aided Hyper Inference and Fine-tuning for Small Object Detection"
(arXiv:2202.06934). The rule for objects that a window cuts is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from heads.contract import Instances
from xseg.data.read.rle import decode_masks, encode_region
from xseg.models.inference import starts

AT_ONCE = 4  # windows that the network computes in one batch
NEAR = 2.0  # pixels: an object that comes as near to an inner edge of its window is cut by it
COVERED = 0.5  # share of the smaller object that two detections of one object have in common, if a window cuts one
CUT_COUNTS = 0.5  # the score of an object that is cut, when it competes with others for its place


@dataclass
class Slices:
    """Detect objects in overlapping windows and in the whole image, and merge what is found.

    A window is resized as a whole image is (`size` of `Detector`), so that a window of half the image shows its
    objects at twice the size. Merging is a non-maximum suppression within each class, by boxes or, where there are
    masks, by masks. An object that an inner edge of a window cuts also yields its place to an uncut one that covers
    half of it, and competes with half its score.

    Args:
        window_hw: size of a window in pixels of the image. An image that fits into one is predicted as without slices.
        overlap: minimum share of a window that overlaps the next one. It should hold the largest of the small objects.
        whole: also detect in the whole image, which finds what is larger than a window.
    """

    window_hw: Sequence[int]
    overlap: float = 0.2
    whole: bool = True

    def __post_init__(self):
        self.window_hw = tuple(self.window_hw)
        if len(self.window_hw) != 2 or min(self.window_hw) < 1:
            raise ValueError(f"a window has a height and a width of at least one pixel, got {self.window_hw}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must be a share of the window in [0, 1), got {self.overlap}")

    def windows(self, size_hw: Sequence[int]) -> list[tuple[int, int, int, int]]:
        """(top, left, bottom, right) of every window of an image."""
        axes = []
        for size, window in zip(size_hw, self.window_hw, strict=True):
            edge = min(size, window)
            axes.append([(start, start + edge) for start in starts(size, edge, self.overlap)])
        return [(top, left, bottom, right) for top, bottom in axes[0] for left, right in axes[1]]

    def __call__(
        self, predict: Callable[[Tensor, list[dict]], list[dict]], images: Tensor, samples: Sequence[dict], rule
    ) -> list[dict]:
        """What `Detector.predict_batch` returns, one image after the other.

        Args:
            predict: the prediction of a batch of whole images.
            rule: `heads.contract.Selection`, of which `nms_iou` and `max_detections` are used.

        Raises:
            ValueError: the pipeline of the data set has resized the image.
        """
        return [self._image(predict, image, sample, rule) for image, sample in zip(images, samples, strict=True)]

    def _image(self, predict, image: Tensor, sample: dict, rule) -> dict:
        height, width = sample["input_hw"]
        meta = sample.get("meta", {})
        if tuple(meta.get("size_hw", (height, width))) != (height, width):
            raise ValueError(
                f"{meta.get('path', 'an image')} has {meta['size_hw']} pixels and was resized to {(height, width)}: "
                "windows are cut from images of their own size; remove the resizing from the pipeline of the data set"
            )
        image = image[:, :height, :width]
        windows = self.windows((height, width))
        if len(windows) == 1:
            return predict(image[None], [sample])[0]
        found = [
            Found(_moved(instances, window, (height, width)), _cut(instances.boxes_xyxy, window, (height, width)))
            for window, instances in _in_windows(predict, image, windows)
        ]
        if self.whole:
            instances = predict(image[None], [sample])[0]["instances"]
            found.append(Found(instances, torch.zeros(len(instances.scores), dtype=torch.bool)))
        return {"instances": merged(found, rule.nms_iou).rows(slice(rule.max_detections)), "meta": meta}


class Found(NamedTuple):
    """The detections of a window in pixels of the image, and which of them (K,) an inner edge of the window cuts."""

    instances: Instances
    cut: Tensor


def _in_windows(predict, image: Tensor, windows: Sequence[tuple]) -> Iterator[tuple[tuple, Instances]]:
    """Every window with its detections, in pixels of the window; windows are all of one size."""
    for first in range(0, len(windows), AT_ONCE):
        some = windows[first : first + AT_ONCE]
        batch = torch.stack([image[:, top:bottom, left:right] for top, left, bottom, right in some])
        samples = [{"input_hw": tuple(batch.shape[-2:])} for _ in some]
        yield from zip(some, (found["instances"] for found in predict(batch, samples)), strict=True)


def _cut(boxes_xyxy: Tensor, window: Sequence[int], size_hw: Sequence[int]) -> Tensor:
    """(K,) bool: whether a box (K, 4), in pixels of its window, reaches an edge of it inside of the image."""
    top, left, bottom, right = window
    x0, y0, x1, y1 = boxes_xyxy.detach().float().cpu().unbind(1)
    none = torch.zeros(len(boxes_xyxy), dtype=torch.bool)
    return (
        (x0 <= NEAR if left > 0 else none)
        | (y0 <= NEAR if top > 0 else none)
        | (x1 >= right - left - NEAR if right < size_hw[1] else none)
        | (y1 >= bottom - top - NEAR if bottom < size_hw[0] else none)
    )


def _moved(instances: Instances, window: Sequence[int], size_hw: Sequence[int]) -> Instances:
    """Detections in pixels of a window -> in pixels of the image."""
    top, left, bottom, right = window
    boxes = instances.boxes_xyxy + instances.boxes_xyxy.new_tensor([left, top, left, top])
    masks = instances.masks
    if masks is not None:
        pixels = decode_masks(masks, (bottom - top, right - left)).numpy().astype(bool)
        masks = [encode_region(mask, top, left, size_hw) for mask in pixels]
    return instances._replace(boxes_xyxy=boxes, masks=masks)


def merged(found: Sequence[Found], nms_iou: float) -> Instances:
    """The detections of all windows of an image, each object once, by falling score."""
    fields = zip(*(part.instances for part in found), strict=True)
    instances = Instances(*(_joined(values) for values in fields))
    cut = torch.cat([part.cut for part in found]).numpy()
    scores, labels = instances.scores.detach().float().cpu().numpy(), instances.labels.cpu().numpy()
    kept = [
        index
        for label in np.unique(labels)
        for index in _kept(instances, np.flatnonzero(labels == label), scores, cut, nms_iou)
    ]
    kept.sort(key=lambda index: -scores[index])
    return instances.rows(torch.tensor(kept, dtype=torch.long, device=instances.scores.device))


def _joined(values: Sequence):
    if values[0] is None:
        return None
    return torch.cat(values) if isinstance(values[0], Tensor) else [item for part in values for item in part]


def _kept(instances: Instances, rows: np.ndarray, scores: np.ndarray, cut: np.ndarray, nms_iou: float) -> Iterator[int]:
    """Of the detections `rows`, all of one class, those that keep their place."""
    iou, share = overlaps(instances.rows(torch.from_numpy(rows)))
    one_is_cut = cut[rows][:, None] | cut[rows][None]
    same = (iou > nms_iou) | (one_is_cut & (share > COVERED))
    free = np.ones(len(rows), dtype=bool)
    for place in np.argsort(-scores[rows] * np.where(cut[rows], CUT_COUNTS, 1.0), kind="stable"):
        if free[place]:
            yield int(rows[place])
            free &= ~same[place]


def overlaps(instances: Instances) -> tuple[np.ndarray, np.ndarray]:
    """(K, K) intersection over union, and over the smaller one, of all pairs: of masks, or of boxes without masks."""
    if instances.masks is not None:
        from pycocotools import mask as coco_mask

        if not instances.masks:
            return np.zeros((0, 0)), np.zeros((0, 0))
        of_first = coco_mask.iou(instances.masks, instances.masks, [1] * len(instances.masks))
        return coco_mask.iou(instances.masks, instances.masks, [0] * len(instances.masks)), np.maximum(
            of_first, of_first.T
        )
    boxes = instances.boxes_xyxy.detach().float().cpu()
    iou = box_iou(boxes, boxes)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    union = (areas[:, None] + areas[None]) / (1 + iou)  # of the areas A, B and the intersection I: (A + B) - I
    return iou.numpy(), (iou * union / torch.minimum(areas[:, None], areas[None]).clamp(min=1e-9)).numpy()
