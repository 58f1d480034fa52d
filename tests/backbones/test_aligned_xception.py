import pytest
import timm
import torch
from peers import shake

from backbones import AlignedXception
from backbones.aligned_xception import drop_path
from xseg.weights.maps.timm import MAPS

LEVELS = ("c1", "c2", "c3", "c4", "c5")


@pytest.mark.parametrize("depth", [41, 65, 71])
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_same_features_as_timm(depth, output_stride):
    """All five levels, at an odd height and an even width.

    timm's xception71 loses the projection of its fifth block at output stride 8, where that block's stride is gone
    and its channels do not change; TensorFlow's keeps it, and so do we: there ours is compared without it.
    """
    ref = shake(timm.create_model(f"xception{depth}", num_classes=0, output_stride=output_stride))
    pyramid = timm.create_model(f"xception{depth}", features_only=True, output_stride=output_stride).double().eval()
    pyramid.load_state_dict(flat(ref, pyramid))
    ours = AlignedXception(depth, output_stride, out=LEVELS, taps="after_relu").double().eval()
    if (depth, output_stride) == (71, 8):
        ours.blocks[4].skip = "sum"
        del ours.blocks[4].shortcut
    load(ours, MAPS[0], ref)
    x = torch.rand(1, 3, 65, 96, dtype=torch.float64)
    with torch.inference_mode():
        mine, theirs = ours(x), pyramid(x)
        torch.testing.assert_close(mine[-1], ref.forward_features(x), rtol=1e-9, atol=1e-9)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert tuple(m.shape[1] for m in mine) == ours.channels
    assert tuple(96 // m.shape[-1] for m in mine) == ours.strides


def load(ours, key_map, ref):
    """Strictly; timm's counters of batches are no weights."""
    state = {name.removeprefix("backbone."): value for name, value in key_map.to_ours(ref.state_dict()).items()}
    counters = {name: value for name, value in ours.state_dict().items() if name.endswith("num_batches_tracked")}
    ours.load_state_dict(state | counters)


def flat(ref, pyramid):
    """timm's `features_only` flattens module names with underscores."""
    by_flat = {key.replace(".", "_"): value for key, value in ref.state_dict().items()}
    return {key: by_flat[key.replace(".", "_")] for key in pyramid.state_dict()}


@pytest.mark.parametrize("size_hw", [(65, 97), (64, 96)])
@pytest.mark.parametrize("depth", [41, 71])
def test_atrous_law(depth, size_hw):
    """The dense network, subsampled, is the strided one: dilation changes how often, not what, is computed."""
    x = torch.rand(1, 3, *size_hw, dtype=torch.float64)
    net = shake(AlignedXception(depth, output_stride=32, width=0.25, out=("c5",)))
    outputs = {}
    with torch.inference_mode():
        for output_stride in (32, 16, 8):
            net.set_output_stride(output_stride)
            outputs[output_stride] = net(x)[0]
    torch.testing.assert_close(outputs[16][..., ::2, ::2], outputs[32], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(outputs[8][..., ::4, ::4], outputs[32], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("depth", "with_classifier", "gmac"),
    [
        (41, 26_969_560, (27.41, 34.55, 109.20)),
        (65, 39_916_312, (41.44, 48.57, 163.61)),
        (71, 42_338_736, (53.47, 60.60, 174.48 + 2.24)),  # timm's 174.48 lacks a projection of 728 * 728 * 65 * 65
    ],
)
def test_parameters_and_multiply_adds(depth, with_classifier, gmac, count_gmac):
    net = AlignedXception(depth, out=("c5",))
    assert sum(p.numel() for p in net.parameters()) + 2048 * 1000 + 1000 == with_classifier
    for output_stride, expected in zip((32, 16, 8), gmac, strict=True):
        net.set_output_stride(output_stride)
        assert count_gmac(net, (1, 3, 513, 513)) == pytest.approx(expected, abs=0.006)


def test_taps_before_relu_are_what_the_relu_sees():
    before = shake(AlignedXception(41, width=0.25, out=LEVELS))
    after = AlignedXception(41, width=0.25, out=LEVELS, taps="after_relu").double().eval()
    after.load_state_dict(before.state_dict())
    x = torch.rand(1, 3, 65, 65, dtype=torch.float64)
    for a, b in zip(before(x), after(x), strict=True):
        torch.testing.assert_close(a.relu(), b)
    assert before(x)[0].min() < 0


def test_asking_for_shallow_levels_gives_the_same_maps():
    every = shake(AlignedXception(65, width=0.125, out=LEVELS))
    x = torch.rand(1, 3, 33, 33, dtype=torch.float64)
    for index, level in enumerate(LEVELS):
        one = AlignedXception(65, width=0.125, out=(level,)).double().eval()
        one.load_state_dict(every.state_dict())
        torch.testing.assert_close(one(x)[0], every(x)[index])


def test_multi_grid_multiplies_the_rates_of_the_last_block_only():
    net = AlignedXception(41, output_stride=16, width=0.125, multi_grid=(1, 2, 4))
    assert [conv.depthwise.dilation[0] for conv in net.blocks[-1].convs] == [2, 4, 8]
    assert {conv.depthwise.dilation[0] for block in net.blocks[:-1] for conv in block.convs} == {1}


def test_frozen_parts_stay_frozen_after_train():
    net = AlignedXception(41, width=0.125, frozen_stages=2, frozen_bn=True).train()
    frozen = [*net.stem.modules(), *net.blocks[0].modules()]
    assert not any(p.requires_grad for m in frozen for p in m.parameters())
    assert net.blocks[1].convs[0].depthwise.weight.requires_grad
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net(torch.rand(2, 3, 64, 64))[-1].sum().backward()
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())  # statistics did not move
    assert not any(m.training for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_checkpointing_gives_equal_gradients():
    nets = [AlignedXception(41, width=0.125, checkpointing=flag).double() for flag in (False, True)]
    nets[1].load_state_dict(nets[0].state_dict())
    x = torch.rand(2, 3, 33, 33, dtype=torch.float64)
    for net in nets:
        net(x)[-1].square().sum().backward()
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad)


def test_drop_path_drops_whole_samples_and_keeps_the_expectation():
    torch.manual_seed(0)
    y = drop_path(torch.ones(4000, 2, 1, 1), 0.25)
    assert sorted(y.unique().tolist()) == [0.0, pytest.approx(4 / 3)]
    assert (y[:, 0] == y[:, 1]).all()
    assert y.mean().item() == pytest.approx(1, abs=0.05)


def test_drop_path_acts_in_training_only_and_rises_with_depth():
    net = AlignedXception(41, width=0.125, drop_path=0.5)
    assert net.blocks[0].drop_path == 0
    assert net.blocks[-1].drop_path == 0.5
    x = torch.rand(2, 3, 33, 33)
    net.train()
    assert not torch.equal(net(x)[-1], net(x)[-1])
    net.eval()
    assert torch.equal(net(x)[-1], net(x)[-1])


def test_another_number_of_input_channels():
    assert AlignedXception(41, width=0.125, in_channels=5)(torch.rand(2, 5, 32, 32))[-1].shape == (2, 256, 1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 50}, "depth must be one of"),
        ({"output_stride": 4}, "output_stride must be 8, 16 or 32, got 4"),
        ({"out": ("c5", "c2")}, "from shallow to deep"),
        ({"out": ("c6",)}, "out must name levels"),
        ({"multi_grid": (1, 2)}, "three factors"),
        ({"taps": "relu"}, "taps must be"),
        ({"drop_path": 1.0}, "drop_path must be"),
        ({"frozen_stages": 6}, "frozen_stages must be"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        AlignedXception(**{"width": 0.125, **options})
