"""timm's plain vision transformers as backbones.

Source of the pyramid: Li et al. 2022, "Exploring Plain Vision Transformer Backbones for Object Detection"
(ViTDet, arXiv:2203.16527), Figure 2 (c), with the layers of detectron2's SimpleFeaturePyramid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from backbones.contract import LEVEL_STRIDES, check_levels
from xseg.models.adapters.adapted import made
from xseg.models.adapters.timm_backbone import check_name

STRIDE = 16  # input pixels per token


class ViTBackbone(nn.Module):
    """A plain vision transformer of timm (ViT, DeiT, DINOv2, DINOv3, EVA-02, …) under a small pyramid.

    The transformer has one map. Transposed convolutions enlarge it to the strides 2, 4 and 8, and a pooling reduces it
    to 32; a 1x1 and a 3x3 convolution with layer norms follow at each level. Tokens are 16 input pixels apart,
    whatever the patch size: images of a transformer with patches of 14 pixels are reduced to 14/16 first. Position
    embeddings follow the size of the images.

    Args:
        name: of `timm.list_models()`, with or without the tag of its weights: "vit_small_patch14_dinov2.lvd142m".
        output_stride: largest stride of the maps. At 16 the last level is not pooled; at 8 the last two are enlarged.
        out: levels to return, from shallow to deep.
        pretrained: download the weights of the transformer from the Hugging Face Hub.
        in_channels: channels of the images.
        width: channels of each level.
        options: further arguments of `timm.create_model`, such as `drop_path_rate`.

    Raises:
        ValueError: timm has no such model, or it is no plain vision transformer for images of any size.
    """

    def __init__(
        self,
        name: str,
        output_stride: int = 32,
        out: Sequence[str] = ("c2", "c5"),
        pretrained: bool = False,
        in_channels: int = 3,
        width: int = 256,
        **options,
    ):
        super().__init__()
        import timm

        check_name(name)
        self.name, self.out = name, check_levels(out)
        options = {"in_chans": in_channels, "num_classes": 0, "global_pool": "", "dynamic_img_size": True, **options}
        task = "be a plain vision transformer for images of any size"
        self.net = made(lambda: timm.create_model(name, pretrained=pretrained, **options), f"timm's {name}", task)
        self.net.fc_norm = self.net.head_drop = nn.Identity()  # for classes alone
        self.patch = max(self.net.patch_embed.patch_size)
        self.pyramid = nn.ModuleDict({level: _level(level, self.net.num_features, width) for level in self.out})
        self.channels = (width,) * len(self.out)
        self.set_output_stride(output_stride)

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(min(LEVEL_STRIDES[level], self.output_stride) for level in self.out)

    def set_output_stride(self, output_stride: int) -> None:
        """Change the largest stride; no weight depends on it."""
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        self.output_stride = output_stride

    def forward(self, images: Tensor) -> list[Tensor]:
        size = images.shape[-2:]
        tokens = self._tokens(images)
        return [
            _fitted(self.pyramid[level](_resized(tokens, level, stride)), [math.ceil(edge / stride) for edge in size])
            for level, stride in zip(self.out, self.strides, strict=True)
        ]

    def _tokens(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, dim, ⌈H / 16⌉, ⌈W / 16⌉), one token for 16 x 16 pixels.

        An image that is no multiple of 16 is padded on both sides: of 16 k + 1 pixels, as aligned corners want them,
        every 16th is the centre of a token.
        """
        grid = [math.ceil(edge / STRIDE) for edge in images.shape[-2:]]
        images = _fitted(images, [cells * STRIDE for cells in grid])
        if self.patch != STRIDE:
            size = [cells * self.patch for cells in grid]
            images = F.interpolate(images, size, mode="bilinear", antialias=self.patch < STRIDE)
        (last,) = self.net.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)
        return last


def _level(level: str, dim: int, width: int) -> nn.Sequential:
    """What leads from the tokens to a level; `_resized` and the transposed convolutions set its size."""
    from timm.layers import LayerNorm2d

    layers: list[nn.Module] = []
    for step in range(max(0, int(math.log2(STRIDE / LEVEL_STRIDES[level])))):
        layers += [LayerNorm2d(dim), nn.GELU()] if step else []
        layers.append(nn.ConvTranspose2d(dim, dim // 2, 2, stride=2))
        dim //= 2
    return nn.Sequential(
        *layers,
        nn.Conv2d(dim, width, 1, bias=False),
        LayerNorm2d(width),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        LayerNorm2d(width),
    )


def _resized(tokens: Tensor, level: str, stride: int) -> Tensor:
    """Tokens pooled for stride 32, or enlarged where a smaller output stride asks it of a deep level."""
    if stride == 2 * STRIDE:
        return F.max_pool2d(tokens, 2, ceil_mode=True)
    if stride < min(STRIDE, LEVEL_STRIDES[level]):
        return F.interpolate(tokens, scale_factor=STRIDE / stride, mode="bilinear")
    return tokens


def _fitted(maps: Tensor, size_hw: Sequence[int]) -> Tensor:
    """Maps padded with zeros or cropped to a size, by half on each side."""
    (height, width), (h, w) = maps.shape[-2:], size_hw
    top, left = (h - height) // 2, (w - width) // 2
    return F.pad(maps, (left, w - width - left, top, h - height - top))
