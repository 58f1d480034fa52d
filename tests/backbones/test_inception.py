import pytest
import torch
from peers import shake
from torch import nn

from backbones import InceptionTowers
from backbones.xception import PlainSeparableConv


@pytest.mark.parametrize("num_towers", [1, 3, 4])
def test_towers_are_one_pointwise_convolution_and_segments(num_towers):
    """Fig. 2 is Fig. 3, with the same number of weights."""
    towers = shake(InceptionTowers(8, 24, num_towers))
    segments = towers.merged()
    assert segments.depthwise.groups == num_towers and not segments.training
    assert sum(p.numel() for p in segments.parameters()) == sum(p.numel() for p in towers.parameters())
    x = torch.rand(2, 8, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(segments(x), towers(x), rtol=1e-12, atol=1e-12)


def test_a_tower_a_channel_is_a_separable_convolution_with_its_pointwise_half_first():
    """Fig. 4, the extreme Inception module."""
    towers = shake(InceptionTowers(8, 12, 12))
    extreme = shake(PlainSeparableConv(8, 12, order="pointwise_first"))
    extreme.load_state_dict(towers.merged().state_dict())
    assert [*extreme._modules] == ["pointwise", "depthwise", "bn"] and extreme.depthwise.groups == 12
    x = torch.rand(2, 8, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(extreme(x), towers(x), rtol=1e-12, atol=1e-12)


def test_one_tower_has_a_regular_convolution():
    (tower,) = InceptionTowers(8, 12, 1).towers
    assert [(type(part), part.groups, part.kernel_size) for part in tower] == [
        (nn.Conv2d, 1, (1, 1)),
        (nn.Conv2d, 1, (3, 3)),
    ]


def test_towers_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match=r"num_towers must divide out_channels \(16\), got 3"):
        InceptionTowers(8, 16, 3)
