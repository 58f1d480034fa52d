"""Towers of convolutions with every norm."""

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from heads import FCOS
from heads.boxes import NORMS, tower

KINDS = {"none": (), "group": (nn.GroupNorm,), "batch": (nn.BatchNorm2d,), "frozen": (FrozenBatchNorm2d,)}


@pytest.mark.parametrize("norm", NORMS)
def test_norm_behind_every_convolution(norm):
    layers = [*tower(16, 2, norm)]
    kinds = (nn.Conv2d, *KINDS[norm], nn.ReLU)
    assert [type(layer) for layer in layers] == [*kinds, *kinds]


def test_frozen_norm_learns_nothing_and_keeps_its_statistics():
    head = FCOS(3, (8, 8, 8), (8, 16, 32), channels=16, num_convs=1, norm="frozen")
    assert not any(isinstance(m, nn.BatchNorm2d | nn.GroupNorm) for m in head.modules())
    assert len([*head.class_tower.parameters()]) == 2, "weight and bias of the convolution alone"
    before = {name: value.clone() for name, value in head.named_buffers()}
    head.train()([torch.randn(2, 8, size, size) for size in (16, 8, 4)])
    assert before and all(torch.equal(value, before[name]) for name, value in head.named_buffers())


def test_unknown_norm_is_refused_with_the_list():
    with pytest.raises(ValueError, match="norm must be one of none, group, batch, frozen, got 'layer'"):
        tower(16, 1, "layer")
