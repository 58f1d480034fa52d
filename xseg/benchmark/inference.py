"""Inference: our DeepLabv3+, trunks, classifiers and detectors beside the networks and engines of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from backbones import AlignedXception
from heads.contract import Instances
from xseg.benchmark.engines import add_engines
from xseg.benchmark.networks import (
    as_torchvision_normalises,
    detectors,
    inception_v3,
    our_classifier,
    our_deeplab,
    smp_deeplab,
    torchvision_deeplab,
    without_grad,
)
from xseg.benchmark.sections import Candidate, Scale, Section, agreement
from xseg.benchmark.timing import count_gflop
from xseg.models import Detector, Segmentor
from xseg.weights.maps.timm import MAPS

FAINT = 0.009  # score threshold; classifiers with initial weights give more


def inference(plan: Scale) -> Section:
    """Forward passes of a batch; the first of every group is another library's network, as its users run it."""
    section = Section([])
    images = torch.rand(plan.images, 3, plan.size, plan.size, device=plan.device)
    segmentation(section, images, plan)
    trunks(section, images, plan)
    classifiers(section, plan)
    detection(section, images, plan)
    if not plan.compiled:
        section.left_out.append("torch.compile, OpenVINO and ONNX Runtime (--quick)")
    return section


def add(
    section: Section, group: str, name: str, net: Callable, images: Tensor, gflop: float | None, dtype: str = "float32"
) -> None:
    run = partial(without_grad, net, images)
    section.candidates.append(Candidate(name, run, group, len(images), gflop, dtype=dtype))


def add_forms(section: Section, group: str, name: str, net: nn.Module, images: Tensor, plan: Scale) -> None:
    """Add the eager network and, if the scale says so, the compiled one."""
    gflop = count_gflop(net, images)
    add(section, group, name, net, images, gflop)
    if plan.compiled:
        add(section, group, f"{name}, compiled", torch.compile(net), images, gflop)


def segmentation(section: Section, images: Tensor, plan: Scale) -> None:
    """Our DeepLabv3+ (output stride 16) in all its forms, smp's, and torchvision's DeepLabv3, up to the logits; ours
    and smp's also up to the labels."""
    group = f"segmentation, {plan.size} px"
    theirs = smp_deeplab(plan.depth).eval().to(plan.device)
    narrow = smp_deeplab(plan.depth).eval().to(plan.device, torch.bfloat16)
    work = count_gflop(theirs, images)
    add(section, group, "smp DeepLabV3Plus, eager", theirs, images, work)
    add(section, group, "smp DeepLabV3Plus, eager bf16", narrow, images.bfloat16(), work, "bfloat16")
    if plan.compiled:
        add(section, group, "smp DeepLabV3Plus, compiled", torch.compile(theirs), images, work)
        compiled = torch.compile(narrow)
        add(section, group, "smp DeepLabV3Plus, compiled bf16", compiled, images.bfloat16(), work, "bfloat16")
    ours = our_deeplab(plan.depth).eval().to(plan.device)
    gflop = count_gflop(ours, images)
    deployed, half = ours.deploy(), ours.deploy("bf16")
    section.checks.append(agreement("deployed and eager", without_grad(deployed, images), without_grad(ours, images)))
    add(section, group, "ours, eager", ours, images, gflop)
    add(section, group, "ours, deployed", deployed, images, gflop)
    add(section, group, "ours, deployed bf16", half, images, gflop, "bfloat16")
    if plan.compiled:
        add(section, group, "ours, deployed, compiled", ours.deploy(compile=True), images, gflop)
        add(section, group, "ours, deployed bf16, compiled", ours.deploy("bf16", True), images, gflop, "bfloat16")
        add_engines(section, group, {"smp": work, "ours": gflop}, plan)
    resnet = torchvision_deeplab().eval().to(plan.device)
    add_forms(section, group, "torchvision deeplabv3_resnet101, OS 8", resnet, images, plan)

    group = f"labels, {plan.size} px"  # a class for every pixel, as `xseg predict` needs it
    theirs, narrow = Argmax(theirs), Argmax(narrow)
    add(section, group, "smp DeepLabV3Plus, argmax", theirs, images, work)
    if plan.compiled:
        add(section, group, "smp DeepLabV3Plus, argmax, compiled", torch.compile(theirs), images, work)
        compiled = torch.compile(narrow)
        add(section, group, "smp DeepLabV3Plus, argmax, compiled bf16", compiled, images.bfloat16(), work, "bfloat16")
    add(section, group, "ours, deployed", partial(our_labels, deployed), images, gflop)
    add(section, group, "ours, deployed bf16", partial(our_labels, half), images, gflop, "bfloat16")


def our_labels(net: Segmentor, images: Tensor) -> Tensor:
    return net.inference(net.coarse_logits, images)


class Argmax(nn.Module):
    """The class of every pixel by `argmax(1)`, which users of such a network write themselves."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).argmax(1)


def trunks(section: Section, images: Tensor, plan: Scale) -> None:
    """timm's Xception and ours with the same weights; their features are compared first."""
    import timm

    theirs = timm.create_model(f"xception{plan.depth}", pretrained=False, output_stride=16, num_classes=0).eval()
    renamed = MAPS[0].to_ours(theirs.state_dict())
    ours = AlignedXception(plan.depth, output_stride=16, out=("c5",)).eval()
    ours.load_state_dict({name.removeprefix("backbone."): value for name, value in renamed.items()})
    theirs.forward = theirs.forward_features
    nets = {f"timm xception{plan.depth}": theirs.to(plan.device), f"our Xception-{plan.depth}": ours.to(plan.device)}
    b, a = (without_grad(net, images) for net in nets.values())
    section.checks.append(agreement("our Xception and timm's", a[0], b))
    for name, net in nets.items():
        add_forms(section, f"trunk, {plan.size} px", name, net, images, plan)


def classifiers(section: Section, plan: Scale) -> None:
    """Xception and Inception V3, the pair that the Xception paper compares."""
    edge = plan.classifier_size
    images = torch.rand(plan.images, 3, edge, edge, device=plan.device)
    ours, theirs = our_classifier().eval().to(plan.device), inception_v3().eval().to(plan.device)
    gflop, group = count_gflop(ours, images), f"classifier, {edge} px"
    add_forms(section, group, "torchvision inception_v3", theirs, images, plan)
    add(section, group, "our Xception, eager", ours, images, gflop)
    add(section, group, "our Xception, deployed", ours.deploy(), images, gflop)
    add(section, group, "our Xception, deployed bf16", ours.deploy("bf16"), images, gflop, "bfloat16")


def detection(section: Section, images: Tensor, plan: Scale) -> None:
    """RetinaNet and Faster R-CNN on ResNet-50 with a feature pyramid, from images to boxes."""
    for name, (ours, theirs) in detectors(plan.size).items():
        group = f"{name} ResNet-50, {plan.size} px"
        ours, theirs = ours.eval().to(plan.device), theirs.eval().to(plan.device)
        section.checks.append(agreement(f"our {name}'s scores and torchvision's", *all_scores(ours, theirs, images)))
        add(section, group, f"torchvision {name}", theirs, images, None)
        forms = {"eager": ours, "deployed": ours.deploy()}
        if plan.compiled:
            forms["deployed, compiled"] = ours.deploy(compile=True)
            run = partial(without_grad, torch.compile(theirs), images)
            section.candidates.append(Candidate(f"torchvision {name}, compiled", run, group, len(images)))
        for form, net in forms.items():
            run = partial(detect, net, images)
            section.candidates.append(Candidate(f"our {name}, {form}", run, group, len(images)))


@torch.no_grad()
def detect(net: Detector, images: Tensor) -> list[Instances]:
    size_hw = tuple(images.shape[-2:])
    return net.head.decode(net.raw(as_torchvision_normalises(images)), [size_hw] * len(images), net.selection)


def all_scores(ours: Detector, theirs: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Scores above `FAINT` of both detectors on the first image; initial weights reach no usual threshold."""
    owner, selection = getattr(theirs, "roi_heads", theirs), ours.selection
    threshold, owner.score_thresh = owner.score_thresh, FAINT
    ours.selection = selection._replace(score_threshold=FAINT)
    scores = detect(ours, images[:1])[0].scores, without_grad(theirs, images[:1])[0]["scores"]
    owner.score_thresh, ours.selection = threshold, selection
    if not len(scores[0]):
        raise ValueError(f"no detection scores above {FAINT}, so the detectors cannot be compared")
    return scores
