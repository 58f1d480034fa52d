"""The networks that are compared, with weights as initialised."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones import AlignedXception
from heads import DeepLabV3Plus
from xseg.models import Segmentor

NUM_CLASSES = 21


def our_deeplab(depth: int, **options) -> Segmentor:
    return Segmentor(AlignedXception(depth, 16), {"type": DeepLabV3Plus, "num_classes": NUM_CLASSES}, **options)


def smp_deeplab(depth: int) -> nn.Module:
    import segmentation_models_pytorch as smp

    options = dict(encoder_output_stride=16, encoder_weights=None, classes=NUM_CLASSES)
    return smp.DeepLabV3Plus(f"tu-xception{depth}", **options)


def torchvision_deeplab() -> nn.Module:
    from torchvision.models.segmentation import deeplabv3_resnet101

    return deeplabv3_resnet101(weights=None, weights_backbone=None, num_classes=NUM_CLASSES)


class Out(nn.Module):
    """torchvision's networks give a dict."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)["out"]


@torch.no_grad()
def without_grad(net: nn.Module, images: Tensor):
    return net(images)
