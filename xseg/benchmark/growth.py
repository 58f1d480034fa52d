"""How time and memory grow with the image's side, the batch, the classes, and the images of an evaluation."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from xseg.benchmark.metrics import random_entries
from xseg.benchmark.networks import our_deeplab, smp_deeplab, without_grad
from xseg.benchmark.sections import Candidate, Scale, Section
from xseg.data.read.classes import CITYSCAPES_CLASSES
from xseg.evaluation import SegmentationMetric, coco_scores
from xseg.models import CrossEntropy
from xseg.models.losses import weighted_losses


def growth(plan: Scale) -> Section:
    """One curve per candidate: DeepLabv3+ over sides and batches, the loss over classes, evaluation over images."""
    section = Section([], rounds=3)
    nets = {"smp DeepLabV3Plus": smp_deeplab(plan.depth), "ours, deployed": our_deeplab(plan.depth)}
    nets = {name: net.eval().to(plan.device) for name, net in nets.items()}
    nets["ours, deployed"] = nets["ours, deployed"].deploy()
    shapes = {"side of one image in pixels": [(1, round(plan.size * part / 16) * 16) for part in plan.sides]}
    shapes["images of a batch"] = [(count, plan.size) for count in plan.batches]
    for group, pairs in shapes.items():
        for count, side in pairs:
            images = torch.rand(count, 3, side, side, device=plan.device)
            for name, net in nets.items():
                x = side if group.startswith("side") else count
                section.candidates.append(Candidate(name, partial(without_grad, net, images), group, count, x=x))
    for classes in plan.classes:
        edge = plan.size // 4
        logits = torch.rand(1, classes, edge, edge, device=plan.device, requires_grad=True)
        masks = torch.randint(0, min(classes, 255), (1, plan.size, plan.size), device=plan.device).byte()
        for name, form in (("F.interpolate and F.cross_entropy", whole_loss), ("ours, by tiles", tiled_loss)):
            run = partial(form, logits, masks)
            section.candidates.append(Candidate(name, run, "classes of a loss and its gradient", x=classes))
    evaluations = {"mIoU": partial(evaluate_masks, size_hw=plan.mask_hw), "COCO's numbers of boxes": evaluate_boxes}
    for what, evaluate in evaluations.items():
        for images in plan.evaluated:
            run = partial(evaluate, images)
            section.candidates.append(Candidate("ours", run, f"images of an evaluation, {what}", images, x=images))
    return section


def whole_loss(logits: Tensor, masks: Tensor) -> Tensor:
    fine = F.interpolate(logits, masks.shape[-2:], mode="bilinear")
    return torch.autograd.grad(F.cross_entropy(fine, masks.long(), ignore_index=255), logits)[0]


def tiled_loss(logits: Tensor, masks: Tensor) -> Tensor:
    return torch.autograd.grad(weighted_losses([CrossEntropy()], logits, masks, False)[0], logits)[0]


def evaluate_masks(images: int, size_hw: tuple[int, int]) -> dict:
    """mIoU of `images` random masks of 19 classes; no mask is kept after it is counted."""
    generator, metric = torch.Generator().manual_seed(0), SegmentationMetric()
    metric.dataset_meta = {"classes": CITYSCAPES_CLASSES}
    for _ in range(images):
        truth, prediction = torch.randint(0, 19, (2, *size_hw), generator=generator, dtype=torch.uint8)
        metric.process({"samples": [{"mask": truth}]}, [{"mask": prediction}])
    return metric.evaluate(images)


def evaluate_boxes(images: int) -> dict:
    """COCO's numbers of `images` images with 100 random boxes each; AP needs all boxes, so all are kept to the end."""
    return coco_scores(random_entries(images), 80).numbers
