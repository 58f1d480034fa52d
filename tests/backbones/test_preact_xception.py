import pytest
import timm
import torch
from peers import shake

from backbones import PreactXception
from xseg.weights.maps.timm import MAPS

LEVELS = ("c1", "c2", "c3", "c4", "c5")


VARIANTS = [("41p", 41, 1e-5, MAPS[1]), ("65p", 65, 1e-3, MAPS[2])]


@pytest.mark.parametrize(("name", "depth", "bn_eps", "key_map"), VARIANTS)
@pytest.mark.parametrize("output_stride", [8, 32])
def test_same_features_as_timm(name, depth, bn_eps, key_map, output_stride):
    ref = shake(timm.create_model(f"xception{name}", num_classes=0, output_stride=output_stride))
    pyramid = timm.create_model(f"xception{name}", features_only=True, output_stride=output_stride).double().eval()
    by_flat = {key.replace(".", "_"): value for key, value in ref.state_dict().items()}
    pyramid.load_state_dict({key: by_flat[key.replace(".", "_")] for key in pyramid.state_dict()})
    ours = PreactXception(depth, output_stride, out=LEVELS, bn_eps=bn_eps).double().eval()
    state = {key.removeprefix("backbone."): value for key, value in key_map.to_ours(ref.state_dict()).items()}
    assert state.keys() == {key for key in ours.state_dict() if "num_batches" not in key}
    ours.load_state_dict(state, strict=False)  # the counters of batches are no weights
    x = torch.rand(1, 3, 65, 96, dtype=torch.float64)
    with torch.inference_mode():
        mine, theirs = ours(x), pyramid(x)
        torch.testing.assert_close(mine[-1], ref.forward_features(x), rtol=1e-9, atol=1e-9)
    for a, b in zip(mine[:-1], theirs[:-1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(mine[-1], theirs[-1].relu(), rtol=1e-9, atol=1e-9)
    assert tuple(m.shape[1] for m in mine) == ours.channels


@pytest.mark.parametrize("size_hw", [(65, 97), (64, 96)])
def test_atrous_law(size_hw):
    x = torch.rand(1, 3, *size_hw, dtype=torch.float64)
    net = shake(PreactXception(41, width=0.25, out=("c5",)))
    with torch.inference_mode():
        coarse = net(x)[0]
        net.set_output_stride(8)
        torch.testing.assert_close(net(x)[0][..., ::4, ::4], coarse, rtol=1e-9, atol=1e-9)


def test_training_options_work_as_for_the_other():
    net = PreactXception(41, width=0.125, drop_path=0.5, checkpointing=True, frozen_stages=1).train()
    net(torch.rand(2, 3, 33, 33))[-1].sum().backward()
    assert not any(p.requires_grad for p in net.stem.parameters())
    assert net.blocks[1].convs[0].depthwise.weight.grad is not None
