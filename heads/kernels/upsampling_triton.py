"""Bilinear upsampling of logits on a GPU in Triton, and the kernel that turns it into labels.

A program holds a square of fine pixels for one class after the other. It computes them from a square of coarse logits
by two small products with bilinear weights. Fine logits are never written to memory. `pixel_scores_triton` uses the
same parts.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

PIXELS = 32  # edge of a program's square of fine pixels
TAPS = 16  # edge of its square of coarse logits: the smallest that `tl.dot` accepts


class Axis(NamedTuple):
    """One axis of the maps: fine pixel p lies at (factor * p + shift) / unit in coarse pixels, exact in integers."""

    size: int
    coarse: int
    factor: int
    shift: int
    unit: int

    @classmethod
    def of(cls, size: int, coarse: int, align_corners: bool, crop: int) -> "Axis":
        """The axis of the first `crop` of `size` fine pixels; the rest is padding."""
        if coarse == 1 or (align_corners and size == 1):
            return cls(crop, coarse, 1, -size, 1)  # all fine pixels read the one coarse pixel
        if align_corners:
            return cls(crop, coarse, coarse - 1, 0, size - 1)
        return cls(crop, coarse, 2 * coarse, coarse - size, 2 * size)

    def tiles(self, owned: int) -> int:
        return max(1, -(-(self.coarse - 1) // owned))

    def squares(self, owned: int) -> int:
        """Number of squares of fine pixels in the largest tile."""
        edges = [0] + [min(self.size, self.first(t * owned)) for t in range(1, self.tiles(owned))] + [self.size]
        return max(1, *(-(-(b - a) // PIXELS) for a, b in itertools.pairwise(edges)))

    def first(self, coarse: int) -> int:
        """The first fine pixel at or behind a coarse pixel."""
        return -(-max(0, coarse * self.unit - self.shift) // self.factor)


def labels(logits: Tensor, size_hw: Sequence[int], crop_hw: Sequence[int], align_corners: bool) -> Tensor:
    """(N, C, h, w) -> (N, *crop_hw) uint8: class of the largest upsampled logit, the lowest class among equal ones."""
    out = torch.empty(len(logits), *crop_hw, dtype=torch.uint8, device=logits.device)
    if out.numel():
        axes = axes_of(logits, size_hw, crop_hw, align_corners)
        _labels[fine_grid(len(out), axes)](logits, out, *arguments_of(logits, axes))
    return out


def axes_of(logits: Tensor, size_hw: Sequence[int], crop_hw: Sequence[int], align_corners: bool) -> tuple[Axis, Axis]:
    height, width = (
        Axis.of(size, coarse, align_corners, crop)
        for size, coarse, crop in zip(size_hw, logits.shape[-2:], crop_hw, strict=True)
    )
    return height, width


def fine_grid(count: int, axes: tuple[Axis, Axis]) -> tuple[int, int, int]:
    rows, columns = (axis.tiles(TAPS - 1) * axis.squares(TAPS - 1) for axis in axes)
    return columns, rows, count


def arguments_of(logits: Tensor, axes: tuple[Axis, Axis]) -> tuple:
    """Arguments of every kernel behind its tensors: sizes and strides of the logits, both axes, sizes of squares."""
    squares = [axis.squares(TAPS - 1) for axis in axes]
    return (logits.shape[1], *logits.stride(), *axes[0], *axes[1], *squares, PIXELS, TAPS)


@triton.jit
def first_behind(coarse, factor, shift, unit):
    return (tl.maximum(coarse * unit - shift, 0) + factor - 1) // factor


@triton.jit
def fine_axis(axis: tl.constexpr, squares, size, coarse, factor, shift, unit, PIXELS: tl.constexpr, TAPS: tl.constexpr):
    """A program's part of one axis: first coarse pixel, mask of its own fine pixels, fine pixels, and their weights."""
    program = tl.program_id(axis)
    tile = program // squares
    tap = tile * (TAPS - 1)
    start = tl.where(tile == 0, 0, first_behind(tap, factor, shift, unit))
    last = tap + TAPS - 1 >= coarse - 1
    stop = tl.where(last, size, tl.minimum(size, first_behind(tap + TAPS - 1, factor, shift, unit)))
    pixels = start + (program % squares) * PIXELS + tl.arange(0, PIXELS)
    return tap, pixels < stop, pixels, weights_of(pixels, tap, coarse, factor, shift, unit, TAPS)


@triton.jit
def weights_of(pixels, tap, coarse, factor, shift, unit, TAPS: tl.constexpr):
    """Bilinear weights (pixels, taps)."""
    at = tl.minimum(tl.maximum(pixels * factor + shift, 0), (coarse - 1) * unit)
    distance = tl.abs(at[:, None] - (tap + tl.arange(0, TAPS))[None, :] * unit)
    return tl.maximum(1.0 - distance.to(tl.float32) / unit, 0.0)


@triton.jit
def fine_places(y, x, own_h, own_w, height, width):
    """Offsets of a program's fine pixels in maps (N, height, width), and the mask of its own pixels."""
    first = tl.program_id(2).to(tl.int64) * height * width
    return first + y[:, None] * width + x[None, :], own_h[:, None] & own_w[None, :]


@triton.jit
def upsample_class(source, index, tap_h, tap_w, h, w, stride_c, stride_h, stride_w, rows, columns, TAPS: tl.constexpr):
    """The upsampled logits of one class at a square of fine pixels."""
    y, x = tap_h + tl.arange(0, TAPS), tap_w + tl.arange(0, TAPS)
    inside = ((y >= 0) & (y < h))[:, None] & ((x >= 0) & (x < w))[None, :]
    coarse = tl.load(source + index * stride_c + y[:, None] * stride_h + x[None, :] * stride_w, mask=inside, other=0.0)
    across = tl.dot(coarse.to(tl.float32), tl.trans(columns), input_precision="ieee")
    return tl.dot(rows, across, input_precision="ieee")


@triton.jit
def _labels(
    logits,
    out,
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
    source = logits + tl.program_id(2).to(tl.int64) * stride_n
    tap_h, own_h, y, rows = fine_axis(1, squares_h, height, h, factor_h, shift_h, unit_h, PIXELS, TAPS)
    tap_w, own_w, x, columns = fine_axis(0, squares_w, width, w, factor_w, shift_w, unit_w, PIXELS, TAPS)
    at, own = fine_places(y, x, own_h, own_w, height, width)
    best = tl.full((PIXELS, PIXELS), float("-inf"), tl.float32)
    label = tl.zeros((PIXELS, PIXELS), tl.int32)
    for c in range(num_classes):
        value = upsample_class(source, c, tap_h, tap_w, h, w, stride_c, stride_h, stride_w, rows, columns, TAPS)
        label = tl.where(value > best, c, label)
        best = tl.maximum(value, best)
    tl.store(out + at, label.to(tl.uint8), mask=own)
