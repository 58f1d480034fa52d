"""3x3 depthwise convolutions on a CPU, dilated or strided, with fast kernels of oneDNN forward and backward.

oneDNN 3.13 (in torch 2.15) has fast forward kernels if few columns are padded, and fast backward kernels if nothing is
dilated or strided. All other shapes are rewritten here as convolutions of those shapes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from backbones.kernels.dispatch import as_autocast

# Padded columns up to which oneDNN 3.13 has a depthwise kernel for AVX-512; beyond, it is up to 28 times slower.
MOST_PADDING = 6
FEWEST_STEPS = 3  # maps with fewer atrous steps: oneDNN's weight gradient of phases is as slow as plain sums

Pair = tuple[int, int]  # vertical, horizontal


def depthwise_on_cpu(x: Tensor, weight: Tensor, stride: Pair, rate: Pair) -> Tensor:
    """`F.conv2d(x, weight, None, stride, rate, rate, channels)` and its gradients, faster in channels-last memory.

    Shapes: x (N, channels, H, W); weight (channels, 1, 3, 3).
    """
    x, weight = as_autocast(x, weight)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Depthwise.apply(x, weight, stride, rate)
    return _forward(x, weight, stride, rate)


class _Depthwise(torch.autograd.Function):
    """The input's gradient is the same convolution with the kernel turned by 180 degrees.

    For a strided convolution, zeros are put between the output's gradients first: oneDNN's own strided gradient is up
    to 16 times slower.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: Pair, rate: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.rate = stride, rate
        return _forward(x, weight, stride, rate)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        grad = spread = grad.contiguous(memory_format=torch.channels_last)
        if ctx.stride != (1, 1):
            spread = torch.zeros_like(x, dtype=grad.dtype)
            spread[..., :: ctx.stride[0], :: ctx.stride[1]] = grad
        to_x, to_weight, *_ = ctx.needs_input_grad
        if ctx.rate == (1, 1):
            weight_grad = _onednn_weight_grad(x, grad, weight, ctx.stride) if to_weight else None
        else:
            weight_grad = _weight_grad(x, spread, weight, ctx.rate) if to_weight else None
        return _convolve(spread, weight.flip(2, 3), ctx.rate) if to_x else None, weight_grad, None, None


def _forward(x: Tensor, weight: Tensor, stride: Pair, rate: Pair) -> Tensor:
    if stride == (1, 1):
        return _convolve(x, weight, rate)
    return F.conv2d(x, weight, None, stride, rate, rate, x.shape[1])


def _convolve(x: Tensor, weight: Tensor, rate: Pair) -> Tensor:
    """Convolution of stride 1. Taps that only read padding are left out; wide padding is added before the kernel."""
    (rate_h, rate_w), (height, width) = rate, x.shape[-2:]
    if rate_h >= height:
        weight, rate_h = weight[:, :, 1:2], 1
    if rate_w >= width:
        weight, rate_w = weight[:, :, :, 1:2], 1
    if weight.shape[-2:] == (1, 1):
        return x * weight[:, 0]
    pad_h, pad_w = (rate * (taps // 2) for rate, taps in zip((rate_h, rate_w), weight.shape[-2:], strict=True))
    if pad_w > MOST_PADDING:
        x, pad_w = F.pad(x, (pad_w, pad_w)), 0
    return F.conv2d(x, weight, None, 1, (pad_h, pad_w), (rate_h, rate_w), x.shape[1])


def _weight_grad(x: Tensor, grad: Tensor, weight: Tensor, rate: Pair) -> Tensor:
    """Weight gradient of an atrous convolution: undilated on the map's phases, or plain sums if these are too small."""
    if any(size < FEWEST_STEPS * step for size, step in zip(x.shape[-2:], rate, strict=True)):
        return _weight_grad_by_taps(x, grad, rate).to(weight.dtype)
    return _onednn_weight_grad(_phases(x, rate), _phases(grad, rate), weight, (1, 1))


def _onednn_weight_grad(x: Tensor, grad: Tensor, weight: Tensor, stride: Pair) -> Tensor:
    shape = (stride, [1, 1], [1, 1], False, [0, 0], x.shape[1])  # stride, padding, dilation, transposed, …, groups
    return torch.ops.aten.convolution_backward(grad, x, weight, None, *shape, [False, True, False])[1]


def _phases(x: Tensor, rate: Pair) -> Tensor:
    """(N, C, H, W) -> (N * rate_h * rate_w, C, ceil(H / rate_h), ceil(W / rate_w)).

    Each phase holds every rate-th pixel, which are the pixels that one atrous kernel reads together. Zeros fill up the
    last row and column.
    """
    (n, channels, height, width), (rate_h, rate_w) = x.shape, rate
    rows, columns = -(-height // rate_h), -(-width // rate_w)
    x = F.pad(x, (0, columns * rate_w - width, 0, rows * rate_h - height))
    x = x.reshape(n, channels, rows, rate_h, columns, rate_w).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(-1, channels, rows, columns).contiguous(memory_format=torch.channels_last)


def _weight_grad_by_taps(x: Tensor, grad: Tensor, rate: Pair) -> Tensor:
    """One sum of products per tap, of maps shifted against each other; computed in float32 or float64."""
    if x.itemsize < 4:
        x, grad = x.float(), grad.float()
    height, width = x.shape[-2:]
    sums = []
    for down in (-rate[0], 0, rate[0]):
        for right in (-rate[1], 0, rate[1]):
            if abs(down) >= height or abs(right) >= width:
                sums.append(x.new_zeros(x.shape[1]))
                continue
            seen = x[..., max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
            at = grad[..., max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
            sums.append((seen * at).sum((0, 2, 3)))
    return torch.stack(sums, 1).reshape(-1, 1, 3, 3)
