"""Strided 1x1 convolutions of few channels: oneDNN's gradient writes outside its memory, so they go another way."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from backbones.kernels.pointwise import SAFE_CHANNELS, project
from backbones.layers import ConvBN

STEPS = """
import torch
from backbones import {network}
torch.set_num_threads(1)
trunk = {network}({arguments}).to(memory_format=torch.channels_last)
for _ in range(2):
    sum(level.square().mean() for level in trunk(torch.rand(8, 3, 128, 128))).backward()
print("well")
"""


@pytest.mark.parametrize(
    ("network", "arguments"),
    [
        ("AlignedXception", "41, width=0.125"),
        ("PreactXception", "41, width=0.03"),
        ("Xception", "width=0.06"),
    ],
)
def test_narrow_trunks_train_in_channels_last_memory(network, arguments):
    """AlignedXception of width 0.125 and less ended in a segmentation fault or a corrupted heap."""
    code = STEPS.format(network=network, arguments=arguments)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, "well"), run.stderr


@pytest.mark.parametrize("size_hw", [(1, 1), (8, 6), (7, 9)])
def test_values_and_gradients_are_those_of_the_convolution(size_hw):
    conv = torch.nn.Conv2d(3, 5, 1, stride=2, bias=False, dtype=torch.float64)
    x = torch.randn(2, 3, *size_hw, dtype=torch.float64, requires_grad=True)
    ours, theirs = project(conv, x), F.conv2d(x, conv.weight, stride=2)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    upstream = torch.randn_like(theirs)
    grads = [torch.autograd.grad(y, (x, conv.weight), upstream) for y in (ours, theirs)]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-12, atol=1e-12)


def test_only_few_channels_leave_the_convolution():
    """Layers of published widths stay single convolutions, which packing and counting programs see."""
    for channels, expected in ((SAFE_CHANNELS - 1, 0), (SAFE_CHANNELS, 1)):
        layer, calls = ConvBN(channels, 8, stride=2), []
        layer.conv.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        layer(torch.rand(2, channels, 4, 4))
        assert len(calls) == expected
