"""Inference of one image: our forms of DeepLabv3+ beside other libraries' networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones import AlignedXception
from xseg.benchmarking.networks import Out, our_deeplab, smp_deeplab, torchvision_deeplab, without_grad
from xseg.benchmarking.sections import Candidate, Scale, Section, agreement
from xseg.benchmarking.timing import count_gflop
from xseg.weights.maps.timm import MAPS


def inference(plan: Scale) -> Section:
    """DeepLabv3+ Xception-65 at output stride 16 in its forms, smp's, and torchvision's DeepLabv3; then the trunks."""
    ours = our_deeplab(plan.depth).eval().to(plan.device)
    images = torch.rand(1, 3, plan.size, plan.size, device=plan.device)
    gflop = count_gflop(ours, images)
    fast, narrow = ours.deploy(), ours.deploy("bf16")
    section = Section([], [agreement("deployed and eager", without_grad(fast, images), without_grad(ours, images))])

    def add(name: str, net: nn.Module, x: Tensor, group: str, work: float, dtype: str = "float32") -> None:
        section.candidates.append(Candidate(name, lambda: without_grad(net, x), group, 1, work, dtype))

    add("ours, eager", ours, images, "segmentation", gflop)
    add("ours, deployed", fast, images, "segmentation", gflop)
    add("ours, deployed bf16", narrow, images, "segmentation", gflop, "bfloat16")
    theirs, even = smp_deeplab(plan.depth).eval().to(plan.device), images[..., : plan.even, : plan.even].contiguous()
    work = count_gflop(theirs, even)
    add(f"smp DeepLabV3Plus, eager, {plan.even} px", theirs, even, "segmentation", work)
    if plan.compiled:
        add("ours, deployed, compiled", ours.deploy(compile=True), images, "segmentation", gflop)
        add("ours, deployed bf16, compiled", ours.deploy("bf16", True), images, "segmentation", gflop, "bfloat16")
        add(f"smp DeepLabV3Plus, compiled, {plan.even} px", torch.compile(theirs), even, "segmentation", work)
    else:
        section.left_out.append("compiled forms (--quick)")
    resnet = Out(torchvision_deeplab()).eval().to(plan.device)
    add("torchvision deeplabv3_resnet101, OS 8", resnet, images, "segmentation", count_gflop(resnet, images))
    for name, net in trunks(section, images, plan.depth).items():
        add(name, net, images, "trunk", count_gflop(net, images))
    return section


def trunks(section: Section, images: Tensor, depth: int) -> dict[str, nn.Module]:
    """Our Xception and timm's with the same weights, after comparing what they give."""
    import timm

    theirs = timm.create_model(f"xception{depth}", pretrained=False, output_stride=16, num_classes=0).eval()
    renamed = MAPS[0].to_ours(theirs.state_dict())
    ours = AlignedXception(depth, output_stride=16, out=("c5",)).eval()
    ours.load_state_dict({name.removeprefix("backbone."): value for name, value in renamed.items()})
    theirs.forward = theirs.forward_features
    nets = {f"our Xception-{depth}": ours.to(images.device), f"timm xception{depth}": theirs.to(images.device)}
    a, b = (without_grad(net, images) for net in nets.values())
    section.checks.append(agreement("our Xception and timm's", a[0], b))
    return nets
