"""Convolution with BatchNorm, and the depthwise separable convolution: the layers of every network here.

Paper: Chollet 2017 (arXiv:1610.02357); with BatchNorm between the two halves: Chen et al. 2018 (arXiv:1802.02611).
"""

from torch import Tensor, nn

from backbones.kernels.depthwise import depthwise
from backbones.kernels.pointwise import pointwise, project
from backbones.kernels.separable import separable


class DepthwiseConv(nn.Conv2d):
    """3x3 depthwise convolution without bias, padded by its atrous rate, on the kernels of `depthwise`.

    Tools that count operations by the exact type of a layer (thop, ptflops by default) miss it and `PointwiseConv`;
    `torch.utils.flop_counter`, torchinfo and fvcore count both.
    """

    def __init__(self, channels: int, stride: int = 1):
        super().__init__(channels, channels, 3, stride, padding=1, groups=channels, bias=False)

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """The convolution, and a ReLU behind it if `relu`."""
        return depthwise(x, self.weight, self.bias, self.stride, self.dilation, relu)


class PointwiseConv(nn.Conv2d):
    """1x1 convolution without bias, on the kernels of `pointwise`."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 1, bias=False)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return pointwise(x, weight, bias)


class ConvBN(nn.Sequential):
    """Convolution without bias, BatchNorm, and ReLU unless `relu=False`.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).

    Args:
        padding: pixels on every side; default `(kernel_size - 1) / 2`.
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


class SeparableConv(nn.Module):
    """3x3 depthwise, then 1x1 pointwise convolution, each followed by BatchNorm.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    Padding is `dilation` pixels on every side, as in DeepLab. TensorFlow's "SAME" pads even sizes on one side only.

    Args:
        stride: of the depthwise convolution, in pixels of its input.
        dilation: of the depthwise convolution, in pixels of its input.
        relu: "before" the depthwise convolution (entry and middle flow), or "after" each BatchNorm (end of the exit
            flow, ASPP, decoder).

    Source: Chen et al. 2018 (arXiv:1802.02611), Fig. 3 and 4; the places of the ReLUs follow the released code.
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
        # Not in place: the block's shortcut reads the same tensor.
        self.relu_before = nn.ReLU() if relu == "before" else nn.Identity()
        self.relu_after = nn.ReLU() if relu == "after" else nn.Identity()
        set_dilation(self.depthwise, dilation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu_before(x)
        if isinstance(self.depthwise_bn, nn.Identity) and isinstance(self.pointwise_bn, nn.Identity):  # folded
            return separable(x, self.depthwise, self.pointwise, self.relu_after)
        x = self.relu_after(self.depthwise_bn(self.depthwise(x)))
        return self.relu_after(self.pointwise_bn(self.pointwise(x)))


def set_dilation(conv: nn.Conv2d, dilation: int, dilation_w: int | None = None) -> None:
    """Set the atrous rate of a 3x3 convolution, and the padding that keeps its output size.

    `dilation` is the vertical rate, and the horizontal one too unless `dilation_w` is given.
    """
    conv.dilation = conv.padding = (dilation, dilation if dilation_w is None else dilation_w)


def set_stride(conv: nn.Conv2d, stride: int) -> None:
    conv.stride = (stride, stride)
