"""The kernel equals both convolutions in float64: in Triton's interpreter, or on a GPU if there is one.

Without a GPU, tests/test_kernels.py runs this file; see tests/conftest.py.
"""

import pytest
import torch
import torch.nn.functional as F
from triton.runtime.errors import OutOfResources

from backbones.kernels import separable_triton
from backbones.kernels.separable_triton import in_two, pays, separable, separable_on_gpu

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NARROW = [torch.float16, torch.bfloat16] if DEVICE == "cuda" else [torch.float16]  # the interpreter multiplies bits
CASES = [  # (N, channels, H, W), outputs, stride, rate
    ((1, 1, 1, 1), 1, (1, 1), (1, 1)),
    ((2, 33, 5, 9), 130, (1, 1), (1, 1)),  # one more than blocks hold
    ((1, 64, 9, 8), 16, (1, 1), (2, 3)),
    ((1, 8, 10, 7), 5, (2, 2), (1, 1)),
    ((1, 40, 6, 11), 20, (1, 1), (9, 30)),  # rates beyond the map
]


def random(shape, outputs, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    channels = shape[1]
    shapes = (shape, (channels, 1, 3, 3), (channels,), (outputs, channels, 1, 1), (outputs,))
    x, *weights = (torch.randn(shape, generator=generator).to(DEVICE, dtype) for shape in shapes)
    return x.contiguous(memory_format=torch.channels_last), *weights


def plain(x, depthwise_weight, depthwise_bias, weight, bias, stride, rate, relu):
    between = F.conv2d(x, depthwise_weight, depthwise_bias, stride, rate, rate, x.shape[1])
    y = F.conv2d(between.relu() if relu else between, weight, bias)
    return y.relu() if relu else y


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("shape", "outputs", "stride", "rate"), CASES)
def test_values(shape, outputs, stride, rate, relu):
    tensors = random(shape, outputs)
    expected = plain(*(tensor.double() for tensor in tensors), stride, rate, relu)
    for form in (separable, in_two):
        y = form(*tensors, stride, rate, relu)
        torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-4)
        assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", NARROW)
def test_half_precision_is_rounded_between_the_halves_and_at_the_end(dtype):
    tensors = random((1, 24, 6, 7), 12, dtype)
    expected = plain(*(tensor.double() for tensor in tensors), (1, 1), (1, 1), True)
    y, precision = separable(*tensors, (1, 1), (1, 1), True), torch.finfo(dtype).eps
    assert y.dtype == dtype
    assert ((y.double() - expected).abs() <= 2 * precision * expected.abs().max()).all()


def test_operation_keeps_torchs_rules():
    arguments = (*random((1, 5, 4, 6), 3), [1, 1], [1, 1], True)
    torch.library.opcheck(separable, arguments)


def test_other_weights_are_refused():
    x, depthwise_weight, depthwise_bias, weight, bias = random((1, 4, 3, 3), 2)
    with pytest.raises(ValueError, match=r"\(4, 1, 3, 3\) and \(outputs, 4, 1, 1\).*got \(3, 1, 3, 3\)"):
        separable(x, depthwise_weight[:3], depthwise_bias, weight, bias, (1, 1), (1, 1), False)


@pytest.mark.parametrize("faster", [separable, in_two, None], ids=["one", "two", "too large for the GPU"])
def test_the_faster_form_is_taken_and_measured_once_for_sizes_alike(monkeypatch, faster):
    """With a clock for which one of the two takes no time."""
    timed = []

    def clock(call, **options):
        form = call.func
        timed.append(form)
        if form is separable and faster is None:
            raise OutOfResources(120_000, 101_376, "shared memory")
        return 0.0 if form is faster else 1.0

    monkeypatch.setattr(separable_triton.triton.testing, "do_bench", clock)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing)
    monkeypatch.setattr(separable_triton, "_measured", {})
    options, capturing = ((1, 1), (1, 1), True), True
    assert not pays(*random((1, 4, 9, 8), 6), *options), "nothing is measured while a graph is captured"
    assert not timed
    capturing = False
    for shape in ((1, 4, 9, 8), (1, 4, 8, 9), (1, 4, 9, 9)):
        assert pays(*random(shape, 6), *options) == (faster is separable)
    assert timed == [separable, in_two]
    pays(*random((4, 4, 9, 9), 6), *options)
    assert len(timed) == 4
    tensors = random((1, 4, 9, 8), 6)
    torch.testing.assert_close(separable_on_gpu(*tensors, *options), plain(*tensors, *options), rtol=1e-4, atol=1e-4)
