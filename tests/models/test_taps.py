"""Which kernel taps read only padding, counted on paper, and what training does with them."""

import pytest
import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn

from xseg.models.taps import mute, unseen_taps


class Losses(nn.Module):
    """One convolution under the contract of a model: the sum of its outputs as the loss."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv = conv

    def forward(self, images: Tensor, samples: list[dict], mode: str) -> dict[str, Tensor]:
        return {"loss": self.conv(images).sum()}


def taps_without_gradient(conv: nn.Conv2d, images: Tensor) -> Tensor:
    conv.weight.grad = None
    conv(images).square().sum().backward()
    return ~conv.weight.grad.flatten(0, 1).any(0)


@pytest.mark.parametrize("layer", [nn.Conv2d, Conv2dSame])
@pytest.mark.parametrize("size_hw", [(1, 1), (2, 2), (3, 9), (8, 4), (17, 17)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("rate", [1, 2, 3, 8, 9])
def test_unseen_taps_are_those_without_a_gradient(layer, size_hw, stride, rate):
    padding = "" if layer is Conv2dSame else rate
    conv = layer(2, 3, 3, stride, **({"dilation": rate} | ({"padding": padding} if padding else {})))
    images = torch.rand(1, 2, *size_hw) + 0.1
    unseen = unseen_taps(Losses(conv), images, [])
    assert torch.equal(unseen.get("conv", torch.zeros(3, 3, dtype=torch.bool)), taps_without_gradient(conv, images))


def test_rate_18_on_17_pixels_is_a_1x1_convolution():
    """Every outer tap lies 18 pixels from a map of 17; at rate 16 the corners still see one row and one column."""
    images = torch.rand(1, 1, 17, 17)
    unseen = unseen_taps(Losses(nn.Conv2d(1, 1, 3, padding=18, dilation=18)), images, [])["conv"]
    assert unseen.sum() == 8 and not unseen[1, 1]
    assert unseen_taps(Losses(nn.Conv2d(1, 1, 3, padding=16, dilation=16)), images, []) == {}


def test_a_tap_that_one_of_several_maps_reaches_is_seen():
    """As the towers of a detector, which are shared by all levels."""

    class Levels(Losses):
        def forward(self, images, samples, mode):
            return {"loss": self.conv(images).sum() + self.conv(F.avg_pool2d(images, 4)).sum()}

    model = Levels(nn.Conv2d(1, 1, 3, padding=1))
    assert unseen_taps(model, torch.rand(1, 1, 8, 8), []) == {}
    assert unseen_taps(model, torch.rand(1, 1, 4, 4), []) == {}
    assert unseen_taps(Losses(model.conv), torch.rand(1, 1, 1, 1), [])["conv"].sum() == 8


def test_nothing_of_the_model_changes_while_it_is_watched():
    model = Losses(nn.Sequential(nn.Conv2d(1, 2, 3, padding=4, dilation=4), nn.BatchNorm2d(2), nn.Dropout())).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.rand(2, 1, 3, 3)
    state = torch.get_rng_state()
    assert set(unseen_taps(model, images, [])) == {"conv.0"}
    assert model.training and model.conv[1].training and not model.conv[0]._forward_hooks
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_muted_taps_are_zero_and_the_output_stays():
    model = Losses(nn.Conv2d(2, 2, 3, padding=5, dilation=5))
    images = torch.rand(1, 2, 4, 4)
    before = model.conv(images)
    lines = mute(model, unseen_taps(model, images, []))
    assert lines == ["conv at atrous rate 5: 8 of 9"]
    assert model.conv.weight.count_nonzero() == 4
    assert torch.equal(model.conv(images), before)


def test_weights_trained_elsewhere_and_frozen_ones_keep_their_taps():
    model = Losses(nn.Conv2d(1, 1, 3, padding=5, dilation=5))
    unseen = unseen_taps(model, torch.rand(1, 1, 4, 4), [])
    assert mute(model, unseen, keep={"conv.weight"}) == []
    model.requires_grad_(False)
    assert mute(model, unseen) == []
    assert model.conv.weight.all()
