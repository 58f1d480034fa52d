"""torchvision's Inception V3 as a backbone with a variable width."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import Tensor, nn
from torchvision.models import inception


class InceptionV3(nn.Module):
    """torchvision's Inception V3 without auxiliary tower as a backbone of one level. Xception's paper compares with it.

    Shapes: (N, 3, H, W) -> [(N, channels[0], h, w)] with 2048 channels at width 1. Its convolutions do not pad: 299
    pixels give 8, 107 give 2, and the minimum is 75.

    Args:
        width: factor of all channel counts, a multiple of 1/16, so that they stay whole numbers.
        output_stride: 32; no other is possible.

    Paper: Szegedy et al. 2015, "Rethinking the Inception Architecture for Computer Vision" (arXiv:1512.00567).
    """

    out, strides, output_stride = ("c5",), (32,), 32

    def __init__(self, width: float = 1.0, output_stride: int = 32):
        super().__init__()
        if width <= 0 or width * 16 != round(width * 16):
            raise ValueError(f"width must be a multiple of 1/16 above 0, got {width}")
        self.set_output_stride(output_stride)
        self.channels = (round(2048 * width),)
        conv = partial(_narrow_conv, width)
        blocks = [conv, *(partial(block, conv_block=conv) for block in _INCEPTION_BLOCKS), inception.InceptionAux]
        net = inception.Inception3(aux_logits=False, inception_blocks=blocks, init_weights=True)
        parts = [(name, part) for name, part in net.named_children() if name not in ("avgpool", "dropout", "fc")]
        self.net = nn.Sequential(OrderedDict(parts))

    def set_output_stride(self, output_stride: int) -> None:
        """Raise ValueError for any stride but 32, as the network cannot be dilated."""
        if output_stride != 32:
            raise ValueError(f"InceptionV3 has output stride 32 only, got {output_stride}")

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.net(images)]


_INCEPTION_BLOCKS = (
    inception.InceptionA,
    inception.InceptionB,
    inception.InceptionC,
    inception.InceptionD,
    inception.InceptionE,
)


def _narrow_conv(width: float, in_channels: int, out_channels: int, **options) -> nn.Module:
    """torchvision's convolution with BatchNorm and ReLU, with scaled channels; the three of the image stay."""
    ins = in_channels if in_channels == 3 else round(in_channels * width)
    return inception.BasicConv2d(ins, round(out_channels * width), **options)
