"""DeepLabv3+: atrous spatial pyramid pooling (ASPP) of C5, and a decoder that refines the result with C2.

Paper: Chen et al. 2018 (arXiv:1802.02611), Fig. 2. Order of concatenation, BatchNorm and resizing follow the released
code (TensorFlow `research/deeplab/model.py`). A test compares the logits with that program's.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.layers import ConvBN, SeparableConv, set_dilation

RATES_AT_16 = (6, 12, 18)  # published; for crops of PUBLISHED_CROP pixels and more
PUBLISHED_CROP = 513


def rates_for_crop(size_hw: Sequence[int]) -> tuple[int, ...]:
    """Atrous rates at output stride 16 for training on crops of `size_hw` pixels: (3, 6, 9) for 257 x 257.

    The published rates fit maps of 33 x 33. On a map of 17 x 17 the outer taps of rate 18 read only padding: they get
    no gradient, and their random initial values take effect when a larger image is predicted. Below the published
    crop the rates therefore shrink with the shorter edge; above it they are as published.
    """
    share = min(1.0, (min(size_hw) - 1) / (PUBLISHED_CROP - 1))
    return tuple(max(1, round(rate * share)) for rate in RATES_AT_16)


class Decoding(nn.Module):
    """The decoder of DeepLabv3+'s heads: refines a `context` of the high level with the low level.

    A subclass builds the modules of `context`, which maps (N, in_channels[-1], h', w') -> (N, channels, h', w'), then
    calls `_build_decoder`. Its `set_strides` adapts the atrous rates.
    """

    def __init__(self, num_classes: int, in_channels: Sequence[int], align_corners: bool):
        super().__init__()
        if len(in_channels) < 2:
            raise ValueError(
                f"{type(self).__name__} needs a low and a high level, got {len(in_channels)}: "
                "let the backbone return two, as out=('c2', 'c5')"
            )
        self.num_classes = num_classes
        self.align_corners = align_corners

    def context(self, high: Tensor) -> Tensor:
        raise NotImplementedError

    def set_strides(self, in_strides: Sequence[int]) -> None:
        raise NotImplementedError

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        context = self.dropout(self.context(features[-1]))
        low = self.low_project(features[0])
        context = F.interpolate(context, low.shape[-2:], mode="bilinear", align_corners=self.align_corners)
        return self.classifier(self.decoder(torch.cat((context, low), 1)))

    def _build_decoder(self, low: int, channels: int, low_channels: int, conv3x3: type, dropout: float, bn: dict):
        self.dropout = nn.Dropout(dropout)
        self.low_project = ConvBN(low, low_channels, **bn)
        self.decoder = nn.Sequential(
            conv3x3(channels + low_channels, channels, **bn), conv3x3(channels, channels, **bn)
        )
        self.classifier = nn.Conv2d(channels, self.num_classes, 1)
        self._init_weights()

    def _init_weights(self) -> None:
        """Standard deviations of the released training code."""
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):
                std = 0.33 if conv.groups > 1 else 0.01 if conv is self.classifier else 0.06
                nn.init.trunc_normal_(conv.weight, std=std, a=-2 * std, b=2 * std)
        nn.init.zeros_(self.classifier.bias)


class DeepLabV3Plus(Decoding):
    """ASPP and decoder. The first feature is the low level, the last one the high level.

    Shapes: features [(N, in_channels[0], h, w), …, (N, in_channels[-1], h', w')] -> logits (N, num_classes, h, w).

    Args:
        in_channels, in_strides: of the features; the model takes them from the backbone.
        channels: of ASPP and decoder.
        low_channels: channels of the projected low level.
        rates: atrous rates of ASPP at output stride 16; they scale with 16 / stride. If a config does not set them,
            training takes those of `rates_for_crop` and saves them with the weights.
        separable: separable 3x3 convolutions, as released, or plain ones.
        image_pooling: whether ASPP has its global branch.
        pooling_hw: (height, width) in pixels of the window over which that branch averages in prediction; None for the
            whole image, as published. If a config does not set it, training on crops below 513 pixels sets the crop's
            size, so that the branch averages over the same area as in training (CamVid, crops of 257, images of
            480 x 360: mIoU 60.4 instead of 58.5).
        align_corners: of every resizing; True as in TensorFlow.
        bn_eps, bn_momentum: published 1e-5 and 3e-4.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        channels: int = 256,
        low_channels: int = 48,
        rates: Sequence[int] = RATES_AT_16,
        separable: bool = True,
        image_pooling: bool = True,
        pooling_hw: Sequence[int] | None = None,
        align_corners: bool = True,
        dropout: float = 0.1,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
    ):
        super().__init__(num_classes, in_channels, align_corners)
        self.rates = tuple(rates)
        bn = {"bn_eps": bn_eps, "bn_momentum": bn_momentum}
        conv3x3 = SeparableConv if separable else PlainConv
        high = in_channels[-1]

        self.pooling_hw = None if pooling_hw is None else tuple(pooling_hw)
        self.image_pooling = ImagePooling(high, channels, **bn) if image_pooling else None
        self.aspp = nn.ModuleList([ConvBN(high, channels, **bn)])
        self.aspp.extend(conv3x3(high, channels, **bn) for _ in self.rates)
        self.project = ConvBN((len(self.aspp) + image_pooling) * channels, channels, **bn)
        self._build_decoder(in_channels[0], channels, low_channels, conv3x3, dropout, bn)
        self.set_strides(in_strides)

    def set_strides(self, in_strides: Sequence[int]) -> None:
        """Adapt atrous rates and pooling to the stride of the high level: 6, 12, 18 at 16 become 12, 24, 36 at 8."""
        if self.image_pooling is not None and self.pooling_hw is not None:
            self.image_pooling.window_hw = tuple(-(-size // in_strides[-1]) for size in self.pooling_hw)
        for conv, rate in zip(list(self.aspp)[1:], self.rates, strict=True):
            conv = conv.depthwise if isinstance(conv, SeparableConv) else conv.conv
            set_dilation(conv, max(1, rate * 16 // in_strides[-1]))

    def context(self, high: Tensor) -> Tensor:
        # Pooling first: its gradient has no memory format, and so is added last, to that of the other branches.
        pooled = [] if self.image_pooling is None else [self.image_pooling(high)]
        branches = pooled + [branch(high) for branch in self.aspp]
        return self.project(torch.cat(branches, 1))


class PlainConv(ConvBN):
    """3x3 convolution, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, **bn):
        super().__init__(in_channels, out_channels, kernel_size=3, **bn)


class ImagePooling(ConvBN):
    """Average of the map, 1x1 convolution, BatchNorm, ReLU, expanded to the size of the map.

    With `window_hw`, in cells of the map, prediction averages over the window of that size around each cell, shifted
    inside at the border.

    A batch of one image has one value per channel and so no variance: BatchNorm then uses its running statistics, also
    in training.
    """

    window_hw: tuple[int, int] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.window_hw is not None and not self.training:
            return F.relu(self.bn(self.conv(local_mean(x, self.window_hw))))
        pooled = self.conv(x.mean((2, 3), keepdim=True))
        alone = self.training and pooled.shape[0] == 1 and not isinstance(self.bn, nn.SyncBatchNorm)
        if alone:
            bn = self.bn
            pooled = F.batch_norm(pooled, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps)
        else:
            pooled = self.bn(pooled)
        spread = F.relu(pooled).expand(-1, -1, *x.shape[-2:])
        if not x.is_contiguous(memory_format=torch.channels_last):
            return spread
        return spread.contiguous(memory_format=torch.channels_last)  # or `cat` would copy the other branches


def local_mean(x: Tensor, window_hw: tuple[int, int]) -> Tensor:
    """Average of (N, C, H, W) over a window around each cell, shifted inside at the border, at most the whole map."""
    for axis, window in zip((2, 3), window_hw, strict=True):
        size = x.shape[axis]
        first = (torch.arange(size, device=x.device) - window // 2).clamp(max=size - window).clamp(min=0)
        last = (first + window).clamp(max=size)
        padding = (0, 0, 1, 0) if axis == 2 else (1, 0)
        sums = F.pad(x.cumsum(axis, dtype=torch.promote_types(x.dtype, torch.float32)), padding)
        counts = (last - first).reshape((-1, 1) if axis == 2 else (-1,))
        x = ((sums.index_select(axis, last) - sums.index_select(axis, first)) / counts).to(x.dtype)
    return x
