"""Convolution, BatchNorm and the depthwise separable convolution that every network here is made of.

Paper: Chollet 2017 (arXiv:1610.02357); with BatchNorm between the two halves: Chen et al. 2018 (arXiv:1802.02611).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Columns, up to which oneDNN 3.13 has a depthwise kernel for AVX-512; beyond it, up to 28 times slower.
MOST_PADDING = 6
FEWEST_STEPS = 3  # of the atrous rate in a map, below which oneDNN's weight gradient is as slow on its phases


def atrous_depthwise(x: Tensor, weight: Tensor, rate_hw: tuple[int, int]) -> Tensor:
    """A 3x3 depthwise convolution of stride 1, padded by its atrous rate, on the fast kernels of a CPU.

    Exactly `F.conv2d(x, weight, padding=rate_hw, dilation=rate_hw, groups=channels)`, also in its gradients, by other
    means: oneDNN has fast depthwise kernels forward if few columns are padded, and backward if nothing is dilated.

    Shapes: x (N, channels, H, W), in channels-last memory if it is to be fast; weight (channels, 1, 3, 3).
    """
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _AtrousDepthwise.apply(x, weight, rate_hw)
    return _convolve(x, weight, rate_hw)


class _AtrousDepthwise(torch.autograd.Function):
    """The gradient of the input is the same convolution with the kernel turned around."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, rate_hw: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.rate_hw = rate_hw
        return _convolve(x, weight, rate_hw)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        to_x, to_weight, _ = ctx.needs_input_grad
        return (
            _convolve(grad, weight.flip(2, 3), ctx.rate_hw) if to_x else None,
            _weight_grad(x, grad, weight, ctx.rate_hw) if to_weight else None,
            None,
        )


def _convolve(x: Tensor, weight: Tensor, rate_hw: tuple[int, int]) -> Tensor:
    """Taps that only ever see padding are left out; many padded columns are padded before, not by the kernel."""
    (rate_h, rate_w), (height, width) = rate_hw, x.shape[-2:]
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


def _weight_grad(x: Tensor, grad: Tensor, weight: Tensor, rate_hw: tuple[int, int]) -> Tensor:
    """On phases, every rate-th pixel of the map, it is that of an undilated convolution; on few pixels, plain sums."""
    if any(size < FEWEST_STEPS * rate for size, rate in zip(x.shape[-2:], rate_hw, strict=True)):
        return _weight_grad_by_taps(x, grad, rate_hw).to(weight.dtype)
    x, grad = _phases(x, rate_hw), _phases(grad, rate_hw)
    backward = torch.ops.aten.convolution_backward
    shape = ([1, 1], [1, 1], [1, 1], False, [0, 0], x.shape[1])  # stride, padding, dilation, transposed, …, groups
    return backward(grad, x, weight, None, *shape, [False, True, False])[1]


def _phases(x: Tensor, rate_hw: tuple[int, int]) -> Tensor:
    """(N, C, H, W) -> (N * rate_h * rate_w, C, ceil(H / rate_h), ceil(W / rate_w)): pixels that an atrous kernel
    relates, as maps of their own; zeros fill the last row and column."""
    (n, channels, height, width), (rate_h, rate_w) = x.shape, rate_hw
    rows, columns = -(-height // rate_h), -(-width // rate_w)
    x = F.pad(x, (0, columns * rate_w - width, 0, rows * rate_h - height))
    x = x.reshape(n, channels, rows, rate_h, columns, rate_w).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(-1, channels, rows, columns).contiguous(memory_format=torch.channels_last)


def _weight_grad_by_taps(x: Tensor, grad: Tensor, rate_hw: tuple[int, int]) -> Tensor:
    """Nine products of shifted maps, summed; in float32 at least."""
    if x.itemsize < 4:
        x, grad = x.float(), grad.float()
    height, width = x.shape[-2:]
    sums = []
    for down in (-rate_hw[0], 0, rate_hw[0]):
        for right in (-rate_hw[1], 0, rate_hw[1]):
            if abs(down) >= height or abs(right) >= width:
                sums.append(x.new_zeros(x.shape[1]))
                continue
            seen = x[..., max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
            at = grad[..., max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
            sums.append((seen * at).sum((0, 2, 3)))
    return torch.stack(sums, 1).reshape(-1, 1, 3, 3)


class DepthwiseConv(nn.Conv2d):
    """3x3 depthwise convolution without bias, padded by its atrous rate; dilated ones on a CPU by `atrous_depthwise`
    if their input lies in channels-last memory. Exported, it is the one convolution that it stands for."""

    def __init__(self, channels: int, stride: int = 1):
        super().__init__(channels, channels, 3, stride, padding=1, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if (
            max(self.dilation) == 1
            or self.stride != (1, 1)
            or x.device.type != "cpu"
            or not x.is_contiguous(memory_format=torch.channels_last)
            or torch.compiler.is_exporting()
        ):
            return super().forward(x)
        y = atrous_depthwise(x, self.weight, self.dilation)
        return y if self.bias is None else y + self.bias[:, None, None]


class ConvBN(nn.Sequential):
    """Convolution without bias, BatchNorm, and ReLU unless `relu=False`.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)); padding is symmetric,
    `(kernel_size - 1) / 2` pixels on every side unless `padding` says otherwise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        *,
        padding: int | None = None,
        relu: bool = True,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.1,
    ):
        super().__init__()
        padding = (kernel_size - 1) // 2 if padding is None else padding
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=bn_eps, momentum=bn_momentum)
        if relu:
            self.relu = nn.ReLU()


class SeparableConv(nn.Module):
    """3x3 depthwise, then 1x1 pointwise convolution, each followed by BatchNorm.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    Padding is `dilation` pixels on every side, as in DeepLab; TF "SAME" would pad even sizes on one side only.

    Args:
        stride: of the depthwise convolution, in pixels of its input.
        dilation: of the depthwise convolution, in pixels of its input.
        relu: "before" the depthwise convolution (entry and middle flow), or "after" each BatchNorm (end of the exit
            flow, ASPP, decoder).

    Source: Chen et al. 2018 (arXiv:1802.02611), Fig. 3 and 4; which ReLU stands where follows the released code.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        dilation: int = 1,
        *,
        relu: str = "after",
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.1,
    ):
        super().__init__()
        if relu not in ("before", "after"):
            raise ValueError(f"relu must be 'before' or 'after', got {relu!r}")
        self.depthwise = DepthwiseConv(in_channels, stride)
        self.depthwise_bn = nn.BatchNorm2d(in_channels, eps=bn_eps, momentum=bn_momentum)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.pointwise_bn = nn.BatchNorm2d(out_channels, eps=bn_eps, momentum=bn_momentum)
        # Never in place before the convolutions: the block's shortcut still reads the same tensor.
        self.relu_before = nn.ReLU() if relu == "before" else nn.Identity()
        self.relu_after = nn.ReLU() if relu == "after" else nn.Identity()
        set_dilation(self.depthwise, dilation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu_before(x)
        x = self.relu_after(self.depthwise_bn(self.depthwise(x)))
        return self.relu_after(self.pointwise_bn(self.pointwise(x)))


def set_dilation(conv: nn.Conv2d, dilation: int, dilation_w: int | None = None) -> None:
    """Give a 3x3 convolution another atrous rate (vertical and, if it differs, horizontal) and the padding that keeps
    its output size."""
    conv.dilation = conv.padding = (dilation, dilation if dilation_w is None else dilation_w)


def set_stride(conv: nn.Conv2d, stride: int) -> None:
    conv.stride = (stride, stride)
