import pytest
import timm
import torch
from peers import shake

from backbones import Xception, equal_width
from backbones.xception import PlainSeparableConv
from xseg.weights.maps.cadene import MAPS

LEVELS = ("c1", "c2", "c3", "c4", "c5")


def test_same_features_as_timm():
    ref = shake(timm.create_model("legacy_xception"))
    pyramid = timm.create_model("legacy_xception", features_only=True).double().eval()
    by_flat = {key.replace(".", "_"): value for key, value in ref.state_dict().items()}
    pyramid.load_state_dict({key: by_flat[key.removeprefix("body.").replace(".", "_")] for key in pyramid.state_dict()})
    ours = Xception(out=LEVELS, stem="valid", taps="after_relu", bn_eps=1e-5).double().eval()
    state = {name.removeprefix("backbone."): value for name, value in MAPS[0].to_ours(ref.state_dict()).items()}
    state = {name: value for name, value in state.items() if not name.startswith("head.")}
    counters = {name: value for name, value in ours.state_dict().items() if name.endswith("num_batches_tracked")}
    ours.load_state_dict(state | counters)
    x = torch.rand(1, 3, 97, 128, dtype=torch.float64)
    with torch.inference_mode():
        mine = ours(x)
        torch.testing.assert_close(mine[-1], ref.forward_features(x), rtol=1e-9, atol=1e-9)
        for a, b in zip(mine, pyramid(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert tuple(m.shape[1] for m in mine) == ours.channels == (64, 128, 256, 728, 2048)


@pytest.mark.parametrize("stem", ["valid", "same"])
@pytest.mark.parametrize("size_hw", [(65, 97), (96, 64)])
def test_atrous_law(stem, size_hw):
    x = torch.rand(1, 3, *size_hw, dtype=torch.float64)
    net = shake(Xception(stem=stem, width=0.25, out=("c5",)))
    outputs = {}
    with torch.inference_mode():
        for output_stride in (32, 16, 8):
            net.set_output_stride(output_stride)
            outputs[output_stride] = net(x)[0]
    torch.testing.assert_close(outputs[16][..., ::2, ::2], outputs[32], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(outputs[8][..., ::4, ::4], outputs[32], rtol=1e-9, atol=1e-9)


def test_parameters_and_multiply_adds(count_gmac):
    net = Xception(out=("c5",), stem="valid")
    assert sum(p.numel() for p in net.parameters()) + 2048 * 1000 + 1000 == 22_855_952
    assert count_gmac(net, (1, 3, 299, 299)) + 2048 * 1000 / 1e9 == pytest.approx(8.36, abs=0.006)


def test_36_convolution_layers_in_14_modules():
    """Counted as the paper counts: a separable convolution is one layer, shortcuts are none."""
    net = Xception()
    assert len(net.stem) + sum(len(block.convs) for block in net.blocks) == 36
    assert 1 + len(net.blocks) == 14


def test_maps_of_the_valid_and_the_same_stem():
    x = torch.rand(1, 3, 512, 512)
    with torch.inference_mode():
        sizes = [
            [f.shape[-1] for f in Xception(width=0.125, out=LEVELS, stem=stem).eval()(x)] for stem in ("valid", "same")
        ]
    assert sizes == [[253, 127, 64, 32, 16], [256, 128, 64, 32, 16]]


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_strides_and_channels_tell_the_truth(output_stride):
    net = Xception(output_stride, out=LEVELS, width=0.125).eval()
    with torch.inference_mode():
        features = net(torch.rand(1, 3, 128, 64))
    assert [128 // f.shape[-2] for f in features] == [*net.strides]
    assert [f.shape[1] for f in features] == [*net.channels]


def test_frozen_stages_cover_the_stem_and_the_entry_flow():
    net = Xception(width=0.125, frozen_stages=4).train()
    assert not any(p.requires_grad for block in net.blocks[:11] for p in block.parameters())
    assert all(p.requires_grad for block in net.blocks[11:] for p in block.parameters())


def test_tensorflow_pooling_differs_at_even_sizes_only():
    """The first map to be pooled is 64 pixels wide from 128 of input, and 65 from 129."""
    nets = [shake(Xception(width=0.125, pool_padding=padding, out=("c2",))) for padding in ("symmetric", "tensorflow")]
    nets[1].load_state_dict(nets[0].state_dict())
    even, odd = torch.rand(1, 3, 128, 128, dtype=torch.float64), torch.rand(1, 3, 129, 129, dtype=torch.float64)
    torch.testing.assert_close(nets[0](odd)[0], nets[1](odd)[0])
    assert not torch.allclose(nets[0](even)[0], nets[1](even)[0])


VARIANTS = [
    {"residual": False},
    {"activation": "relu"},
    {"activation": "elu", "order": "pointwise_first"},
    {"inner_bn": True},
    {"segments": 1},
    {"segments": 3, "order": "pointwise_first"},
    {"num_middle": 0},
    {"num_middle": 3, "segments": 4},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_the_atrous_law_holds_all_over_the_design_space(options):
    """And channels and strides tell the truth, and every parameter gets a gradient."""
    net = shake(Xception(width=0.125, out=LEVELS, **options))
    x = torch.rand(1, 3, 65, 97, dtype=torch.float64)
    coarse = net(x)
    sum(level.sum() for level in coarse).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())
    assert [f.shape[1] for f in coarse] == [*net.channels]
    assert [-(-65 // stride) for stride in net.strides] == [f.shape[-2] for f in coarse]
    net.set_output_stride(8)
    with torch.inference_mode():
        dense = net(x)
    torch.testing.assert_close(dense[-1][..., ::4, ::4], coarse[-1], rtol=1e-9, atol=1e-9)


def test_without_residuals_nothing_is_added():
    """The network is the chain of its modules' main branches; with residuals it is not."""
    for residual in (False, True):
        net = shake(Xception(width=0.125, residual=residual, out=("c2",)))
        x = torch.rand(1, 3, 33, 33, dtype=torch.float64)
        y = net.stem(x)
        block = net.blocks[0]
        chain = block._pool(block.convs[1](block.convs[0](y).relu()))
        assert torch.equal(net(x)[0], chain) != residual
    names = Xception(width=0.125, residual=False).state_dict()
    assert not any("shortcut" in name for name in names)


@pytest.mark.parametrize(("activation", "function"), [("relu", torch.relu), ("elu", torch.nn.functional.elu)])
@pytest.mark.parametrize("order", ["depthwise_first", "pointwise_first"])
def test_the_activation_stands_between_the_two_halves_after_the_inner_bn(activation, function, order):
    conv = shake(PlainSeparableConv(8, 16, order=order, activation=activation, inner_bn=True))
    halves = [conv.depthwise, conv.pointwise] if order == "depthwise_first" else [conv.pointwise, conv.depthwise]
    x = torch.randn(1, 8, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(conv(x), conv.bn(halves[1](function(conv.inner_bn(halves[0](x))))))


def test_a_segment_sees_its_own_channels_only():
    """Of 12 channels in 3 segments, the first output channel of the spatial convolution depends on the first four."""
    conv = PlainSeparableConv(12, 8, segments=3).depthwise
    x = torch.rand(1, 12, 5, 5, requires_grad=True)
    conv(x)[0, 0].sum().backward()
    assert (x.grad.abs().sum((0, 2, 3)) > 0).tolist() == [True] * 4 + [False] * 8
    assert PlainSeparableConv(12, 8, segments=1).depthwise.groups == 1


@pytest.mark.parametrize("segments", [1, 3, 4])
def test_equal_width_gives_equal_parameters(segments):
    width = equal_width(segments, 0.25, num_classes=4)
    nets = Xception(out=("c5",), width=width, segments=segments), Xception(out=("c5",), width=0.25)
    counts = [sum(p.numel() for p in net.parameters()) for net in nets]
    assert counts[0] == pytest.approx(counts[1], rel=0.01) and width < 0.25


def test_the_middle_flow_is_as_deep_as_asked():
    """The paper's depth has 36 layers; every module more has three more."""
    counts = [sum(len(block.convs) for block in Xception(width=0.125, num_middle=n).blocks) for n in (0, 8, 16)]
    assert counts == [34 - 24, 34, 34 + 24]


@pytest.mark.parametrize(
    "options",
    [
        {"stem": "full"},
        {"pool_padding": "same"},
        {"taps": "relu"},
        {"order": "first"},
        {"activation": "gelu"},
        {"num_middle": -1},
        {"segments": 0},
    ],
)
def test_wrong_arguments_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Xception(**options)
