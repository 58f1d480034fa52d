"""The kernels equal torch's convolution in float64: in Triton's interpreter, or on a GPU if there is one.

Without a GPU, tests/test_kernels.py runs this file; see tests/conftest.py.
"""

import pytest
import torch
import torch.nn.functional as F

from backbones.kernels import depthwise_triton
from backbones.kernels.depthwise_triton import depthwise, depthwise_input_grad, depthwise_on_gpu, depthwise_weight_grad

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CASES = [  # (N, channels, H, W), stride, rate
    ((1, 1, 1, 1), (1, 1), (1, 1)),
    ((2, 3, 5, 9), (1, 1), (1, 1)),
    ((1, 70, 4, 3), (1, 1), (2, 1)),  # more channels than a block has, and no multiple
    ((1, 8, 6, 11), (1, 1), (9, 30)),  # rates beyond the map
    ((1, 8, 10, 8), (2, 2), (1, 1)),  # even size
    ((1, 8, 7, 9), (2, 2), (1, 1)),
    ((1, 4, 9, 8), (2, 1), (2, 3)),
]


@pytest.fixture(autouse=True)
def several_parts(monkeypatch):
    """Of the weight gradient, on maps that the interpreter gets through."""
    monkeypatch.setattr(depthwise_triton, "TILES", 2)


def random(shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(DEVICE, dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(shape[1], 1, 3, 3, generator=generator).to(DEVICE, dtype)
    return x.requires_grad_(), weight.requires_grad_(), torch.randn(shape[1], generator=generator).to(DEVICE, dtype)


def plain(x, weight, bias, stride, rate, relu=False):
    y = F.conv2d(x, weight, bias, stride, rate, rate, x.shape[1])
    return y.relu() if relu else y


@pytest.mark.parametrize("extras", [False, True], ids=["bare", "bias and ReLU"])
@pytest.mark.parametrize(("shape", "stride", "rate"), CASES)
def test_values_and_gradients(shape, stride, rate, extras):
    x, weight, bias = random(shape)
    leaves = (x, weight, bias.requires_grad_()) if extras else (x, weight)
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    ours = depthwise(x, weight, bias if extras else None, stride, rate, extras)
    theirs = plain(*wide, *([] if extras else [None]), stride, rate, extras)
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    upstream = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    grads = torch.autograd.grad(ours, leaves, upstream)
    expected = torch.autograd.grad(theirs, wide, upstream.double())
    for a, b in zip(grads, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-5)
    assert grads[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype):
    x, weight, bias = random((1, 8, 9, 8), dtype)
    ours = depthwise(x, weight, bias, (1, 1), (2, 2), False)
    expected = plain(x.double(), weight.double(), bias.double(), (1, 1), (2, 2))
    precision = torch.finfo(dtype).eps
    torch.testing.assert_close(ours.double(), expected, rtol=precision, atol=1e-6)
    upstream = torch.randn_like(ours)
    grads = torch.autograd.grad(ours, (x, weight), upstream)
    wide = torch.autograd.grad(expected, (x, weight), upstream.double())
    for a, b in zip(grads, wide, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a.double(), b.double(), rtol=2 * precision, atol=1e-6)


def test_autocast_computes_in_its_type_and_gives_gradients_in_the_weights():
    x, weight, _ = random((1, 4, 5, 6))
    with torch.autocast(DEVICE, torch.bfloat16):
        y = depthwise_on_gpu(x, weight, None, (1, 1), (1, 1), False)
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert weight.grad.dtype == x.grad.dtype == torch.float32


def test_operations_keep_torchs_rules():
    """Schema, fake outputs and their strides, autograd, and what a compiler makes of them with dynamic sizes."""
    (x, weight, bias), stride, rate = random((1, 3, 5, 6)), (2, 2), (1, 1)
    torch.library.opcheck(depthwise, (x, weight, bias.requires_grad_(), list(stride), list(rate), True))
    grad = torch.randn_like(plain(x, weight, None, stride, rate)).detach()
    torch.library.opcheck(depthwise_input_grad, (grad, weight.detach(), [5, 6], list(stride), list(rate)))
    torch.library.opcheck(depthwise_weight_grad, (x.detach(), grad, list(stride), list(rate)))


def test_compiled_without_a_break_in_the_graph():
    x, weight, _ = random((1, 4, 5, 6))

    def step(x, weight):
        return depthwise_on_gpu(x.relu(), weight, None, (1, 1), (2, 2), False) * 2

    backend = "inductor" if DEVICE == "cuda" else "aot_eager"
    ours = torch.compile(step, fullgraph=True, backend=backend)(x, weight)
    theirs = plain(x.relu(), weight, None, (1, 1), (2, 2)) * 2
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    for a, b in zip(*(torch.autograd.grad(y.square().sum(), (x, weight)) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_another_weight_is_refused():
    x, _, _ = random((1, 4, 5, 6))
    with pytest.raises(ValueError, match=r"weight must be \(4, 1, 3, 3\) torch.float32 .* got \(5, 1, 3, 3\)"):
        depthwise(x, torch.ones(5, 1, 3, 3, device=DEVICE), None, (1, 1), (1, 1), False)
