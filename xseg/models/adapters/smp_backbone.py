"""Encoders of segmentation-models-pytorch as backbones."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from backbones.contract import LEVELS
from xseg.models.adapters.adapted import Adapted


class SmpBackbone(Adapted):
    """An encoder of segmentation-models-pytorch as a backbone.

    Args:
        name: a name of `smp.encoders.get_encoder_names()`.
        output_stride: largest stride of the maps; 8 and 16 dilate the network.
        out: levels to return, from shallow to deep.
        weights: name of pretrained weights to download, such as "imagenet".
        in_channels: channels of the images.

    Raises:
        ValueError: smp has no such encoder, or it lacks a level of `out`, cannot be dilated to `output_stride`, or
            returns maps of other sizes than H / stride.
    """

    library = "smp"

    def __init__(
        self,
        name: str,
        output_stride: int = 32,
        out: Sequence[str] = ("c2", "c5"),
        weights: str | None = None,
        in_channels: int = 3,
    ):
        self.name, self.weights = name, weights
        super().__init__(out, output_stride, in_channels)
        self.weights = None  # a later set_output_stride keeps the weights it has

    def _build(self, output_stride: int) -> nn.Module:
        from segmentation_models_pytorch.encoders import encoders, get_encoder

        if self.name not in encoders and not self.name.startswith(("tu-", "timm-")):
            close = ", ".join(difflib.get_close_matches(self.name, encoders, n=8))
            raise ValueError(f"smp has no encoder {self.name!r}" + (f"; near it: {close}" if close else ""))
        create = partial(get_encoder, self.name, self.in_channels, 5, self.weights, output_stride)
        net = self._made(
            create, "be a backbone" if output_stride == 32 else f"be dilated to output stride {output_stride}"
        )
        channels = net.out_channels[1:]  # without those of the image; 0 marks a missing level
        self.picked = self._pick({level: i for i, (level, c) in enumerate(zip(LEVELS, channels, strict=True)) if c})
        return self._checked(net, output_stride)

    def _maps(self, net: nn.Module, images: Tensor) -> list[Tensor]:
        maps = net(images)[1:]
        return [maps[index] for index in self.picked]
