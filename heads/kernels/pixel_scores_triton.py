"""The softmax statistics of upsampled logits and their gradient on a GPU, in Triton; see `heads.kernels.pixel_scores`.

Each coarse logit gathers its gradient from the fine pixels, so there are no atomics and the sum is deterministic.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from heads.kernels.upsampling_triton import (
    TAPS,
    arguments_of,
    axes_of,
    fine_axis,
    fine_grid,
    fine_places,
    first_behind,
    upsample_class,
    weights_of,
)


class PixelScoresOnGPU(torch.autograd.Function):
    """The same as `heads.kernels.pixel_scores._PixelScores`, for logits in float32, bfloat16 or float16."""

    @staticmethod
    def forward(ctx, logits: Tensor, classes: Tensor, valid: Tensor, align_corners: bool, with_sums: bool):
        classes, valid, size_hw = classes.contiguous(), valid.contiguous().view(torch.uint8), classes.shape[-2:]
        log_total = torch.empty(classes.shape, dtype=torch.float32, device=logits.device)
        truth = torch.empty_like(log_total)
        ctx.axes = axes = axes_of(logits, size_hw, size_hw, align_corners)
        grid = fine_grid(len(logits), axes)
        parts = log_total.new_zeros((*grid[::-1], logits.shape[1]) if with_sums else (1, 1, 1, 0))
        if classes.numel():
            tensors = (logits.detach(), classes, valid, log_total, truth, parts)
            _statistics[grid](*tensors, *arguments_of(logits, axes), WITH_SUMS=with_sums)
        ctx.save_for_backward(logits, classes, valid, log_total)
        return log_total, truth, parts.sum((0, 1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx, to_total: Tensor, to_truth: Tensor, to_sums: Tensor):
        logits, classes, valid, log_total = ctx.saved_tensors
        arguments, with_sums = arguments_of(logits, ctx.axes), len(to_sums) > 0
        to_total, to_truth, to_sums = (tensor.float().contiguous() for tensor in (to_total, to_truth, to_sums))
        if not classes.numel():
            return torch.zeros_like(logits), None, None, None, None
        if with_sums:
            mean = torch.empty_like(log_total)
            _expected[fine_grid(len(logits), ctx.axes)](logits, log_total, to_sums, mean, *arguments)
            to_total = to_total - mean * valid
        grad = torch.empty_like(logits)
        rows, columns = (-(-axis.coarse // (TAPS - 2)) for axis in ctx.axes)
        tensors = (logits, grad, classes, valid, log_total, to_total, to_truth, to_sums)
        _gradient[(logits.shape[1], rows * columns, len(logits))](
            *tensors, *arguments, *grad.stride(), WITH_SUMS=with_sums, num_warps=8
        )
        return grad, None, None, None, None


@triton.jit
def _statistics(
    logits,
    classes,
    valid,
    log_total,
    truth,
    parts,
    num_classes,
    stride_n,
    stride_c,
    stride_h,
    stride_w,
    height,
    h,
    factor_h,
    shift_h,
    unit_h,
    width,
    w,
    factor_w,
    shift_w,
    unit_w,
    squares_h,
    squares_w,
    PIXELS: tl.constexpr,
    TAPS: tl.constexpr,
    WITH_SUMS: tl.constexpr,
):
    source = logits + tl.program_id(2).to(tl.int64) * stride_n
    tap_h, own_h, y, rows = fine_axis(1, squares_h, height, h, factor_h, shift_h, unit_h, PIXELS, TAPS)
    tap_w, own_w, x, columns = fine_axis(0, squares_w, width, w, factor_w, shift_w, unit_w, PIXELS, TAPS)
    at, own = fine_places(y, x, own_h, own_w, height, width)
    known = tl.load(valid + at, mask=own, other=0) != 0
    label = tl.load(classes + at, mask=own, other=0).to(tl.int32)
    seen = tl.where(known, float("nan"), 0.0)  # remains NaN if the label is no class
    highest = tl.full((PIXELS, PIXELS), float("-inf"), tl.float32)
    total = tl.zeros((PIXELS, PIXELS), tl.float32)
    for c in range(num_classes):
        value = upsample_class(source, c, tap_h, tap_w, h, w, stride_c, stride_h, stride_w, rows, columns, TAPS)
        higher = tl.maximum(highest, value)
        total = total * tl.exp(highest - higher) + tl.exp(value - higher)
        highest = higher
        seen = tl.where(known & (label == c), value, seen)
    highest += tl.log(total)
    tl.store(log_total + at, highest, mask=own)
    tl.store(truth + at, seen, mask=own)
    if WITH_SUMS:
        row = tl.program_id(2).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
        program = row * tl.num_programs(0) + tl.program_id(0)
        for c in range(num_classes):
            value = upsample_class(source, c, tap_h, tap_w, h, w, stride_c, stride_h, stride_w, rows, columns, TAPS)
            chance = tl.where(known & own, tl.exp(value - highest), 0.0)
            tl.store(parts + program * num_classes + c, tl.sum(tl.sum(chance, 1), 0))


@triton.jit
def _expected(
    logits,
    log_total,
    to_sums,
    mean,
    num_classes,
    stride_n,
    stride_c,
    stride_h,
    stride_w,
    height,
    h,
    factor_h,
    shift_h,
    unit_h,
    width,
    w,
    factor_w,
    shift_w,
    unit_w,
    squares_h,
    squares_w,
    PIXELS: tl.constexpr,
    TAPS: tl.constexpr,
):
    """The mean of `to_sums` under the class probabilities of each pixel."""
    source = logits + tl.program_id(2).to(tl.int64) * stride_n
    tap_h, own_h, y, rows = fine_axis(1, squares_h, height, h, factor_h, shift_h, unit_h, PIXELS, TAPS)
    tap_w, own_w, x, columns = fine_axis(0, squares_w, width, w, factor_w, shift_w, unit_w, PIXELS, TAPS)
    at, own = fine_places(y, x, own_h, own_w, height, width)
    level = tl.load(log_total + at, mask=own, other=0.0)
    total = tl.zeros((PIXELS, PIXELS), tl.float32)
    for c in range(num_classes):
        value = upsample_class(source, c, tap_h, tap_w, h, w, stride_c, stride_h, stride_w, rows, columns, TAPS)
        total += tl.load(to_sums + c) * tl.exp(value - level)
    tl.store(mean + at, total, mask=own)


@triton.jit
def _gradient(
    logits,
    grad,
    classes,
    valid,
    log_total,
    to_total,
    to_truth,
    to_sums,
    num_classes,
    stride_n,
    stride_c,
    stride_h,
    stride_w,
    height,
    h,
    factor_h,
    shift_h,
    unit_h,
    width,
    w,
    factor_w,
    shift_w,
    unit_w,
    squares_h,
    squares_w,
    PIXELS: tl.constexpr,
    TAPS: tl.constexpr,
    to_n,
    to_c,
    to_h,
    to_w,
    WITH_SUMS: tl.constexpr,
):
    """Gradient of one class of a square of coarse logits, from all fine pixels that read its inner logits."""
    c, n = tl.program_id(0), tl.program_id(2).to(tl.int64)
    across = (w + TAPS - 3) // (TAPS - 2)
    tap_h, tap_w = (tl.program_id(1) // across) * (TAPS - 2) - 1, (tl.program_id(1) % across) * (TAPS - 2) - 1
    start_h, stop_h = _seen_from(tap_h, height, h, factor_h, shift_h, unit_h, TAPS)
    start_w, stop_w = _seen_from(tap_w, width, w, factor_w, shift_w, unit_w, TAPS)
    source = logits + n * stride_n
    rise_of_class = 0.0
    if WITH_SUMS:
        rise_of_class = tl.load(to_sums + c)
    gathered = tl.zeros((TAPS, TAPS), tl.float32)
    for top in range(start_h, stop_h, PIXELS):
        y = top + tl.arange(0, PIXELS)
        rows = weights_of(y, tap_h, h, factor_h, shift_h, unit_h, TAPS)
        for left in range(start_w, stop_w, PIXELS):
            x = left + tl.arange(0, PIXELS)
            columns = weights_of(x, tap_w, w, factor_w, shift_w, unit_w, TAPS)
            inside = (y < stop_h)[:, None] & (x < stop_w)[None, :]
            at = n * height * width + y[:, None] * width + x[None, :]
            value = upsample_class(source, c, tap_h, tap_w, h, w, stride_c, stride_h, stride_w, rows, columns, TAPS)
            chance = tl.exp(value - tl.load(log_total + at, mask=inside, other=float("inf")))
            known = tl.load(valid + at, mask=inside, other=0) != 0
            rise = tl.load(to_total + at, mask=inside, other=0.0) + tl.where(known, rise_of_class, 0.0)
            true = known & (tl.load(classes + at, mask=inside, other=0).to(tl.int32) == c)
            fine = chance * rise + tl.where(true, tl.load(to_truth + at, mask=inside, other=0.0), 0.0)
            seen = tl.dot(fine, columns, input_precision="ieee")
            gathered += tl.dot(tl.trans(rows), seen, input_precision="ieee")
    taps = tl.arange(0, TAPS)
    y, x = tap_h + taps, tap_w + taps
    inner = (taps > 0) & (taps < TAPS - 1)
    own = (inner & (y < h))[:, None] & (inner & (x < w))[None, :]
    at = n * to_n + c * to_c + y[:, None] * to_h + x[None, :] * to_w
    tl.store(grad + at, gathered.to(grad.dtype.element_ty), mask=own)


@triton.jit
def _seen_from(tap, size, coarse, factor, shift, unit, TAPS: tl.constexpr):
    """The range of fine pixels between the first and the last coarse pixel of a square."""
    start = tl.where(tap <= 0, 0, first_behind(tap, factor, shift, unit))
    stop = tl.where(tap + TAPS - 1 >= coarse, size, tl.minimum(size, first_behind(tap + TAPS - 1, factor, shift, unit)))
    return start, stop
