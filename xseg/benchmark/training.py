"""Training steps: forward, loss, backward, update."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xseg.benchmark.networks import NUM_CLASSES, inception_v3, our_classifier, our_deeplab, smp_deeplab
from xseg.benchmark.sections import Candidate, Scale, Section
from xseg.benchmark.timing import count_gflop

TITLES = {"float32": "fp32", "bfloat16": "bf16 AMP"}


def train(plan: Scale) -> Section:
    """SGD steps in channels-last memory, in float32 and bfloat16: DeepLabv3+ with cross-entropy at full resolution,
    and the classifiers of the Xception paper."""
    section = Section([])
    segmentation(section, plan)
    classifiers(section, plan)
    if not plan.compiled:
        section.left_out.append("compiled forms (--quick)")
    return section


def segmentation(section: Section, plan: Scale) -> None:
    edge = plan.train_size
    images = torch.rand(plan.batch, 3, edge, edge, device=plan.device)
    masks = torch.randint(0, NUM_CLASSES, (plan.batch, edge, edge), device=plan.device)
    samples = [{"mask": mask.byte()} for mask in masks]
    last = images.contiguous(memory_format=torch.channels_last)

    def smp(compiled: bool = False) -> tuple[nn.Module, Callable[[], Tensor]]:
        net = smp_deeplab(plan.depth).train().to(plan.device, memory_format=torch.channels_last)
        run = torch.compile(net) if compiled else net
        return net, lambda: F.cross_entropy(run(last).float(), masks)

    def ours(compiled: bool = False) -> tuple[nn.Module, Callable[[], Tensor]]:
        net = our_deeplab(plan.depth, channels_last=True, compiled=compiled).train().to(plan.device)
        return net, lambda: net(images, samples, mode="loss")["loss_ce"]

    forms = {"smp DeepLabV3Plus, eager": smp(), "ours, eager": ours()}
    if plan.compiled:
        forms |= {"smp DeepLabV3Plus, compiled": smp(True), "ours, compiled": ours(True)}
    add_steps(section, f"segmentation, {plan.batch} x {edge} px", forms, images, plan)


def classifiers(section: Section, plan: Scale) -> None:
    edge = plan.classifier_size
    images = torch.rand(plan.batch, 3, edge, edge, device=plan.device)
    labels = torch.randint(0, 1000, (plan.batch,), device=plan.device)
    last = images.contiguous(memory_format=torch.channels_last)
    forms = {}
    for name, net in (("torchvision inception_v3", inception_v3()), ("our Xception", our_classifier())):
        net = net.train().to(plan.device, memory_format=torch.channels_last)
        forms[name] = net, lambda net=net: F.cross_entropy(net(last).float(), labels)
    add_steps(section, f"classifier, {plan.batch} x {edge} px", forms, images, plan)


def add_steps(
    section: Section, group: str, forms: dict[str, tuple[nn.Module, Callable]], images: Tensor, plan: Scale
) -> None:
    """Add a training step of every form in both dtypes; `forms`: name -> (network, function of its loss)."""
    # A step is counted as 3 forward passes: torch's counter takes the weight gradient of a depthwise convolution for
    # a dense one.
    work = {name: 3 * count_gflop(net, images) for name, (net, _) in forms.items()}
    steps = {name: training_step(net, loss, plan.device) for name, (net, loss) in forms.items()}
    for dtype, title in TITLES.items():
        for name, step in steps.items():
            run = partial(step, dtype == "bfloat16")
            candidate = Candidate(name, run, f"{group}, {title}", len(images), work[name], dtype=dtype)
            section.candidates.append(candidate)


def training_step(net: nn.Module, loss: Callable[[], Tensor], device: str) -> Callable[[bool], None]:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.007, momentum=0.9)

    def step(narrow: bool) -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=narrow):
            value = loss()
        value.backward()
        optimizer.step()

    return step
