"""Convolution, BatchNorm and the depthwise separable convolution that every network here is made of.

Paper: Chollet 2017 (arXiv:1610.02357); with BatchNorm between the two halves: Chen et al. 2018 (arXiv:1802.02611).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.kernels.depthwise import DepthwiseConv, has_triton

# Pixels of a batch, below which a CPU is faster with a plain matrix product than with oneDNN's 1x1 convolution.
FEW_PIXELS = 1024
# Input channels below which the gradient of oneDNN 3.13's strided 1x1 convolution writes outside its memory.
SAFE_CHANNELS = 16


class PointwiseConv(nn.Conv2d):
    """1x1 convolution without bias; on small channels-last maps of a CPU one matrix product of pixels by channels.

    Compiled or exported, it is the convolution that it stands for. Programs that count operations by the exact type of
    a layer (thop, ptflops by default) miss it; `torch.utils.flop_counter`, torchinfo and fvcore count it.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 1, bias=False)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if (
            x.device.type != "cpu"
            or torch.compiler.is_compiling()
            or not x.is_contiguous(memory_format=torch.channels_last)
            or x.numel() >= FEW_PIXELS * x.shape[1]
        ):
            return super()._conv_forward(x, weight, bias)
        return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


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

    def forward(self, x: Tensor) -> Tensor:
        conv, *rest = self
        x = project(conv, x)
        for module in rest:
            x = module(x)
        return x


def project(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """`conv(x)`; a strided 1x1 convolution of few channels on a CPU as a plain one of the pixels that it reads.

    Otherwise the gradient may write outside its memory (float32, channels-last, even sizes).
    """
    few = conv.in_channels < SAFE_CHANNELS and conv.kernel_size == (1, 1) and conv.stride != (1, 1)
    if few and x.device.type == "cpu" and torch.is_grad_enabled():
        return F.conv2d(x[..., :: conv.stride[0], :: conv.stride[1]], conv.weight, conv.bias)
    return conv(x)


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
        self.pointwise = PointwiseConv(in_channels, out_channels)
        self.pointwise_bn = nn.BatchNorm2d(out_channels, eps=bn_eps, momentum=bn_momentum)
        # Never in place before the convolutions: the block's shortcut still reads the same tensor.
        self.relu_before = nn.ReLU() if relu == "before" else nn.Identity()
        self.relu_after = nn.ReLU() if relu == "after" else nn.Identity()
        set_dilation(self.depthwise, dilation)

    def forward(self, x: Tensor) -> Tensor:
        x, relu = self.relu_before(x), isinstance(self.relu_after, nn.ReLU)
        if self._is_one_kernel(x):
            from backbones.kernels.separable_triton import separable_on_gpu

            halves = (self.depthwise, self.pointwise)
            weights = [tensor for half in halves for tensor in (half.weight, half.bias)]
            return separable_on_gpu(x, *weights, self.depthwise.stride, self.depthwise.dilation, relu)
        if isinstance(self.depthwise_bn, nn.Identity):  # folded into the convolution, for prediction
            x = self.depthwise(x, relu=relu)
        else:
            x = self.relu_after(self.depthwise_bn(self.depthwise(x)))
        return self.relu_after(self.pointwise_bn(self.pointwise(x)))

    def _is_one_kernel(self, x: Tensor) -> bool:
        """Whether both halves may be: in half precision on a GPU, with folded BatchNorms, computed one by one."""
        return (
            x.is_cuda
            and x.itemsize == 2
            and has_triton()
            and not torch.compiler.is_compiling()
            and x.is_contiguous(memory_format=torch.channels_last)
            and self.depthwise.bias is not None
            and self.pointwise.bias is not None
        )


def set_dilation(conv: nn.Conv2d, dilation: int, dilation_w: int | None = None) -> None:
    """Give a 3x3 convolution another atrous rate (vertical and, if it differs, horizontal) and the padding that keeps
    its output size."""
    conv.dilation = conv.padding = (dilation, dilation if dilation_w is None else dilation_w)


def set_stride(conv: nn.Conv2d, stride: int) -> None:
    conv.stride = (stride, stride)
