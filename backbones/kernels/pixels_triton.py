"""Parts of the Triton kernels for channels-last maps: the pixels of a block, and a depthwise convolution at them."""

import triton
import triton.language as tl
from torch import Tensor


def unit_of(x: Tensor) -> int:
    """A divisor of the channels for the compiler, which otherwise loads them one by one; 728 is 91 * 8."""
    return 8 if x.shape[1] % 8 == 0 else 1


@triton.jit
def place(tile, height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Image, rows and columns of a tile's pixels, and which lie in the map; tiles are counted over all images."""
    down, across = tl.cdiv(height, ROWS), tl.cdiv(width, COLUMNS)
    pixels = tl.arange(0, ROWS * COLUMNS)
    row = tile // across % down * ROWS + pixels // COLUMNS
    column = tile % across * COLUMNS + pixels % COLUMNS
    return (tile // (across * down)).to(tl.int64), row, column, (row < height) & (column < width)


@triton.jit
def offsets(image, i, j, c, height, width, channels):
    """(pixels, channels) offsets of a map's values in memory."""
    return ((image * height + i) * width + j)[:, None] * channels + c[None, :]


@triton.jit
def load_pixels(source, image, i, j, c, height, width, channels, inside):
    """(pixels, channels) values of a map in float32, 0 outside of it."""
    inside = inside & (i >= 0) & (i < height) & (j >= 0) & (j < width)
    at = source + offsets(image, i, j, c, height, width, channels)
    return tl.load(at, mask=inside[:, None] & (c < channels)[None, :], other=0.0).to(tl.float32)


@triton.jit
def convolved(
    x,
    taps,
    bias,
    image,
    top,
    left,
    c,
    height,
    width,
    channels,
    rate_h,
    rate_w,
    inside,
    WITH_BIAS: tl.constexpr,
    RELU: tl.constexpr,
):
    """(pixels, channels) of the convolution in float32; a pixel's first tap lies at row `top`, column `left`."""
    total = tl.zeros((top.shape[0], c.shape[0]), tl.float32)
    for tap in tl.static_range(9):
        i, j = top + tap // 3 * rate_h, left + tap % 3 * rate_w
        weight = tl.load(taps + tap * channels + c, mask=c < channels, other=0.0).to(tl.float32)
        total += weight[None, :] * load_pixels(x, image, i, j, c, height, width, channels, inside)
    if WITH_BIAS:
        total += tl.load(bias + c, mask=c < channels, other=0.0).to(tl.float32)[None, :]
    if RELU:
        total = tl.maximum(total, 0.0)
    return total
