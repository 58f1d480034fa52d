"""The CPU's matrix product of pixels equals the 1x1 convolution that it stands for."""

import pytest
import torch
import torch.nn.functional as F

from backbones.kernels.pointwise import FEW_PIXELS
from backbones.layers import PointwiseConv


def products(run) -> list[str]:
    """Which operation computes: a matrix product or a convolution."""
    with torch.profiler.profile() as profile:
        run()
    return [name for name in ("aten::linear", "aten::conv2d") if any(e.name == name for e in profile.events())]


@pytest.mark.parametrize("size_hw", [(1, 1), (5, 7), (32, 32)])
@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_in_float64(size_hw, bias):
    conv = PointwiseConv(6, 10).double()
    if bias:  # as folding a BatchNorm leaves it
        conv.bias = torch.nn.Parameter(torch.randn(10, dtype=torch.float64))
    x = torch.randn(2, 6, *size_hw, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    ours, theirs = conv(x), F.conv2d(x, conv.weight, conv.bias)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    upstream = torch.randn_like(theirs)
    grads = [torch.autograd.grad(y, (x, *conv.parameters()), upstream) for y in (ours, theirs)]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-12, atol=1e-12)


def test_only_few_pixels_in_channels_last_memory_are_multiplied():
    conv = PointwiseConv(4, 4)
    few, many = torch.rand(1, 4, 1, FEW_PIXELS - 1), torch.rand(1, 4, 1, FEW_PIXELS)
    assert products(lambda: conv(few)) == ["aten::conv2d"]
    few, many = (x.contiguous(memory_format=torch.channels_last) for x in (few, many))
    assert products(lambda: conv(few)) == ["aten::linear"]
    assert products(lambda: conv(many)) == ["aten::conv2d"]


def test_export_sees_a_convolution():
    x = torch.randn(1, 8, 5, 6).contiguous(memory_format=torch.channels_last)
    program = torch.export.export(PointwiseConv(8, 4), (x,))
    assert [str(n.target) for n in program.graph.nodes if n.op == "call_function"] == ["aten.conv2d.default"]
