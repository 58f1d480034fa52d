"""Receptive fields, compared with the pixels from which a gradient comes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backbones import AlignedXception, PreactXception, Xception
from xseg.models.receptive_field import Reach, ReceptiveFields

LEVELS = ("c1", "c2", "c3", "c4", "c5")


def reaches(net, images):
    """The reach of every map of a network, on tensors without values."""
    fields = ReceptiveFields()
    images = images.to("meta")
    fields.reach[images] = Reach()
    with fields, torch.no_grad():
        maps = net.to("meta")(images)
        return [fields.reach[m] for m in maps]


def seen_pixels(x, output):
    """Distance from the first to the last column of x that the middle pixel of an output depends on."""
    (grad,) = torch.autograd.grad(output[..., output.shape[-1] // 2].sum(), x, retain_graph=True)
    columns = grad.abs().sum((0, 1, 2)).nonzero()
    return int(columns[-1] - columns[0]) + 1


def positive(net):
    """Positive weights and no statistics: no path cancels another."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    return net.double().eval()


def sums(x, kernel, stride, dilation):
    """In place of a maximum, which passes its gradient to one pixel of the window. Padding with -inf becomes 0."""
    weight = x.new_ones(x.shape[1], 1, kernel, kernel)
    return F.conv2d(x.clamp(min=0), weight, None, stride, 0, dilation, x.shape[1])


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("trunk", [AlignedXception, PreactXception, Xception])
def test_fields_of_the_trunks_are_those_of_gradients(trunk, output_stride, monkeypatch):
    """On images of one row, which cost little: their columns are convolved as those of any image."""
    depth = {} if trunk is Xception else {"depth": 41}
    net = positive(trunk(output_stride=output_stride, out=LEVELS, width=0.01, **depth))
    x = torch.ones(1, 3, 1, 4001, dtype=torch.float64, requires_grad=True)
    with monkeypatch.context() as patch:
        patch.setattr(F, "max_pool2d", sums)
        seen = [seen_pixels(x, level) for level in net(x)]
    known = reaches(net, x)
    assert seen == [reach.field_hw[1] for reach in known]
    assert [reach.stride_hw for reach in known] == [(stride, stride) for stride in net.strides]
    assert max(seen) < x.shape[-1]


def test_pooling_counts_as_a_window():
    """The maximum passes its gradient to one pixel; an average of the same window, dilation 1, to all."""
    x = torch.rand(1, 1, 1, 64, dtype=torch.float64, requires_grad=True)
    weight = torch.ones(1, 1, 1, 3, dtype=torch.float64)

    def net(x, pool):
        y = F.conv2d(x, weight, padding=(0, 1))
        return F.conv2d(pool(y), weight, padding=(0, 1))

    seen = seen_pixels(x, net(x, lambda y: F.avg_pool2d(y, (1, 3), 2, (0, 1))))
    for pool in (F.avg_pool2d, F.max_pool2d):
        fields, images = ReceptiveFields(), x.detach().to("meta")
        fields.reach[images] = Reach()
        weight = weight.to("meta")
        with fields:
            reach = fields.reach[net(images, lambda y, pool=pool: pool(y, (1, 3), 2, (0, 1)))]
        assert reach.field_hw == (1, seen) == (1, 3 + 2 + 4)
        assert reach.stride_hw == (2, 2)


@pytest.mark.parametrize(
    ("operation", "field", "stride"),
    [
        (lambda x: x[..., ::2, ::2], 1, 2),
        (lambda x: F.interpolate(x[..., ::4, ::4], scale_factor=2), 1, 2),
        (lambda x: F.interpolate(x[..., ::4, ::4], scale_factor=2, mode="bilinear"), 1 + 4, 2),
        (
            lambda x: F.interpolate(x[..., ::4, ::4], size=x.shape[-2:], mode="bilinear", align_corners=True),
            5,
            4 * 15 / 63,
        ),
        (lambda x: F.conv_transpose2d(x[..., ::2, ::2], x.new_empty(1, 1, 4, 4), stride=2, padding=1), 1 + 2, 1),
        (lambda x: torch.cat([F.max_pool2d(x, 3, 1, 1), x], 1), 3, 1),
        (lambda x: x + F.dropout(F.pad(x, (1, 1, 1, 1))[..., 1:-1, 1:-1]), 1, 1),
        (lambda x: x * x.mean((2, 3), keepdim=True), math.inf, 1),
        (lambda x: x @ x, math.inf, math.nan),
    ],
)
def test_rules(operation, field, stride):
    fields, images = ReceptiveFields(), torch.empty(1, 1, 64, 64, device="meta")
    fields.reach[images] = Reach()
    with fields:
        reach = fields.reach[operation(images)]
    assert reach.field_hw == (field, field)
    assert reach.stride_hw == pytest.approx((stride, stride), nan_ok=True)
