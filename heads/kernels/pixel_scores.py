"""Softmax statistics of upsampled logits for segmentation losses: a few numbers per pixel instead of all classes.

Cross-entropy, hard-pixel mining and Dice are functions of these numbers, so losses that are summed share one pass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from heads.kernels.upsampling import CoarseLogits, Tile, cut, has_kernels, upsample, widened


class PixelScores(NamedTuple):
    """Softmax statistics of upsampled logits, differentiable; pixels (N, H, W), classes (C,).

    Attributes:
        log_total: log-sum-exp of a pixel's logits.
        truth: logit of a pixel's class, 0 where void; `truth - log_total` is the log-likelihood of that class.
        labels: class of a pixel, 0 where void.
        valid: bool, False where void.
        class_sums: probabilities summed over the valid pixels; None unless requested.
        coarse: the logits (N, C, h, w) before upsampling.
    """

    log_total: Tensor
    truth: Tensor
    labels: Tensor
    valid: Tensor
    class_sums: Tensor | None
    coarse: Tensor
    align_corners: bool

    @property
    def num_classes(self) -> int:
        return self.coarse.shape[1]

    def chances(self) -> Tensor:
        """Probability of a pixel's class; meaningless where void."""
        return (self.truth - self.log_total).exp()

    def weighted_logits(self, factors: Tensor) -> Tensor:
        """Sum over the classes of `factors` (C,) times the upsampled logits, computed by upsampling one map."""
        total = (self.coarse.to(factors.dtype) * factors[:, None, None]).sum(1, keepdim=True)
        return upsample(total, self.labels.shape[-2:], self.align_corners).squeeze(1)


def pixel_scores(
    logits: Tensor, labels: Tensor, align_corners: bool, ignore_index: int = 255, class_sums: bool = False
) -> PixelScores:
    """Statistics of `logits` (N, C, h, w), upsampled bilinearly to the size of `labels` (N, H, W), integers.

    Computed in float32 or float64. A label that is neither a class nor void is a ValueError; on a GPU, where the check
    would wait for the device, the truth of that pixel is NaN instead.
    """
    valid = labels != ignore_index
    labels = labels.masked_fill(~valid, 0)
    if has_kernels(logits):
        from heads.kernels.pixel_scores_triton import PixelScoresOnGPU as Function
    else:
        Function = _PixelScores
        _check_labels(labels, logits.shape[1], ignore_index)
    log_total, truth, sums = Function.apply(logits, labels, valid, align_corners, class_sums)
    return PixelScores(log_total, truth, labels, valid, sums if class_sums else None, logits, align_corners)


class _PixelScores(torch.autograd.Function):
    """Forward saves the coarse logits and one number per pixel; backward computes each tile again."""

    @staticmethod
    def forward(ctx, logits: Tensor, labels: Tensor, valid: Tensor, align_corners: bool, with_sums: bool):
        source = widened(logits)
        log_total = source.new_empty(labels.shape)
        truth = torch.empty_like(log_total)
        class_sums = source.new_zeros(logits.shape[1] if with_sums else 0)
        with torch.autocast(logits.device.type, enabled=False):
            for tile in _tiles(source, labels, align_corners):
                scores, at = tile.of(source), tile.place
                truth[at] = scores.gather(1, labels[at].long().unsqueeze(1)).squeeze(1) * valid[at]
                highest = scores.amax(1)
                total = scores.sub_(highest.unsqueeze(1)).exp_().sum(1)
                log_total[at] = total.log() + highest
                if with_sums:
                    class_sums += torch.einsum("nchw,nhw->c", scores, valid[at] / total)
        ctx.save_for_backward(logits, labels, valid, log_total)
        ctx.align_corners = align_corners
        return log_total, truth, class_sums

    @staticmethod
    @once_differentiable
    def backward(ctx, to_total: Tensor, to_truth: Tensor, to_sums: Tensor):
        logits, labels, valid, log_total = ctx.saved_tensors
        source = widened(logits)
        grad = torch.zeros_like(source)
        with torch.autocast(logits.device.type, enabled=False):
            for tile in _tiles(source, labels, ctx.align_corners):
                at = tile.place
                scores = tile.of(source).sub_(log_total[at].unsqueeze(1)).exp_()  # probabilities
                rise = to_total[at].unsqueeze(1)
                if len(to_sums):
                    known, to_class = valid[at].unsqueeze(1).to(rise.dtype), to_sums[:, None, None]
                    mean = torch.einsum("nchw,c->nhw", scores, to_sums).unsqueeze(1)
                    rise = torch.addcmul(rise - mean * known, to_class, known)
                scores *= rise
                scores.scatter_add_(1, labels[at].long().unsqueeze(1), (to_truth[at] * valid[at]).unsqueeze(1))
                tile.add_to(grad, scores)
        return torch.empty_like(logits).copy_(grad), None, None, None, None


def _tiles(logits: Tensor, labels: Tensor, align_corners: bool) -> list[Tile]:
    size_hw = labels.shape[-2:]
    return cut(CoarseLogits(logits, size_hw, size_hw, align_corners).upsampling())


def _check_labels(labels: Tensor, num_classes: int, ignore_index: int) -> None:
    low, high = (int(value) for value in labels.aminmax()) if labels.numel() else (0, 0)
    if low < 0 or high >= num_classes:
        wrong = low if low < 0 else high
        raise ValueError(f"label {wrong} in a mask, but there are {num_classes} classes (ignore {ignore_index})")
