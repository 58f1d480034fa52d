"""The CPU's way of dilated and strided depthwise convolutions equals the plain one, values and gradients."""

import pytest
import torch
import torch.nn.functional as F

from backbones.kernels.depthwise_cpu import depthwise_on_cpu
from backbones.layers import DepthwiseConv, set_dilation, set_stride

SIZES = [(1, 1), (2, 9), (17, 23), (16, 24)]
RATES = [(1, 6), (2, 2), (3, 1), (6, 21), (9, 3), (30, 30)]  # within, at and beyond the size; wide padding too


def plain(x, weight, rate_hw, stride_hw=(1, 1)):
    return F.conv2d(x, weight, None, stride_hw, rate_hw, rate_hw, x.shape[1])


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(
    ("rate_hw", "stride_hw"),
    [*((rate, (1, 1)) for rate in RATES), ((1, 1), (2, 2)), ((1, 1), (3, 1)), ((2, 3), (2, 2))],
)
@pytest.mark.parametrize("size_hw", SIZES)
def test_values_and_gradients_in_float64(size_hw, rate_hw, stride_hw, memory_format):
    torch.manual_seed(0)
    x = torch.randn(2, 8, *size_hw, dtype=torch.float64).contiguous(memory_format=memory_format).requires_grad_()
    weight = torch.randn(8, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    ours, theirs = depthwise_on_cpu(x, weight, stride_hw, rate_hw), plain(x, weight, rate_hw, stride_hw)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    upstream = torch.randn_like(theirs)
    grads = [torch.autograd.grad(y, (x, weight), upstream) for y in (ours, theirs)]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("rate", "stride"), [(2, 1), (7, 1), (18, 1), (1, 2)])
def test_autocast_gives_bfloat16_and_gradients_of_the_weights_own_type(rate, stride):
    torch.manual_seed(0)
    x = torch.randn(2, 32, 17, 17).contiguous(memory_format=torch.channels_last).requires_grad_()
    conv = DepthwiseConv(32, stride)
    set_dilation(conv, rate)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    assert y.dtype == torch.bfloat16
    expected = plain(x, conv.weight, (rate, rate), (stride, stride))
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.05)
    upstream = torch.randn_like(expected)
    y.backward(upstream.bfloat16())
    grads = torch.autograd.grad(expected, (x, conv.weight), upstream)
    for ours, theirs in zip((x.grad, conv.weight.grad), grads, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() <= 0.02 * theirs.norm()


def test_module_is_a_convolution_under_the_same_names():
    conv = DepthwiseConv(8, stride=2)
    assert isinstance(conv, torch.nn.Conv2d) and list(conv.state_dict()) == ["weight"]
    x = torch.randn(1, 8, 9, 10).contiguous(memory_format=torch.channels_last)
    for stride, rate in ((2, 1), (1, 1), (1, 3), (2, 3)):
        set_stride(conv, stride)
        set_dilation(conv, rate)
        expected = F.conv2d(x, conv.weight, None, stride, rate, rate, 8)
        torch.testing.assert_close(conv(x), expected)
    conv.bias = torch.nn.Parameter(torch.randn(8))
    set_stride(conv, 1)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, conv.bias, 1, 3, 3, 8))


def test_channels_last_stays_channels_last_and_frozen_weights_get_no_gradient():
    conv = DepthwiseConv(8).requires_grad_(False)
    set_dilation(conv, 8)
    x = torch.randn(1, 8, 12, 12).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = conv(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    y.sum().backward()
    assert x.grad.is_contiguous(memory_format=torch.channels_last) and conv.weight.grad is None


def test_export_sees_one_convolution_of_any_size():
    conv = DepthwiseConv(8).eval()
    set_dilation(conv, 6)
    x = torch.randn(1, 8, 20, 24).contiguous(memory_format=torch.channels_last)
    size = {2: torch.export.Dim("h", min=2, max=64), 3: torch.export.Dim("w", min=2, max=64)}
    program = torch.export.export(conv, (x,), dynamic_shapes=(size,))
    assert [str(n.target) for n in program.graph.nodes if n.op == "call_function"] == ["aten.conv2d.default"]
    small = x[..., :5, :9].contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(program.module()(small), conv(small))


@pytest.mark.parametrize(("rate", "stride"), [(8, 1), (1, 2)])
def test_compiled_training_step(rate, stride):
    conv = DepthwiseConv(8, stride)
    set_dilation(conv, rate)
    x = torch.randn(1, 8, 17, 17).contiguous(memory_format=torch.channels_last)
    y = torch.compile(conv, backend="aot_eager", fullgraph=True)(x)
    y.square().sum().backward()
    loss = plain(x, conv.weight, (rate, rate), (stride, stride)).square().sum()
    expected = torch.autograd.grad(loss, conv.weight)[0]
    torch.testing.assert_close(conv.weight.grad, expected, rtol=1e-4, atol=1e-4)
