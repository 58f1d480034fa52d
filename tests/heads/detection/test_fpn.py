from collections import OrderedDict

import pytest
import torch
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from backbones import AlignedXception
from heads import FPN

SIZES = ((33, 50), (17, 25), (9, 13))


def features(channels, sizes=SIZES):
    return [torch.rand(2, c, *size, dtype=torch.float64) for c, size in zip(channels, sizes, strict=True)]


@pytest.mark.parametrize(
    ("extra", "theirs", "num_levels"),
    [("p", LastLevelP6P7(16, 16), 5), ("c", LastLevelP6P7(20, 16), 5), ("pool", LastLevelMaxPool(), 4)],
)
def test_same_maps_as_torchvision(extra, theirs, num_levels):
    channels = (8, 12, 20)
    judge = FeaturePyramidNetwork(channels, 16, theirs).double()
    ours = FPN(channels, (8, 16, 32), 16, num_levels, extra).double()
    with torch.no_grad():
        for index in range(3):
            for mine, block in ((ours.lateral, judge.inner_blocks), (ours.output, judge.layer_blocks)):
                mine[index].load_state_dict(block[index][0].state_dict())
        if extra != "pool":
            ours.down[0].load_state_dict(theirs.p6.state_dict())
            ours.down[1].load_state_dict(theirs.p7.state_dict())
    x = features(channels)
    expected = judge(OrderedDict(zip("abc", x, strict=True)))
    for a, b in zip(ours(x), expected.values(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("output_stride", "in_strides", "strides"),
    [
        (32, (8, 16, 32), (8, 16, 32, 64, 128)),
        (16, (8, 16, 16), (8, 16, 32, 64, 128)),
        (8, (8, 8, 8), (8, 16, 32, 64, 128)),
    ],
)
def test_levels_of_a_dilated_backbone_are_merged_by_stride(output_stride, in_strides, strides):
    trunk = AlignedXception(41, output_stride, out=("c3", "c4", "c5"), width=0.125).eval()
    assert trunk.strides == in_strides
    pyramid = FPN(trunk.channels, trunk.strides, 8)
    assert pyramid.strides == strides
    maps = pyramid(trunk(torch.rand(1, 3, 65, 129)))
    assert [tuple(m.shape[1:]) for m in maps] == [(8, -(-65 // s), -(-129 // s)) for s in strides]
    sum(m.sum() for m in maps).backward()
    assert all(p.grad is not None for p in pyramid.parameters())  # nothing idle, which DDP would refuse


def test_merged_levels_are_the_sum_of_their_laterals():
    pyramid = FPN((4, 6), (16, 16), 5, num_levels=1).double()
    a, b = features((4, 6), ((7, 9), (7, 9)))
    expected = pyramid.output[0](pyramid.lateral[0](a) + pyramid.lateral[1](b))
    torch.testing.assert_close(pyramid([a, b])[0], expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extra": "q"}, "extra must be"),
        ({"num_levels": 2}, "num_levels must be at least 3"),
        ({"in_strides": (32, 16, 8)}, "must rise from shallow to deep"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        FPN(**{"in_channels": (8, 8, 8), "in_strides": (8, 16, 32), "channels": 8, **options})


def test_another_stride_needs_another_pyramid():
    with pytest.raises(ValueError, match=r"built for strides \(8, 16, 32\), got \(8, 16, 16\)"):
        FPN((8, 8, 8), (8, 16, 32), 8).set_strides((8, 16, 16))
