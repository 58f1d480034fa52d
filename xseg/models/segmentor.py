"""Segmentor: a model for semantic segmentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.contract import SegmentationHead
from heads.kernels.upsampling import CoarseLogits, upsample
from xseg.deploy.form import ExportForm, logits_form
from xseg.models.inference import Inference
from xseg.models.losses import CrossEntropy, named_terms, weighted_losses
from xseg.models.memory import fitting
from xseg.models.model import Model, build


class Segmentor(Model):
    """Semantic segmentation: one class for each pixel of the original image.

    `forward(images, samples, mode)` by mode:
        "loss": dict of scalar losses, for training.
        "predict": for each sample dict(mask=(H, W) uint8 on the device, meta), at the original image's size.
        "tensor": logits (N, num_classes, H, W) of normalised images, for export and benchmarks.

    Args:
        backbone, head, preprocessor, channels_last, compiled: see `Model`.
        losses: configs of the losses, which are summed with their weights; default cross-entropy.
        aux_head: config of a second head for training only, such as `FCNHead`.
        aux_weight: weight of the losses of `aux_head`.
        inference: windows, scales and flip. Default: the whole image once, or windows if the image needs more memory
            than is free.
    """

    head_contract = SegmentationHead
    task = "segmentation"
    asked_of_head = ("num_classes", "align_corners")
    training_parts = ("aux_head", "losses")

    def __init__(
        self,
        backbone: nn.Module | dict,
        head: nn.Module | dict,
        losses: Sequence[dict] = (),
        aux_head: dict | None = None,
        aux_weight: float = 0.4,
        preprocessor: nn.Module | dict | None = None,
        inference: Inference | dict | None = None,
        channels_last: bool = False,
        compiled: bool = False,
    ):
        super().__init__(backbone, head, preprocessor, channels_last, compiled)
        self.aux_head, self.aux_weight = None, aux_weight
        if aux_head is not None:
            self.add_head("aux_head", aux_head, SegmentationHead)
        self.losses = nn.ModuleList(build(loss) for loss in losses or [{"type": CrossEntropy}])
        self.inference = build(inference, type=Inference) or Inference()

    @property
    def align_corners(self) -> bool:
        return self.head.align_corners

    def loss(self, images: Tensor, samples: list[dict]) -> dict[str, Tensor]:
        """Losses of the head and, as `aux_…`, of the auxiliary head."""
        masks = torch.stack([sample["mask"] for sample in samples])
        features = self.maps(images)
        losses = pixel_losses(self.head, self.losses, features, masks)
        if self.aux_head is not None:
            aux = pixel_losses(self.aux_head, self.losses, features, masks)
            losses |= {f"aux_{name}": self.aux_weight * value for name, value in aux.items()}
        return losses

    def outputs(self, images: Tensor) -> Tensor:
        return self.logits(images)

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes, H, W) of images (N, 3, H, W) of any size."""
        coarse, padded_hw, (height, width), align_corners = self.coarse_logits(images)
        return cropped(upsample(coarse, padded_hw, align_corners), height, width)

    def coarse_logits(self, images: Tensor) -> CoarseLogits:
        """The head's logits, and the region of the images that they cover."""
        padded = self.padded(images)
        logits = self.head(self.maps(padded))
        return CoarseLogits(logits, tuple(padded.shape[-2:]), tuple(images.shape[-2:]), self.align_corners)

    def set_windows(self, window_hw: Sequence[int], **options) -> None:
        self.inference = replace(self.inference, window_hw=tuple(window_hw), **options)

    def predict_batch(self, images: Tensor, samples: list[dict]) -> list[dict]:
        labels = fitting(self, images)(self.coarse_logits, images)
        results = []
        for label, sample in zip(labels, samples, strict=True):
            height, width = sample["input_hw"]
            mask = label[:height, :width]
            meta = sample.get("meta", {"size_hw": (height, width)})
            if mask.shape != tuple(meta["size_hw"]):  # the evaluation pipeline resized the image
                mask = F.interpolate(mask[None, None].float(), meta["size_hw"], mode="nearest-exact")[0, 0].byte()
            results.append({"mask": mask, "meta": meta})
        return results

    def result(self, prediction: dict, image: np.ndarray, path: str | PathLike | None):
        from xseg.results import SegmentationResult

        return SegmentationResult(prediction["mask"].cpu().numpy(), self.classes, self.palette, image, path)

    def export_form(self) -> ExportForm:
        return logits_form(self, output="logits (N, classes, H, W), whose argmax is the class of a pixel")


def cropped(maps: Tensor, height: int, width: int) -> Tensor:
    """The first rows and columns of maps (N, C, H, W).

    `torch.export` would fix whether a slice is the whole map, so that the program refused sizes with other padding.
    """
    if torch.compiler.is_exporting():
        rows, columns = (torch.arange(size, device=maps.device) for size in (height, width))
        return maps.index_select(-2, rows).index_select(-1, columns)
    return maps[..., :height, :width]


def pixel_losses(
    head: nn.Module, losses: Iterable[nn.Module], features: Sequence[Tensor], masks: Tensor
) -> dict[str, Tensor]:
    """Weighted losses of a head by name; its logits are upsampled to the size of the masks (N, H, W)."""
    losses = list(losses)
    values = weighted_losses(losses, head(features), masks, head.align_corners)
    return named_terms(zip(map(loss_name, losses), values, strict=True))


def loss_name(loss: nn.Module) -> str:
    """Name of a loss in the log: loss_ce, loss_dice, …"""
    name = type(getattr(loss, "loss", loss)).__name__
    return "loss_" + name.removesuffix("Loss").replace("CrossEntropy", "Ce").lower()
