"""Detector: a model for object detection and instance segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.contract import DetectionHead, Instances, Selection, Target
from heads.detection.masks import paste
from heads.detection.rcnn import FasterRCNN, MaskRCNN
from xseg.deploy.form import ExportForm, detections_form
from xseg.models.model import Model, build
from xseg.models.preprocessor import right_below
from xseg.models.slices import Slices


class Detector(Model):
    """Object detection: boxes, scores, labels and, with some heads, masks, in pixels of the original image.

    `forward(images, samples, mode)` by mode:
        "loss": dict of scalar losses, for training. Samples hold boxes_xyxy, labels, and optionally iscrowd and masks,
            in pixels of the images that the training pipeline has resized.
        "predict": for each sample dict(instances, meta); `heads.contract.Instances`, masks as run lengths.
        "tensor": the head's raw output for normalised images.

    Args:
        backbone, preprocessor, channels_last, compiled: see `Model`.
        head: a detection head (`RetinaNet`, `MaskRCNN`, …) or its config. `forward(features)` returns its raw output;
            only `loss(output, targets)` and `decode(output, sizes_hw, selection)` read it.
        size: (shortest, longest) edge in pixels to which images are resized for prediction; None keeps their size.
        selection: dict of `heads.contract.Selection`: score_threshold, nms_iou, topk, max_detections.
        slices: predict in overlapping windows, see `Slices`; None for the whole image.
    """

    head_contract = DetectionHead
    finds_objects = True
    asked_of_head = ("num_classes", "decode")

    def __init__(
        self,
        backbone: nn.Module | dict,
        head: nn.Module | dict,
        preprocessor: nn.Module | dict | None = None,
        size: Sequence[int] | None = (800, 1333),
        selection: dict | None = None,
        slices: Slices | dict | None = None,
        channels_last: bool = False,
        compiled: bool = False,
    ):
        super().__init__(backbone, head, preprocessor, channels_last, compiled)
        self.size = None if size is None else tuple(size)
        self.selection = Selection(**(selection or {}))
        self.slices = build(slices, type=Slices)
        self.task = "instances" if isinstance(self.head, MaskRCNN) else "detection"

    @property
    def export_obstacle(self) -> str | None:
        if isinstance(self.head, FasterRCNN):
            return f"a second stage, as {type(self.head).__name__} has"
        return None

    def outputs(self, images: Tensor):
        return self.raw(images)

    def raw(self, images: Tensor):
        """The head's raw output for normalised images."""
        return self.head(self.maps(images))

    def loss(self, images: Tensor, samples: Sequence[dict]) -> dict[str, Tensor]:
        return self.head.loss(self.raw(images), [target_of(sample) for sample in samples])

    def set_windows(self, window_hw: Sequence[int], **options) -> None:
        self.slices = Slices(window_hw, **options)

    def predict_batch(self, images: Tensor, samples: Sequence[dict]) -> list[dict]:
        if self.slices is not None:
            return self.slices(self._whole, images, samples, self.selection)
        return self._whole(images, samples)

    def _whole(self, images: Tensor, samples: Sequence[dict]) -> list[dict]:
        inputs, sizes = fit(self, images, samples)
        detections = self.head.decode(self.raw(inputs), sizes, self.selection)
        return in_original_pixels(detections, sizes, samples)

    def result(self, prediction: dict, image: np.ndarray, path: str | PathLike | None):
        from xseg.results import DetectionResult

        return DetectionResult(prediction["instances"].numpy(), self.classes, self.palette, image, path)

    def export_form(self) -> ExportForm:
        return detections_form(
            self,
            output="boxes_xyxy (K, 4) in pixels of the input, scores (K,), labels (K,) of one image, N = 1",
            score_threshold=self.selection.score_threshold,
            resize=self.size and {"shortest": self.size[0], "longest": self.size[1]},
        )


def target_of(sample: dict) -> Target:
    """The objects of a sample, without crowds. ValueError for a box without area."""
    boxes, labels, masks = sample["boxes_xyxy"].float(), sample["labels"], sample.get("masks")
    if (crowd := sample.get("iscrowd")) is not None:
        kept = ~crowd.bool()
        boxes, labels, masks = boxes[kept], labels[kept], None if masks is None else masks[kept]
    flat = ~((boxes[:, 2:] > boxes[:, :2]).all(1) & boxes.isfinite().all(1))
    if flat.any():
        place = sample.get("meta", {}).get("path", "a sample")
        raise ValueError(f"{place}: box {boxes[flat][0].tolist()} has no area; a data set must drop or refuse it")
    return Target(boxes, labels, masks, sample.get("input_hw"))


def fit(model: Model, images: Tensor, samples: Sequence[dict]) -> tuple[Tensor, list[tuple[int, int]]]:
    """Resize the images of a batch to `model.size` and pad them right and below to `model.padded_hw`.

    Args:
        images: (N, 3, H, W), normalised. A sample's `input_hw` is the size of its image; the rest is padding.

    Returns: the new batch, and the size (height, width) of each image in it.
    """
    fitted = [image[:, :h, :w] for image, (h, w) in zip(images, (s["input_hw"] for s in samples), strict=True)]
    if model.size is not None:
        fitted = [resize_edges(image, *model.size) for image in fitted]
    sizes = [tuple(image.shape[-2:]) for image in fitted]
    padded_hw = model.padded_hw([max(edges) for edges in zip(*sizes, strict=True)])
    return torch.stack([F.pad(image, right_below(image, *padded_hw)) for image in fitted]), sizes


def in_original_pixels(
    detections: Sequence[Instances], sizes: Sequence[Sequence[int]], samples: Sequence[dict]
) -> list[dict]:
    """Scale the detections of resized images of `sizes` to the original images; one dict per sample, see `Detector`."""
    results = []
    for instances, sample, (height, width) in zip(detections, samples, sizes, strict=True):
        full_h, full_w = sample.get("meta", {}).get("size_hw", sample["input_hw"])
        boxes = instances.boxes_xyxy * instances.boxes_xyxy.new_tensor([full_w / width, full_h / height] * 2)
        masks = instances.masks
        if masks is not None:
            masks = paste_run_lengths(masks, boxes, (full_h, full_w))
        instances = instances._replace(boxes_xyxy=boxes, masks=masks)
        results.append({"instances": instances, "meta": sample.get("meta", {})})
    return results


def paste_run_lengths(masks: Tensor, boxes_xyxy: Tensor, size_hw: Sequence[int]) -> list[dict]:
    """Mask probabilities (K, S, S) in the cells of boxes (K, 4) -> K run-length masks of an image of `size_hw`."""
    from xseg.data.read.rle import encode_region

    regions = paste(masks.float().cpu(), boxes_xyxy.float().cpu(), size_hw)
    return [encode_region(pixels.numpy(), top, left, size_hw) for pixels, top, left in regions]


def resize_edges(image: Tensor, shortest: int, longest: int) -> Tensor:
    """Resize (C, H, W) so that the shorter edge is `shortest`, or less if the longer one would exceed `longest`."""
    size = image.shape[-2:]
    scale = min(shortest / min(size), longest / max(size))
    fitted = [max(1, round(edge * scale)) for edge in size]
    return F.interpolate(image[None], fitted, mode="bilinear", antialias=scale < 1)[0]
