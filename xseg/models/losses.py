"""Losses of segmentation logits against class masks; a config lists them, and their weighted sum is trained.

All take logits (N, C, H, W) and masks (N, H, W) int64, leave out the pixels of `ignore_index`, and give 0 where no
pixel is left. Cross-entropy, hard-pixel mining and Dice are here; `SmpLoss` brings the others of
segmentation-models-pytorch.
"""

import inspect
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CrossEntropy(nn.Module):
    """Mean cross-entropy over the labelled pixels.

    Args:
        weight: of this loss in the sum.
        class_weights: one factor a class; the mean is then weighted by them too, as torch does. "balanced" in a config
            is replaced by `xseg.data.balance.balanced_weights` of the training data when training starts.
        label_smoothing: share of the probability spread over all classes.
    """

    def __init__(
        self,
        weight: float = 1.0,
        class_weights: Sequence[float] | str | None = None,
        label_smoothing: float = 0.0,
        ignore_index: int = 255,
    ):
        super().__init__()
        self.weight, self.label_smoothing, self.ignore_index = weight, label_smoothing, ignore_index
        self.uncounted = isinstance(class_weights, str)  # as in a model that is only to predict
        if self.uncounted and class_weights != "balanced":
            raise ValueError(f"class_weights must be one number a class or 'balanced', got {class_weights!r}")
        weights = None if class_weights is None or self.uncounted else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        total = self.pixel_losses(logits, masks, reduction="sum")
        valid = masks[masks != self.ignore_index]
        count = valid.numel() if self.class_weights is None else self.class_weights[valid].sum().item()
        return total / max(count, 1e-12)

    def pixel_losses(self, logits: Tensor, masks: Tensor, reduction: str = "none") -> Tensor:
        if self.uncounted:
            raise ValueError("class_weights='balanced' are counted by xseg.train; elsewhere give one number a class")
        return F.cross_entropy(
            logits.float(),
            masks,
            weight=self.class_weights,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction=reduction,
        )


class OhemCrossEntropy(CrossEntropy):
    """Cross-entropy over the hard pixels only: online hard example mining.

    A pixel is hard if its class has a probability under `threshold`; if fewer than `min_kept` of the labelled pixels
    are, the hardest ones make up that share.

    Source: Shrivastava et al. 2016 (arXiv:1604.03540), per pixel as in Wu et al. 2016 (arXiv:1605.06885).
    """

    def __init__(self, weight: float = 1.0, threshold: float = 0.7, min_kept: float = 1 / 16, **options):
        super().__init__(weight, **options)
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be a probability in (0, 1], got {threshold}")
        if not 0 < min_kept <= 1:
            raise ValueError(f"min_kept must be a share of the labelled pixels in (0, 1], got {min_kept}")
        self.threshold, self.min_kept = threshold, min_kept

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        valid = masks != self.ignore_index
        losses = self.pixel_losses(logits, masks)[valid]
        if losses.numel() == 0:
            return logits.sum() * 0
        with torch.no_grad():
            labels = masks.masked_fill(~valid, 0).unsqueeze(1)
            chance = logits.float().softmax(1).gather(1, labels).squeeze(1)[valid]
            kept = max(1, round(self.min_kept * chance.numel()))
            limit = chance.kthvalue(kept).values.clamp(min=self.threshold)
        return losses[chance <= limit].mean()


class Dice(nn.Module):
    """Mean over the classes of 1 - Dice, counted over the labelled pixels of the whole batch; an absent class costs 0.

    Every class weighs the same, however few its pixels. Equal to segmentation-models-pytorch's `DiceLoss`, without its
    one-hot copies of the batch.

    Source: Milletari et al. 2016 (arXiv:1606.04797), with the plain sums of Sudre et al. 2017 in the denominator.
    """

    def __init__(self, weight: float = 1.0, ignore_index: int = 255):
        super().__init__()
        self.weight, self.ignore_index = weight, ignore_index

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        valid = masks != self.ignore_index
        labels = masks.masked_fill(~valid, 0)
        chances = logits.float().softmax(1)
        hits = chances.gather(1, labels.unsqueeze(1)).squeeze(1) * valid
        shared = hits.new_zeros(logits.shape[1]).index_add(0, labels.flatten(), hits.flatten())
        counts = torch.bincount(labels[valid], minlength=logits.shape[1])
        total = torch.einsum("nchw,nhw->c", chances, valid.to(chances.dtype)) + counts
        dice = 2 * shared / total.clamp(min=1e-7)
        return ((1 - dice) * (counts > 0)).mean()


class SmpLoss(nn.Module):
    """A multi-class loss of segmentation-models-pytorch: `SmpLoss("Lovasz")`, "Focal", "Tversky", "Jaccard", …

    Args:
        name: of the loss, without "Loss".
        weight: of this loss in the sum.
        options: of that loss, as `gamma=2.0` for "Focal"; an unknown one is refused with the list of those it has.
    """

    def __init__(self, name: str, weight: float = 1.0, ignore_index: int = 255, **options):
        super().__init__()
        from segmentation_models_pytorch import losses

        known = {n.removesuffix("Loss"): getattr(losses, n) for n in dir(losses) if n.endswith("Loss")}
        known = {n: cls for n, cls in known.items() if {"mode", "ignore_index"} <= _arguments(cls)}
        if name not in known:
            raise ValueError(f"name must be one of {', '.join(sorted(known))}, got {name!r}")
        unknown = options.keys() - _arguments(known[name])
        if unknown:
            raise ValueError(
                f"{name} takes no {', '.join(sorted(unknown))}; it has {', '.join(sorted(_arguments(known[name])))}"
            )
        self.weight = weight
        self.ignore_index = ignore_index
        self.loss = known[name]("multiclass", ignore_index=ignore_index, **options)

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        if not (masks != self.ignore_index).any():
            return logits.sum() * 0  # several of smp's losses divide by the number of labelled pixels
        return self.loss(logits.float(), masks)


def _arguments(cls: type) -> set[str]:
    return set(inspect.signature(cls.__init__).parameters) - {"self"}
