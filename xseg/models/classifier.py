"""Classifier: a backbone and a classification head as one mmengine model with three modes."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as TF
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode

from xseg.models.model import Model, as_image


class Classifier(Model):
    """Image classification: one label an image.

    `forward(images, samples, mode)` by mode:
        "loss": dict(loss_ce), for training; a sample's `label` is its class index.
        "predict": one dict(scores=(num_classes,) probabilities, meta) a sample.
        "tensor": logits (N, num_classes) of normalised images.

    Args:
        backbone: a module by contract, or the config of one; its deepest level is classified.
        head: the config of a head; its `in_channels` and `in_strides` come from the backbone.
        preprocessor: mean and std; default Xception's.
        crop_size: of the square that `predict` cuts out of the middle, in pixels.
        crop_share: which share of the shorter edge that square covers.
    """

    def __init__(
        self,
        backbone: nn.Module | dict,
        head: nn.Module | dict,
        preprocessor: nn.Module | dict | None = None,
        crop_size: int = 299,
        crop_share: float = 0.903,
        label_smoothing: float = 0.0,
    ):
        super().__init__(backbone, head, preprocessor)
        self.crop_size, self.crop_share, self.label_smoothing = crop_size, crop_share, label_smoothing

    def forward(self, images: Tensor, samples: Sequence[dict] | None = None, mode: str = "tensor"):
        logits = self.head(self.backbone(images))
        if mode == "tensor":
            return logits
        if mode == "loss":
            labels = torch.tensor([sample["label"] for sample in samples], device=logits.device)
            return {"loss_ce": F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)}
        if mode == "predict":
            scores = logits.float().softmax(1)
            return [{"scores": s, "meta": sample.get("meta", {})} for s, sample in zip(scores, samples, strict=True)]
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    @torch.inference_mode()
    def predict(self, image: str | PathLike | np.ndarray | Tensor):
        """Classify one image: a path, an (H, W, 3) RGB uint8 array, or a (3, H, W) RGB uint8 tensor."""
        from xseg.results import ClassificationResult

        image, path = as_image(image)
        self.eval()
        data = self.data_preprocessor({"images": [self.crop(image)], "samples": [{}]})
        scores = self.forward(**data, mode="predict")[0]["scores"].cpu().numpy()
        return ClassificationResult(scores, self.classes, path=path)

    def crop(self, image: Tensor) -> Tensor:
        """Resize the shorter edge to crop_size / crop_share (bicubic), then cut the middle square out."""
        shorter = int(self.crop_size / self.crop_share)
        resized = TF.resize(image, [shorter], InterpolationMode.BICUBIC, antialias=True)
        return TF.center_crop(resized, [self.crop_size])
