"""A folded separable convolution as one Triton kernel for prediction, without a stored map between its two halves.

Every block of output channels computes that map again, nine products per value. This is faster where maps are large and
channels are few; `pays` measures it. Sums are in float32. The inner map is rounded to the type of the maps, as if it
were stored.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from backbones.kernels.depthwise_triton import depthwise
from backbones.kernels.pixels_triton import convolved, offsets, place, unit_of

ROWS, COLUMNS, OUTPUTS = 8, 8, 128  # pixels and output channels per block
CHANNELS = 32  # input channels per step of the sum

_measured: dict[tuple, bool] = {}


@torch.library.custom_op("xseg::separable", mutates_args=())
def separable(
    x: Tensor,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: Sequence[int],
    rate: Sequence[int],
    relu: bool,
) -> Tensor:
    """3x3 depthwise convolution padded by its rate, then 1x1 convolution; each with bias and, if `relu`, ReLU.

    Shapes: x (N, channels, H, W); depthwise_weight (channels, 1, 3, 3); weight (outputs, channels, 1, 1) ->
    (N, outputs, ceil(H / stride), ceil(W / stride)) in channels-last memory. There is no gradient.
    """
    _check(x, depthwise_weight, weight)
    x = x.contiguous(memory_format=torch.channels_last)
    y = _output(x, weight, stride)
    n, outputs, height, width = y.shape
    taps = depthwise_weight.reshape(-1, 9).t().contiguous()
    if y.numel():
        grid = (n * triton.cdiv(height, ROWS) * triton.cdiv(width, COLUMNS), triton.cdiv(outputs, OUTPUTS))
        sizes = (x.shape[1] // unit_of(x), outputs // unit_of(y), *x.shape[-2:], height, width, *stride, *rate)
        options = (relu, unit_of(x), unit_of(y), ROWS, COLUMNS, OUTPUTS, CHANNELS)
        maps = (x, taps, depthwise_bias, weight.flatten(1).contiguous(), bias, y)
        _separable[grid](*maps, *sizes, *options, num_warps=8)
    return y


@separable.register_fake
def _(x, depthwise_weight, depthwise_bias, weight, bias, stride, rate, relu):
    return _output(x, weight, stride)


def pays(x: Tensor, *rest) -> bool:
    """Whether `separable` of these arguments is faster than `in_two`, measured once for maps of about this size.

    Nothing can be measured while a CUDA graph is captured: the result is then an earlier measurement, or False. It is
    also False if the GPU lacks the shared memory, 97 KiB in half precision.
    """
    _, _, weight, _, stride, rate, _ = rest
    key = (x.device, x.dtype, x.numel().bit_length(), weight.shape, tuple(stride), tuple(rate))
    if key not in _measured and not torch.cuda.is_current_stream_capturing():
        times = []
        for form in (separable, in_two):
            try:
                run = partial(form, x, *rest)
                times.append(triton.testing.do_bench(run, warmup=5, rep=20, return_mode="median"))
            except triton.runtime.errors.OutOfResources:
                times.append(float("inf"))
        _measured[key] = times[0] < times[1]
    return _measured.get(key, False)


def in_two(x, depthwise_weight, depthwise_bias, weight, bias, stride, rate, relu) -> Tensor:
    """The same as `separable`, computed as a depthwise and a 1x1 convolution."""
    y = F.conv2d(depthwise(x, depthwise_weight, depthwise_bias, stride, rate, relu), weight, bias)
    return y.relu_() if relu else y


def separable_on_gpu(*arguments) -> Tensor:
    """`separable` or `in_two`, whichever is faster."""
    return (separable if pays(*arguments) else in_two)(*arguments)


def _check(x: Tensor, depthwise_weight: Tensor, weight: Tensor) -> None:
    channels = x.shape[1]
    if tuple(depthwise_weight.shape) != (channels, 1, 3, 3) or tuple(weight.shape[1:]) != (channels, 1, 1):
        raise ValueError(
            f"weights must be ({channels}, 1, 3, 3) and (outputs, {channels}, 1, 1) to fit the channels of x, got "
            f"{tuple(depthwise_weight.shape)} and {tuple(weight.shape)}"
        )


def _output(x: Tensor, weight: Tensor, stride: Sequence[int]) -> Tensor:
    height, width = (-(-size // step) for size, step in zip(x.shape[-2:], stride, strict=True))
    shape = (x.shape[0], weight.shape[0], height, width)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@triton.jit
def _separable(
    x,
    taps,
    depthwise_bias,
    weight,
    bias,
    y,
    units,
    output_units,
    in_h,
    in_w,
    out_h,
    out_w,
    stride_h,
    stride_w,
    rate_h,
    rate_w,
    RELU: tl.constexpr,
    UNIT: tl.constexpr,
    OUTPUT_UNIT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """A block of output channels at a block of pixels."""
    channels, outputs = units * UNIT, output_units * OUTPUT_UNIT
    k = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)
    image, row, column, own = place(tl.program_id(0), out_h, out_w, ROWS, COLUMNS)
    top, left = row * stride_h - rate_h, column * stride_w - rate_w
    total = tl.zeros((ROWS * COLUMNS, OUTPUTS), tl.float32)
    for first in range(0, channels, CHANNELS):
        c = first + tl.arange(0, CHANNELS)
        between = convolved(
            x, taps, depthwise_bias, image, top, left, c, in_h, in_w, channels, rate_h, rate_w, own, True, RELU
        )
        inside = (c < channels)[:, None] & (k < outputs)[None, :]
        block = tl.load(weight + k[None, :] * channels + c[:, None], mask=inside, other=0.0)
        total = tl.dot(between.to(block.dtype), block, total, input_precision="ieee")
    total += tl.load(bias + k, mask=k < outputs, other=0.0).to(tl.float32)[None, :]
    if RELU:
        total = tl.maximum(total, 0.0)
    at = y + offsets(image, row, column, k, out_h, out_w, outputs)
    tl.store(at, total.to(y.dtype.element_ty), mask=own[:, None] & (k < outputs)[None, :])
