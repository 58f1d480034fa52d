"""Classifier: a model for image classification, with one label or several."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2

from heads.contract import ClassifierHead
from xseg.deploy.form import ExportForm, logits_form
from xseg.models.model import Model


class Classifier(Model):
    """Image classification: one label per image, or any number of labels with `multi_label`.

    `forward(images, samples, mode)` by mode:
        "loss": dict(loss_ce), for training; a sample's `label` is its class index. With `multi_label` dict(loss_bce),
            and `label` is a (num_classes,) tensor of 0 and 1.
        "predict": for each sample dict(scores=(num_classes,) probabilities, meta). They sum to 1 unless `multi_label`.
        "tensor": logits (N, num_classes) of normalised images.

    Args:
        backbone: see `Model`; its deepest map is classified.
        head, preprocessor, channels_last, compiled: see `Model`.
        crop_size: edge in pixels of the centre crop that `predict` classifies.
        crop_share: the share of the image's shorter edge that the crop covers; the image is resized accordingly.
        label_smoothing: share of the probability that is spread over all classes; with `multi_label` over yes and no.
        class_weights: one factor per class in the loss; the mean is weighted by the factors too. When training starts,
            "balanced" in a config is replaced by `xseg.data.balance.balanced_label_weights` of the training data.
        mixup, cutmix: alpha of their Beta distributions, 0 for none. With both, each batch uses one of them at random
            (Zhang et al. 2017, arXiv:1710.09412; Yun et al. 2019, arXiv:1905.04899).
        multi_label: sigmoid and binary cross-entropy instead of softmax and cross-entropy.
    """

    head_contract = ClassifierHead

    def __init__(
        self,
        backbone: nn.Module | dict,
        head: nn.Module | dict,
        preprocessor: nn.Module | dict | None = None,
        crop_size: int = 299,
        crop_share: float = 0.903,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | str | None = None,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        multi_label: bool = False,
        channels_last: bool = False,
        compiled: bool = False,
    ):
        super().__init__(backbone, head, preprocessor, channels_last, compiled)
        self.crop_size, self.crop_share, self.label_smoothing = crop_size, crop_share, label_smoothing
        self.uncounted = isinstance(class_weights, str)  # a model that only predicts
        if self.uncounted and class_weights != "balanced":
            raise ValueError(f"class_weights must be one number a class or 'balanced', got {class_weights!r}")
        if class_weights is not None and not self.uncounted and len(class_weights) != self.num_classes:
            raise ValueError(f"class_weights must be {self.num_classes} numbers, one a class, got {class_weights}")
        given = class_weights is not None and not self.uncounted
        weights = torch.tensor(class_weights, dtype=torch.float32) if given else torch.ones(self.num_classes)
        self.register_buffer("class_weights", weights, persistent=False)
        self.mixing = [cls(alpha=alpha) for cls, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix)) if alpha]
        self.multi_label = multi_label

    @property
    def task(self) -> str:
        return "multilabel" if self.multi_label else "classification"

    def outputs(self, images: Tensor) -> Tensor:
        return self.logits(images)

    def logits(self, images: Tensor) -> Tensor:
        return self.head(self.maps(images))

    def predict_batch(self, images: Tensor, samples: Sequence[dict]) -> list[dict]:
        logits = self.logits(images).float()
        scores = logits.sigmoid() if self.multi_label else logits.softmax(1)
        return [{"scores": s, "meta": sample.get("meta", {})} for s, sample in zip(scores, samples, strict=True)]

    def loss(self, images: Tensor, samples: Sequence[dict]) -> dict[str, Tensor]:
        if self.uncounted:
            raise ValueError(
                "class_weights='balanced' is resolved by xseg.train only; elsewhere give one number a class"
            )
        targets = self.targets(samples).to(images.device)  # (N, num_classes)
        images, targets = self.mix(images, targets)
        logits = self.logits(images).float()
        if self.multi_label:
            targets = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
            loss = F.binary_cross_entropy_with_logits(logits, targets, weight=self.class_weights)
            return {"loss_bce": loss}
        return {"loss_ce": soft_cross_entropy(logits, targets, self.class_weights, self.label_smoothing)}

    def targets(self, samples: Sequence[dict]) -> Tensor:
        """(N, num_classes) float32 probabilities of the samples' labels."""
        shape = (self.num_classes,) if self.multi_label else ()
        labels = [torch.as_tensor(sample["label"]) for sample in samples]
        if wrong := [label for label in labels if label.shape != shape]:
            wanted = f"{self.num_classes} numbers, 0 or 1" if self.multi_label else "one class index"
            raise ValueError(
                f"with multi_label={self.multi_label} a sample's label must be {wanted}, got shape "
                f"{tuple(wrong[0].shape)}; change multi_label or the data set"
            )
        labels = torch.stack(labels)
        if self.multi_label:
            return labels.float()
        return F.one_hot(labels, self.num_classes).float()

    def mix(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mix every image and its targets with the previous one of the batch, by mixup or cutmix if configured."""
        if not self.mixing:
            return images, targets
        return self.mixing[int(torch.randint(len(self.mixing), ()))](images, targets)

    def prepare(self, image: Tensor) -> Tensor:
        return self.crop(image)

    def result(self, prediction: dict, image: np.ndarray, path: str | PathLike | None):
        from xseg.results import ClassificationResult

        scores = prediction["scores"].cpu().numpy()
        return ClassificationResult(scores, self.classes, path, self.multi_label, image)

    def crop(self, image: Tensor) -> Tensor:
        """The centre crop that is classified, the same as `CentreCrop` in a config cuts for evaluation."""
        from xseg.data.transforms.labels import centre_crop

        return centre_crop(image, self.crop_size, self.crop_share)

    def export_form(self) -> ExportForm:
        link = "sigmoid" if self.multi_label else "softmax"
        crop = {"size": self.crop_size, "share": self.crop_share}
        return logits_form(self, output=f"logits (N, classes), before a {link}", crop=crop)


def soft_cross_entropy(logits: Tensor, targets: Tensor, class_weights: Tensor, label_smoothing: float) -> Tensor:
    """Mean cross-entropy of logits (N, C) and target probabilities (N, C), weighted by `class_weights` (C,).

    For one-hot targets it equals torch's cross-entropy of class indices. torch's cross-entropy of probabilities
    divides by N instead of by the sum of the weights.
    """
    total = F.cross_entropy(logits, targets, class_weights, reduction="sum", label_smoothing=label_smoothing)
    return total / (targets @ class_weights).sum()
