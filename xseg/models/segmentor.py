"""Segmentor: a backbone, a head and their losses as one mmengine model with three modes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.contract import SegmentationHead, check_head
from heads.kernels.upsampling import CoarseLogits, upsample
from xseg.models.inference import Inference
from xseg.models.losses import CrossEntropy, named_terms, weighted_losses
from xseg.models.memory import fitting
from xseg.models.model import Model, build


class Segmentor(Model):
    """Semantic segmentation: one label a pixel, in the pixels of the original image.

    `forward(images, samples, mode)` by mode:
        "loss": dict of scalar losses, for training.
        "predict": one dict(mask=(H, W) uint8 on the device, meta) a sample, at the original image's size.
        "tensor": logits (N, num_classes, H, W) of normalised images, for export and benchmarks.

    Args:
        backbone: a module by contract (`channels`, `strides`, `set_output_stride`), or the config of one.
        head: the config of a head; its `in_channels` and `in_strides` come from the backbone.
        losses: configs of the losses, summed by their weights; default cross-entropy.
        aux_head: the config of a second head for training, as `FCNHead`; `aux_weight` is the weight of its losses.
        preprocessor: mean and std; default Xception's.
        inference: windows, scales, flip; default the whole image once, or windows where its memory is not free.
        channels_last: memory layout of weights and images; faster with tensor cores, AMX and depthwise convolutions.
        compiled: run backbone and heads through `torch.compile`.
    """

    head_contract = SegmentationHead

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
        super().__init__(backbone, head, preprocessor)
        self.aux_head = aux_head and check_head(build(aux_head, **self.features), SegmentationHead)
        self.aux_weight = aux_weight
        self.losses = nn.ModuleList(build(loss) for loss in losses or [{"type": CrossEntropy}])
        self.inference = build(inference) or Inference()
        self.channels_last = channels_last
        if channels_last:
            self.to(memory_format=torch.channels_last)
        if compiled:
            for module in filter(None, (self.backbone, self.head, self.aux_head)):
                module.compile()

    @property
    def hub_tasks(self) -> tuple[str, ...]:
        return ("image-segmentation", "semantic-segmentation")

    def set_head_strides(self) -> None:
        super().set_head_strides()
        if self.aux_head is not None:
            self.aux_head.set_strides(self.backbone.strides)

    def forward(self, images: Tensor, samples: list[dict] | None = None, mode: str = "tensor"):
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        if mode == "loss":
            return self.loss(images, samples)
        if mode == "predict":
            return self.predict_batch(images, samples)
        if mode == "tensor":
            return self.logits(images)
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def loss(self, images: Tensor, samples: list[dict]) -> dict[str, Tensor]:
        """Losses of the head and, as `aux_…`, of the auxiliary head."""
        masks = torch.stack([sample["mask"] for sample in samples])
        features = self.backbone(images)
        losses = pixel_losses(self.head, self.losses, features, masks)
        if self.aux_head is not None:
            aux = pixel_losses(self.aux_head, self.losses, features, masks)
            losses |= {f"aux_{name}": self.aux_weight * value for name, value in aux.items()}
        return losses

    def logits(self, images: Tensor) -> Tensor:
        """Logits at the size of the images, whatever that is."""
        coarse, padded_hw, (height, width), align_corners = self.coarse_logits(images)
        return upsample(coarse, padded_hw, align_corners)[..., :height, :width]

    def coarse_logits(self, images: Tensor) -> CoarseLogits:
        """The head's logits, and where they lie in the images.

        Maps sit at k * stride, so an image whose corners are to be aligned is padded to k * stride + 1 pixels
        (513, 769, 1025 x 2049), any other to k * stride.
        """
        height, width = images.shape[-2:]
        stride, extra = max(self.backbone.strides), int(self.head.align_corners)
        padded_h, padded_w = (size + (extra - size) % stride for size in (height, width))
        padded = F.pad(images, (0, padded_w - width, 0, padded_h - height))
        logits = self.head(self.backbone(padded))
        return CoarseLogits(logits, (padded_h, padded_w), (height, width), self.head.align_corners)

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


def pixel_losses(
    head: nn.Module, losses: Iterable[nn.Module], features: Sequence[Tensor], masks: Tensor
) -> dict[str, Tensor]:
    """Each loss of a head's logits, upsampled to the masks (N, H, W), times its weight."""
    losses = list(losses)
    values = weighted_losses(losses, head(features), masks, head.align_corners)
    return named_terms(zip(map(loss_name, losses), values, strict=True))


def loss_name(loss: nn.Module) -> str:
    """Name of the kind of loss in the log: loss_ce, loss_dice, …"""
    name = type(getattr(loss, "loss", loss)).__name__
    return "loss_" + name.removesuffix("Loss").replace("CrossEntropy", "Ce").lower()
