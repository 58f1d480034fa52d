"""Losses of segmentation logits against class masks. A config lists them; training minimises their weighted sum.

Each loss takes logits (N, C, h, w) and integer masks (N, H, W); coarser logits are upsampled bilinearly. Pixels of
`ignore_index` do not count, and a loss without any other pixel is 0. Cross-entropy, hard-pixel mining and Dice never
store upsampled logits. `SmpLoss` does; it offers the other losses of segmentation-models-pytorch.
"""

import inspect
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from heads.kernels.pixel_scores import PixelScores, pixel_scores
from heads.kernels.upsampling import upsample, wide


def weighted_losses(losses: Sequence[nn.Module], logits: Tensor, masks: Tensor, align_corners: bool) -> list[Tensor]:
    """Each loss times its weight. The `PixelLoss`es share one pass over the pixels."""
    shared: dict[int, PixelScores] = {}
    pixel_losses = [loss for loss in losses if isinstance(loss, PixelLoss)]
    for void in {loss.ignore_index for loss in pixel_losses}:
        class_sums = any(loss.class_sums for loss in pixel_losses if loss.ignore_index == void)
        shared[void] = pixel_scores(logits, masks, align_corners, void, class_sums)
    values = []
    for loss in losses:
        if isinstance(loss, PixelLoss):
            value = loss.of(shared[loss.ignore_index])
        else:
            value = loss(upsample(wide(logits), masks.shape[-2:], align_corners), masks.long())
        values.append(loss.weight * value)
    return values


def named_terms(terms: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """A dict of (name, value) terms; a repeated name gets the suffix _2, _3, …

    mmengine minimises the sum of all entries whose name contains "loss".
    """
    named: dict[str, Tensor] = {}
    for name, value in terms:
        unique, count = name, 1
        while unique in named:
            count += 1
            unique = f"{name}_{count}"
        named[unique] = value
    return named


class PixelLoss(nn.Module):
    """A loss that is computed by `of` from the softmax statistics of the upsampled logits.

    Args:
        weight: factor of this loss in the sum.
        ignore_index: label of the pixels that do not count.
    """

    class_sums = False  # whether it reads `PixelScores.class_sums`

    def __init__(self, weight: float, ignore_index: int):
        super().__init__()
        self.weight, self.ignore_index = weight, ignore_index

    def forward(self, logits: Tensor, masks: Tensor, align_corners: bool = False) -> Tensor:
        return self.of(pixel_scores(logits, masks, align_corners, self.ignore_index, self.class_sums))

    def of(self, scores: PixelScores) -> Tensor:
        """The loss () of the statistics of a batch."""
        raise NotImplementedError


class CrossEntropy(PixelLoss):
    """Mean cross-entropy over the labelled pixels.

    Args:
        weight: factor of this loss in the sum.
        class_weights: one factor per class; the mean is weighted by the factors too, as in torch. When training
            starts, "balanced" in a config is replaced by `xseg.data.balance.balanced_weights` of the training data.
        label_smoothing: share of the probability that is spread over all classes.
    """

    def __init__(
        self,
        weight: float = 1.0,
        class_weights: Sequence[float] | str | None = None,
        label_smoothing: float = 0.0,
        ignore_index: int = 255,
    ):
        super().__init__(weight, ignore_index)
        self.label_smoothing = label_smoothing
        self.uncounted = isinstance(class_weights, str)  # a model that only predicts
        if self.uncounted and class_weights != "balanced":
            raise ValueError(f"class_weights must be one number a class or 'balanced', got {class_weights!r}")
        weights = None if class_weights is None or self.uncounted else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)

    def of(self, scores: PixelScores) -> Tensor:
        losses, weights = self.pixel_losses(scores)
        return losses.sum() / weights.sum().clamp(min=1e-12)

    def pixel_losses(self, scores: PixelScores) -> tuple[Tensor, Tensor]:
        """Weighted cross-entropies (N, H, W) and weights of the pixels (N, H, W); both are 0 for void pixels."""
        if self.uncounted:
            raise ValueError(
                "class_weights='balanced' is resolved by xseg.train only; elsewhere give one number a class"
            )
        weights = scores.valid.to(scores.truth.dtype)
        if self.class_weights is not None:
            weights = weights * self.class_weights.to(weights)[scores.labels.long()]
        losses = (scores.log_total - scores.truth) * weights
        if self.label_smoothing:
            factors = torch.ones(scores.num_classes) if self.class_weights is None else self.class_weights
            factors = factors.to(losses) / scores.num_classes
            spread = (scores.log_total * factors.sum() - scores.weighted_logits(factors)) * scores.valid
            losses = (1 - self.label_smoothing) * losses + self.label_smoothing * spread
        return losses, weights


class OhemCrossEntropy(CrossEntropy):
    """Cross-entropy over the hard pixels only: online hard example mining.

    A pixel is hard if its true class has a probability below `threshold`. At least the share `min_kept` of the
    labelled pixels is used: the hardest ones if fewer are below the threshold.

    Source: Shrivastava et al. 2016 (arXiv:1604.03540), per pixel as in Wu et al. 2016 (arXiv:1605.06885).
    """

    def __init__(self, weight: float = 1.0, threshold: float = 0.7, min_kept: float = 1 / 16, **options):
        super().__init__(weight, **options)
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be a probability in (0, 1], got {threshold}")
        if not 0 < min_kept <= 1:
            raise ValueError(f"min_kept must be a share of the labelled pixels in (0, 1], got {min_kept}")
        self.threshold, self.min_kept = threshold, min_kept

    def of(self, scores: PixelScores) -> Tensor:
        losses = self.pixel_losses(scores)[0][scores.valid]
        if losses.numel() == 0:
            return scores.log_total.sum() * 0
        with torch.no_grad():
            chance = scores.chances()[scores.valid]
            kept = max(1, round(self.min_kept * chance.numel()))
            limit = chance.kthvalue(kept).values.clamp(min=self.threshold)
        return losses[chance <= limit].mean()


class Dice(PixelLoss):
    """Mean of 1 - Dice over the classes, counted over the labelled pixels of the whole batch; 0 for absent classes.

    Every class has the same weight, regardless of its number of pixels. Equal to segmentation-models-pytorch's
    `DiceLoss`.

    Source: Milletari et al. 2016 (arXiv:1606.04797), with the plain sums of Sudre et al. 2017 in the denominator.
    """

    class_sums = True

    def __init__(self, weight: float = 1.0, ignore_index: int = 255):
        super().__init__(weight, ignore_index)

    def of(self, scores: PixelScores) -> Tensor:
        labels, hits = scores.labels.flatten().long(), scores.chances() * scores.valid
        shared = torch.zeros_like(scores.class_sums).index_add(0, labels, hits.flatten())
        counts = torch.bincount(labels[scores.valid.flatten()], minlength=scores.num_classes)
        dice = 2 * shared / (scores.class_sums + counts).clamp(min=1e-7)
        return ((1 - dice) * (counts > 0)).mean()


class SmpLoss(nn.Module):
    """A multi-class loss of segmentation-models-pytorch: `SmpLoss("Lovasz")`, "Focal", "Tversky", "Jaccard", …

    Args:
        name: name of the loss in smp, without "Loss".
        weight: factor of this loss in the sum.
        ignore_index: label of the pixels that do not count.
        options: arguments of that loss, such as `gamma=2.0` for "Focal". ValueError lists the arguments it has.
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
            return logits.sum() * 0  # several losses of smp divide by the number of labelled pixels
        return self.loss(logits.float(), masks)


def _arguments(cls: type) -> set[str]:
    return set(inspect.signature(cls.__init__).parameters) - {"self"}
