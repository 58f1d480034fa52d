"""Depthwise convolutions of Xception: our kernels beside PyTorch's, as shares of the bandwidth of a copy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from backbones.kernels.dispatch import has_triton
from backbones.layers import DepthwiseConv, set_dilation
from xseg.benchmark.sections import Candidate, Scale, Section, agreement

# (channels, stride of the input map, stride and atrous rate of the convolution) at output stride 16
LAYERS = ((128, 2, 1, 1), (256, 4, 1, 1), (728, 16, 1, 1), (728, 8, 2, 1), (1536, 16, 1, 2), (2048, 16, 1, 6))


def kernels(plan: Scale) -> Section:
    """Forward passes, and steps with both gradients, on maps in channels-last memory; bfloat16 on a GPU."""
    section, dtype = Section([]), torch.bfloat16 if plan.device == "cuda" else torch.float32
    for channels, at, stride, rate in LAYERS:
        edge = max(2, plan.size // at)
        x = torch.randn(plan.batch, channels, edge, edge, device=plan.device).to(memory_format=torch.channels_last)
        conv = DepthwiseConv(channels, stride).to(plan.device)
        set_dilation(conv, rate)
        plain = partial(nn.Conv2d.forward, conv)
        what = f"{channels} channels, {edge} px, stride {stride}, rate {rate}"
        section.checks.append(agreement(f"depthwise of {what}: ours and PyTorch's", conv(x), plain(x)))
        conv, x = conv.to(dtype), x.to(dtype).requires_grad_()
        outputs = 1 / stride**2
        for form, run, maps in (("forward", _forward, 1 + outputs), ("step", _step, 3 + 3 * outputs)):
            moved = maps * x.numel() * x.itemsize / 1e9
            for name, net in (("PyTorch", plain), ("ours", conv)):
                call = partial(run, net, conv.weight, x)
                section.candidates.append(Candidate(name, call, f"{form}, {what}", plan.batch, gbyte=moved))
        if plan.device == "cuda" and has_triton():
            add_separable(section, x.detach(), conv, what)
    return section


def add_separable(section: Section, x: Tensor, conv: DepthwiseConv, what: str) -> None:
    """Add the depthwise and a 1x1 convolution of equal width, for prediction: as two kernels and as one."""
    from backbones.kernels.separable_triton import in_two, separable

    n, channels, height, width = x.shape
    weight = torch.randn(channels, channels, 1, 1, device=x.device, dtype=x.dtype) / channels**0.5
    bias = torch.zeros(channels, device=x.device, dtype=x.dtype)
    maps = (x, conv.weight.detach(), bias, weight, bias, conv.stride, conv.dilation, True)
    pixels = n * -(-height // conv.stride[0]) * -(-width // conv.stride[1])
    gflop, dtype = 2e-9 * pixels * channels * (channels + 9), str(x.dtype).removeprefix("torch.")
    for name, form in (("two kernels", in_two), ("one kernel", separable)):
        run = partial(form, *maps)
        section.candidates.append(Candidate(name, run, f"separable, {what}", n, gflop, dtype=dtype))


@torch.no_grad()
def _forward(net: Callable[[Tensor], Tensor], weight: Tensor, x: Tensor) -> Tensor:
    return net(x)


def _step(net: Callable[[Tensor], Tensor], weight: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """Forward and both gradients; the output serves as its own gradient."""
    y = net(x)
    return torch.autograd.grad(y, (x, weight), y.detach())
