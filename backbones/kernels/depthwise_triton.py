"""3x3 depthwise convolutions on a GPU in Triton: dilated, strided, channels-last, forward and both gradients.

They are registered as operations of torch (`xseg::depthwise…`), so `torch.compile` and `torch.export` see one operation
with shapes and a gradient. All sums are computed in float32. They are deterministic: the weight gradient first sums
parts of the map into a table, then sums the table, without atomics.

A block is a rectangle of neighbouring pixels, whose taps share the cache. Compiled for an H100, all loads have 128 bits
and no register is spilled (tests/test_kernels.py). Not measured on a GPU.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from backbones.kernels.dispatch import as_autocast
from backbones.kernels.pixels_triton import convolved, load_pixels, offsets, place, unit_of

CHANNELS = 64  # per block: 128 bytes in half precision
ROWS, COLUMNS = 4, 8  # of pixels per block: two per thread, which share the thread's weights
TILES = 16  # blocks of pixels whose weight gradients one program sums


def _output_hw(x: Tensor, stride: Sequence[int]) -> tuple[int, int]:
    return -(-x.shape[-2] // stride[0]), -(-x.shape[-1] // stride[1])


def _check(x: Tensor, weight: Tensor) -> None:
    if tuple(weight.shape) != (x.shape[1], 1, 3, 3) or x.dtype != weight.dtype:
        raise ValueError(
            f"weight must be ({x.shape[1]}, 1, 3, 3) {x.dtype} to fit the channels and type of x, got "
            f"{tuple(weight.shape)} {weight.dtype}"
        )


@torch.library.custom_op("xseg::depthwise", mutates_args=())
def depthwise(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], rate: Sequence[int], relu: bool
) -> Tensor:
    """`F.conv2d(x, weight, bias, stride, rate, rate, channels)` in channels-last memory, and ReLU if `relu`.

    Shapes: x (N, channels, H, W); weight (channels, 1, 3, 3); bias (channels) or None.
    """
    _check(x, weight)
    x = x.contiguous(memory_format=torch.channels_last)
    y = _empty(x, _output_hw(x, stride))
    taps = weight.reshape(-1, 9).t().contiguous()  # (9, channels): neighbouring channels are neighbours in memory
    if y.numel():
        options = (bias is not None, relu, unit_of(x), ROWS, COLUMNS, CHANNELS)
        _convolve[_grid(y)](x, taps, bias, y, *_sizes(x, y), *stride, *rate, *options)
    return y


@depthwise.register_fake
def _(x, weight, bias, stride, rate, relu):
    return _empty(x, _output_hw(x, stride))


@torch.library.custom_op("xseg::depthwise_input_grad", mutates_args=())
def depthwise_input_grad(
    grad: Tensor, weight: Tensor, size_hw: Sequence[int], stride: Sequence[int], rate: Sequence[int]
) -> Tensor:
    """Gradient (N, channels, *size_hw) of the input of `depthwise` without ReLU; `grad` is that of its output."""
    grad = grad.contiguous(memory_format=torch.channels_last)
    out = _empty(grad, size_hw)
    taps = weight.reshape(-1, 9).t().contiguous()
    if out.numel():
        options = (unit_of(grad), ROWS, COLUMNS, CHANNELS)
        _convolve_back[_grid(out)](grad, taps, out, *_sizes(grad, out), *stride, *rate, *options)
    return out


@depthwise_input_grad.register_fake
def _(grad, weight, size_hw, stride, rate):
    return _empty(grad, size_hw)


@torch.library.custom_op("xseg::depthwise_weight_grad", mutates_args=())
def depthwise_weight_grad(x: Tensor, grad: Tensor, stride: Sequence[int], rate: Sequence[int]) -> Tensor:
    """Gradient (channels, 1, 3, 3) float32 of the weight of `depthwise` without ReLU."""
    x, grad = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, grad))
    channels, tiles = grad.shape[1], tiles_of(grad)
    parts = torch.empty(-(-tiles // TILES), 9, channels, dtype=torch.float32, device=x.device)
    if tiles:
        grid = (len(parts), -(-channels // CHANNELS))
        options = (unit_of(x), TILES, ROWS, COLUMNS, CHANNELS)
        _correlate[grid](x, grad, parts, tiles, *_sizes(x, grad), *stride, *rate, *options)
    return parts.sum(0).t().reshape(channels, 1, 3, 3).contiguous()


@depthwise_weight_grad.register_fake
def _(x, grad, stride, rate):
    return x.new_empty((x.shape[1], 1, 3, 3), dtype=torch.float32)


def _keep(ctx, inputs: tuple, output: Tensor) -> None:
    x, weight, bias, ctx.stride, ctx.rate, relu = inputs
    ctx.with_bias, ctx.relu = bias is not None, relu
    ctx.save_for_backward(x, weight, output if relu else None)


def _backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, output = ctx.saved_tensors
    if ctx.relu:
        grad = grad * (output > 0)
    to_x, to_weight, to_bias, *_ = ctx.needs_input_grad
    return (
        depthwise_input_grad(grad, weight, x.shape[-2:], ctx.stride, ctx.rate) if to_x else None,
        depthwise_weight_grad(x, grad, ctx.stride, ctx.rate).to(weight.dtype) if to_weight else None,
        grad.sum((0, 2, 3)) if ctx.with_bias and to_bias else None,
        None,
        None,
        None,
    )


depthwise.register_autograd(_backward, setup_context=_keep)


def depthwise_on_gpu(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], rate: Sequence[int], relu: bool
) -> Tensor:
    """`depthwise` in autocast's type where autocast is on, as in `F.conv2d`."""
    return depthwise(*as_autocast(x, weight), bias, stride, rate, relu)


def _empty(like: Tensor, size_hw: Sequence[int]) -> Tensor:
    shape = (*like.shape[:2], *size_hw)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _sizes(source: Tensor, target: Tensor) -> tuple[int, ...]:
    return source.shape[1] // unit_of(source), *source.shape[-2:], *target.shape[-2:]


def _grid(target: Tensor) -> tuple[int, int]:
    """Number of blocks of pixels in all images, and of blocks of channels."""
    return tiles_of(target), -(-target.shape[1] // CHANNELS)


def tiles_of(x: Tensor) -> int:
    n, _, height, width = x.shape
    return n * -(-height // ROWS) * -(-width // COLUMNS)


@triton.jit
def _convolve(
    x,
    taps,
    bias,
    y,
    units,
    in_h,
    in_w,
    out_h,
    out_w,
    stride_h,
    stride_w,
    rate_h,
    rate_w,
    WITH_BIAS: tl.constexpr,
    RELU: tl.constexpr,
    UNIT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """A block of channels of the output at a block of pixels."""
    channels, c = units * UNIT, tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    image, row, column, own = place(tl.program_id(0), out_h, out_w, ROWS, COLUMNS)
    top, left = row * stride_h - rate_h, column * stride_w - rate_w
    total = convolved(x, taps, bias, image, top, left, c, in_h, in_w, channels, rate_h, rate_w, own, WITH_BIAS, RELU)
    at = y + offsets(image, row, column, c, out_h, out_w, channels)
    tl.store(at, total.to(y.dtype.element_ty), mask=own[:, None] & (c < channels)[None, :])


@triton.jit
def _convolve_back(
    grad,
    taps,
    out,
    units,
    grad_h,
    grad_w,
    out_h,
    out_w,
    stride_h,
    stride_w,
    rate_h,
    rate_w,
    UNIT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """A block of channels of the input's gradient at a block of pixels, from the outputs that read these pixels."""
    channels, c = units * UNIT, tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    image, row, column, own = place(tl.program_id(0), out_h, out_w, ROWS, COLUMNS)
    total = tl.zeros((ROWS * COLUMNS, CHANNELS), tl.float32)
    for tap in tl.static_range(9):
        down, right = row - (tap // 3 - 1) * rate_h, column - (tap % 3 - 1) * rate_w
        i, j = down // stride_h, right // stride_w
        seen = (down >= 0) & (right >= 0) & (i * stride_h == down) & (j * stride_w == right) & own
        weight = tl.load(taps + tap * channels + c, mask=c < channels, other=0.0).to(tl.float32)
        total += weight[None, :] * load_pixels(grad, image, i, j, c, grad_h, grad_w, channels, seen)
    at = out + offsets(image, row, column, c, out_h, out_w, channels)
    tl.store(at, total.to(out.dtype.element_ty), mask=own[:, None] & (c < channels)[None, :])


@triton.jit
def _correlate(
    x,
    grad,
    parts,
    tiles,
    units,
    in_h,
    in_w,
    out_h,
    out_w,
    stride_h,
    stride_w,
    rate_h,
    rate_w,
    UNIT: tl.constexpr,
    TILES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """The weight gradient of a block of channels from `TILES` blocks of pixels; each part is written once."""
    part, channels = tl.program_id(0), units * UNIT
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    for tap_h in tl.static_range(3):
        left = tl.zeros((ROWS * COLUMNS, CHANNELS), tl.float32)
        middle = tl.zeros((ROWS * COLUMNS, CHANNELS), tl.float32)
        right = tl.zeros((ROWS * COLUMNS, CHANNELS), tl.float32)
        for tile in range(part * TILES, tl.minimum((part + 1) * TILES, tiles)):
            image, row, column, own = place(tile, out_h, out_w, ROWS, COLUMNS)
            rise = load_pixels(grad, image, row, column, c, out_h, out_w, channels, own)
            i, j = row * stride_h + (tap_h - 1) * rate_h, column * stride_w
            left += rise * load_pixels(x, image, i, j - rate_w, c, in_h, in_w, channels, own)
            middle += rise * load_pixels(x, image, i, j, c, in_h, in_w, channels, own)
            right += rise * load_pixels(x, image, i, j + rate_w, c, in_h, in_w, channels, own)
        at = parts + (part * 9 + 3 * tap_h) * channels + c
        tl.store(at, tl.sum(left, 0), mask=c < channels)
        tl.store(at + channels, tl.sum(middle, 0), mask=c < channels)
        tl.store(at + 2 * channels, tl.sum(right, 0), mask=c < channels)
