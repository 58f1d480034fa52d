"""torchvision's detectors as references: one small trunk for theirs and ours, and their weights for our heads."""

from collections import OrderedDict

import torch
from torch import nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from heads.contract import Target

CHANNELS = (6, 10, 14)


class Trunk(nn.Module):
    """Three levels at strides 8, 16 and 32: averages of the image, then one convolution each."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, c, 3, padding=1) for c in CHANNELS)

    def forward(self, x):
        pooled = [nn.functional.avg_pool2d(x, stride) for stride in (8, 16, 32)]
        return [conv(p).relu() for conv, p in zip(self.convs, pooled, strict=True)]


class Pyramid(nn.Module):
    """The trunk with torchvision's feature pyramid."""

    def __init__(self, trunk, out_channels):
        super().__init__()
        self.trunk, self.out_channels = trunk, out_channels
        self.fpn = FeaturePyramidNetwork(CHANNELS, out_channels, LastLevelP6P7(out_channels, out_channels))

    def forward(self, x):
        return self.fpn(OrderedDict(zip("345", self.trunk(x), strict=True)))


def copy_pyramid(ours, theirs):
    for index in range(3):
        ours.lateral[index].load_state_dict(theirs.inner_blocks[index][0].state_dict())
        ours.output[index].load_state_dict(theirs.layer_blocks[index][0].state_dict())
    ours.down[0].load_state_dict(theirs.extra_blocks.p6.state_dict())
    ours.down[1].load_state_dict(theirs.extra_blocks.p7.state_dict())


def copy_tower(ours, theirs, convs):
    """`convs` yields torchvision's convolutions (and norms) in order."""
    mine = [layer for layer in ours if not isinstance(layer, nn.ReLU)]
    for layer, other in zip(mine, convs(theirs), strict=True):
        layer.load_state_dict(other.state_dict())


def sharpen(*modules):
    """Add noise to the weights, so that scores and boxes differ: with initial weights every score is 0.01."""
    generator = torch.Generator().manual_seed(0)
    for module in modules:
        for p in module.parameters():
            p.data += 0.15 * torch.randn(p.shape, generator=generator)


TARGETS = [
    Target(torch.tensor([[10.0, 20, 60, 90], [30, 30, 34, 36], [100, 10, 190, 120]]), torch.tensor([0, 3, 1])),
    Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
]
