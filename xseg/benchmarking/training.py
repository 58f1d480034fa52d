"""Training steps: forward, loss, backward, update."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xseg.benchmarking.networks import NUM_CLASSES, our_deeplab, smp_deeplab
from xseg.benchmarking.sections import Candidate, Scale, Section
from xseg.benchmarking.timing import count_gflop


def train(plan: Scale) -> Section:
    """One step of SGD: forward, cross-entropy at full resolution, backward, update; in bfloat16 too."""
    edge, section = plan.even, Section([])
    images = torch.rand(plan.batch, 3, edge, edge, device=plan.device)
    masks = torch.randint(0, NUM_CLASSES, (plan.batch, edge, edge), device=plan.device)
    samples = [{"mask": mask.byte()} for mask in masks]
    ours = our_deeplab(plan.depth, channels_last=True).train().to(plan.device)
    theirs = smp_deeplab(plan.depth).train().to(plan.device, memory_format=torch.channels_last)
    images_last = images.contiguous(memory_format=torch.channels_last)
    losses = {
        "ours": (ours, lambda: ours(images, samples, mode="loss")["loss_ce"]),
        "smp DeepLabV3Plus": (theirs, lambda: F.cross_entropy(theirs(images_last).float(), masks)),
    }
    # The counter takes the weight gradient of a depthwise convolution for that of a dense one: hence 3 forward passes.
    work = {name: 3 * count_gflop(net, images) for name, (net, _) in losses.items()}
    steps = {name: training_step(net, loss, plan.device) for name, (net, loss) in losses.items()}
    for dtype in ("float32", "bfloat16"):
        for name, step in steps.items():
            run = partial(step, dtype == "bfloat16")
            title = f"{name}, channels-last, {dtype if dtype == 'float32' else 'bf16 AMP'}"
            section.candidates.append(Candidate(title, run, dtype, plan.batch, work[name], dtype))
    return section


def training_step(net: nn.Module, loss: Callable[[], Tensor], device: str) -> Callable[[bool], None]:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.007, momentum=0.9)

    def step(narrow: bool) -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=narrow):
            value = loss()
        value.backward()
        optimizer.step()

    return step
