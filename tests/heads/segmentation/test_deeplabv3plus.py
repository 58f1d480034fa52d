import pytest
import torch
from peers import shake
from torch import nn

from backbones import AlignedXception
from heads import DeepLabV3Plus, FCNHead
from heads.segmentation.deeplabv3plus import local_mean, rates_for_crop


def network(**options) -> nn.ModuleDict:
    backbone = AlignedXception(65, output_stride=16, **options)
    head = DeepLabV3Plus(21, backbone.channels, backbone.strides)
    return nn.ModuleDict({"backbone": backbone, "head": head})


@pytest.mark.parametrize(("output_stride", "backbone_gmac"), [(16, 48.57), (8, 163.61)])
def test_multiply_adds_of_the_whole_network(output_stride, backbone_gmac, count_gmac):
    """The backbone's published figure plus the head's convolutions, counted on paper for 513 x 513."""
    net = network()
    net["backbone"].set_output_stride(output_stride)
    net["head"].set_strides(net["backbone"].strides)
    high, low = (513 // output_stride + 1) ** 2, 129**2  # pixels of C5 and of C2
    aspp = 2048 * 256 + 3 * (9 * 2048 + 2048 * 256) + 5 * 256 * 256
    decoder = 256 * 48 + (9 * 304 + 304 * 256) + (9 * 256 + 256 * 256) + 256 * 21
    head_gmac = (high * aspp + 2048 * 256 + low * decoder) / 1e9
    whole = nn.Sequential(net["backbone"], net["head"])
    assert count_gmac(whole, (1, 3, 513, 513)) == pytest.approx(backbone_gmac + head_gmac, abs=0.006)


@pytest.mark.parametrize(("stride", "rates"), [(8, [12, 24, 36]), (16, [6, 12, 18]), (32, [3, 6, 9])])
@pytest.mark.parametrize("separable", [True, False])
def test_rates_follow_the_stride(stride, rates, separable):
    head = DeepLabV3Plus(3, (8, 16), (4, stride), channels=8, separable=separable)
    convs = [branch.depthwise if separable else branch.conv for branch in list(head.aspp)[1:]]
    assert [conv.dilation[0] for conv in convs] == [conv.padding[0] for conv in convs] == rates


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("image_pooling", [True, False])
@pytest.mark.parametrize("batch", [1, 2])
def test_trains_at_any_batch_size(separable, image_pooling, batch):
    head = DeepLabV3Plus(3, (8, 16), (4, 16), channels=8, separable=separable, image_pooling=image_pooling).train()
    logits = head([torch.rand(batch, 8, 33, 17), torch.rand(batch, 16, 9, 5)])
    assert logits.shape == (batch, 3, 33, 17)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_one_image_in_training_leaves_the_pooled_statistics_alone():
    head = DeepLabV3Plus(3, (8, 16), (4, 16), channels=8).train()
    before = head.image_pooling.bn.running_mean.clone()
    head([torch.rand(1, 8, 8, 8), torch.rand(1, 16, 2, 2)])
    assert torch.equal(before, head.image_pooling.bn.running_mean)
    head([torch.rand(2, 8, 8, 8), torch.rand(2, 16, 2, 2)])
    assert not torch.equal(before, head.image_pooling.bn.running_mean)


def test_image_pooling_is_the_spatial_mean():
    """With the other branches cut off, shuffling the pixels of the high level changes nothing."""
    head = shake(DeepLabV3Plus(3, (8, 16), (4, 16), channels=8))
    with torch.no_grad():
        head.project.conv.weight[:, 8:] = 0  # the concatenation starts with image pooling
    low, high = torch.rand(1, 8, 9, 9, dtype=torch.float64), torch.rand(1, 16, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(head([low, high]), head([low, high.flip(2, 3)]))


def test_one_level_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"out=\('c2', 'c5'\)"):
        DeepLabV3Plus(3, (8,), (16,))


@pytest.mark.parametrize("num_convs", [0, 1, 2])
def test_fcn_head_reads_its_level(num_convs):
    head = FCNHead(5, (8, 16, 32), (4, 16, 16), level=-2, num_convs=num_convs).eval()
    features = [torch.rand(2, c, 6, 6) for c in (8, 16, 32)]
    logits = head(features)
    assert logits.shape == (2, 5, 6, 6)
    features[0].zero_(), features[2].zero_()
    assert torch.equal(logits, head(features))


def test_fcn_head_level_out_of_range():
    with pytest.raises(ValueError, match="level must be an index of the backbone's 2 levels, got 2"):
        FCNHead(5, (8, 16), (4, 16), level=2)


@pytest.mark.parametrize(
    ("crop", "rates"),
    [(1025, (6, 12, 18)), (513, (6, 12, 18)), (361, (4, 8, 13)), (257, (3, 6, 9)), (97, (1, 2, 3)), (1, (1, 1, 1))],
)
def test_rates_shrink_with_crops_below_the_published_one(crop, rates):
    """Maps of 33 x 33 took rates up to 18; a map of 17 x 17 takes half of them, and the shorter edge decides."""
    assert rates_for_crop((crop, crop)) == rates_for_crop((crop + 100, crop)) == rates
    assert max(rates) <= max(1, (crop - 1) // 16)  # below the size of the map, at output stride 16


@pytest.mark.parametrize("window_hw", [(3, 3), (4, 5), (1, 9), (20, 20)])
def test_local_mean_is_that_of_the_window_moved_inside(window_hw):
    """By a plain loop. Over a map of the window's size it is the mean of the map, as in training."""
    x = torch.rand(2, 3, 7, 9, dtype=torch.float64)
    expected = torch.empty_like(x)
    for row in range(7):
        for column in range(9):
            top, left = (
                max(0, min(at - window // 2, size - window))
                for at, window, size in zip((row, column), window_hw, (7, 9), strict=True)
            )
            window = x[..., top : top + window_hw[0], left : left + window_hw[1]]
            expected[..., row, column] = window.mean((2, 3))
    torch.testing.assert_close(local_mean(x, window_hw), expected, rtol=1e-12, atol=1e-12)
    whole = x.mean((2, 3), keepdim=True).expand_as(x)
    torch.testing.assert_close(local_mean(x, (7, 9)), whole, rtol=1e-12, atol=1e-12)


def test_pooling_follows_the_stride_and_a_map_of_the_crop_is_averaged_whole():
    torch.manual_seed(0)
    heads = [shake(DeepLabV3Plus(3, (8, 16), (4, 16), channels=32, pooling_hw=size)) for size in (None, (129, 97))]
    heads[1].load_state_dict(heads[0].state_dict())
    assert heads[1].image_pooling.window_hw == (9, 7)
    crop = [torch.rand(1, 8, 33, 25, dtype=torch.float64), torch.rand(1, 16, 9, 7, dtype=torch.float64)]
    torch.testing.assert_close(heads[0](crop), heads[1](crop))
    larger = [torch.rand(1, 8, 65, 65, dtype=torch.float64), torch.rand(1, 16, 17, 17, dtype=torch.float64)]
    one, other = (head.image_pooling(larger[1]) for head in heads)
    assert one.std((2, 3)).max() == 0 and other.std((2, 3)).max() > 1e-3
    heads[1].set_strides((4, 8))
    assert heads[1].image_pooling.window_hw == (17, 13)
