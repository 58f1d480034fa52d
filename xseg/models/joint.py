"""JointModel: segmentation and detection with one backbone."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.contract import DetectionHead, Instances, SegmentationHead, Selection
from heads.detection.rcnn import MaskRCNN
from heads.kernels.upsampling import CoarseLogits, labels_of, upsample
from heads.panoptic import Merging, merge
from xseg.models.detector import fit, in_original_pixels, target_of
from xseg.models.losses import CrossEntropy, named_terms
from xseg.models.model import Model, build
from xseg.models.preprocessor import right_below
from xseg.models.segmentor import pixel_losses


class JointModel(Model):
    """A class for each pixel, and boxes for the classes that are things. With instance masks, also a panoptic map.

    `forward(images, samples, mode)` by mode:
        "loss": dict of scalar losses of both heads; samples hold the targets of `Segmentor` and `Detector`.
        "predict": for each sample dict(mask, instances, meta), as `Segmentor` and `Detector` predict them, in pixels of
            the original image. A detection head with masks adds panoptic (`heads.panoptic.Panoptic`).
        "tensor": (logits (N, num_classes, H, W), the detection head's raw output) of normalised images.

    The backbone runs once per image, for both heads.

    Args:
        backbone, preprocessor, channels_last, compiled: see `Model`.
        head: a segmentation head or its config.
        detection_head: a detection head or its config.
        things: for each label of `detection_head`, the index of its class in `head`. A config may leave this to the
            data set.
        detection_from: index of the first map of the backbone that `detection_head` reads; `head` reads all maps.
        losses: losses of the pixels, see `Segmentor`.
        size, selection: see `Detector`.
        merging: dict of `heads.panoptic.Merging`: score_threshold, overlap, min_stuff_area.
    """

    head_contract = SegmentationHead
    finds_objects = True
    training_parts = ("losses",)
    export_obstacle = "two heads, as a JointModel has"

    def __init__(
        self,
        backbone: nn.Module | dict,
        head: nn.Module | dict,
        detection_head: nn.Module | dict,
        things: Sequence[int],
        detection_from: int = 0,
        losses: Sequence[dict] = (),
        preprocessor: nn.Module | dict | None = None,
        size: Sequence[int] | None = None,
        selection: dict | None = None,
        merging: dict | None = None,
        channels_last: bool = False,
        compiled: bool = False,
    ):
        super().__init__(backbone, head, preprocessor, channels_last, compiled)
        self.detection_from = detection_from
        self.add_head("detection_head", detection_head, DetectionHead, first_level=detection_from)
        self.things = tuple(things)
        if len(self.things) != self.detection_head.num_classes or not set(self.things) <= set(range(self.num_classes)):
            raise ValueError(
                f"things must name one of the {self.num_classes} classes for each of the "
                f"{self.detection_head.num_classes} labels of detection_head, got {self.things}"
            )
        self.losses = nn.ModuleList(build(loss) for loss in losses or [{"type": CrossEntropy}])
        self.size = None if size is None else tuple(size)
        self.selection, self.merging = Selection(**(selection or {})), Merging(**(merging or {}))
        self.task = "panoptic" if isinstance(self.detection_head, MaskRCNN) else "joint"

    @property
    def align_corners(self) -> bool:
        return self.head.align_corners

    def outputs(self, images: Tensor) -> tuple[Tensor, object]:
        padded = self.padded(images)
        logits, raw = self.raw(padded)
        logits = upsample(logits, padded.shape[-2:], self.align_corners)
        return logits[..., : images.shape[-2], : images.shape[-1]], raw

    def raw(self, images: Tensor) -> tuple[Tensor, object]:
        """Logits of the segmentation head at its own resolution, and the raw output of the detection head."""
        features = self.maps(images)
        return self.head(features), self.detection_head(features[self.detection_from :])

    def loss(self, images: Tensor, samples: Sequence[dict]) -> dict[str, Tensor]:
        """Losses of both heads, named as in `Segmentor` and `Detector`."""
        padded = self.padded(images)
        masks = torch.stack([sample["mask"] for sample in samples])
        masks = F.pad(masks, right_below(masks, *padded.shape[-2:]), value=255)
        features = self.maps(padded)
        pixels = pixel_losses(self.head, self.losses, features, masks)
        output = self.detection_head(features[self.detection_from :])
        objects = self.detection_head.loss(output, [target_of(sample) for sample in samples])
        return named_terms([*pixels.items(), *objects.items()])

    def predict_batch(self, images: Tensor, samples: Sequence[dict]) -> list[dict]:
        padded, sizes = fit(self, images, samples)
        logits, raw = self.raw(padded)
        detections = self.detection_head.decode(raw, sizes, self.selection)
        results = in_original_pixels(detections, sizes, samples)
        for result, own, sample, size_hw in zip(results, logits.split(1), samples, sizes, strict=True):
            full_hw = sample.get("meta", {}).get("size_hw", sample["input_hw"])
            fine = CoarseLogits(own, padded.shape[-2:], size_hw, self.align_corners).upsampling()
            result["mask"] = labels_of([fine.then(full_hw, align_corners=False)])[0]
            if result["instances"].masks is not None:
                result["panoptic"] = self.merged(result["mask"], result["instances"])
        return results

    def merged(self, mask: Tensor, instances: Instances):
        """The panoptic map (`heads.panoptic.Panoptic`) of the pixels' labels (H, W) and instances with masks."""
        from xseg.data.read.rle import decode_masks

        sure = instances.rows(instances.scores >= self.merging.score_threshold)
        masks = decode_masks(sure.masks, mask.shape).to(mask.device)
        labels = torch.tensor(self.things, device=mask.device)[sure.labels]
        return merge(mask, masks, labels, self.things, self.merging.overlap, self.merging.min_stuff_area)

    def result(self, prediction: dict, image: np.ndarray, path: str | PathLike | None):
        from xseg.results import JointResult

        return JointResult.of(prediction, self.classes, self.things, self.palette, image, path)
