"""Our backbones for the detectors of torchvision."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork


class TorchvisionBackbone(nn.Module):
    """A backbone with a feature pyramid, in the form that the models of `torchvision.models.detection` take.

    Args:
        backbone: one of ours or alike, such as `AlignedXception(65, out=("c2", "c3", "c4", "c5"))`.
        out_channels: channels of every level of the pyramid.
        extra_blocks: torchvision's LastLevelMaxPool or LastLevelP6P7.
    """

    def __init__(self, backbone: nn.Module, out_channels: int = 256, extra_blocks: nn.Module | None = None):
        super().__init__()
        self.backbone = backbone
        self.fpn = FeaturePyramidNetwork(list(backbone.channels), out_channels, extra_blocks)
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.fpn(OrderedDict((str(i), m) for i, m in enumerate(self.backbone(images))))
