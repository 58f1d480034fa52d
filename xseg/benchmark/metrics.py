"""Evaluation: the time of counting a confusion matrix and of COCO's numbers."""

from __future__ import annotations

import contextlib
import io
from functools import partial

import numpy as np
import torch

from heads.contract import Instances
from xseg.benchmark.sections import Candidate, Scale, Section, installed
from xseg.evaluation import Entry, Truth, coco_scores
from xseg.evaluation.coco import coco_dicts
from xseg.evaluation.confusion import confusion_matrix


def metrics(plan: Scale) -> Section:
    """The confusion matrix of one prediction (19 classes, some pixels ignored), and COCO's numbers of boxes."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 20, plan.mask_hw, generator=generator).byte()
    prediction = torch.randint(0, 19, plan.mask_hw, generator=generator).byte()
    truth[truth == 19] = 255
    seen = truth != 255
    forms = {
        "torch.histc": lambda: torch.histc(
            19 * truth[seen].float() + prediction[seen].float(), 361, -0.5, 360.5
        ).reshape(19, 19),
        "ours": lambda: confusion_matrix(prediction, truth, 19),
    }
    section = Section([], rounds=5)
    if installed("torchmetrics", section):
        from torchmetrics.functional.classification import multiclass_confusion_matrix

        pair = prediction.long(), truth.long()
        forms["torchmetrics"] = lambda: multiclass_confusion_matrix(*pair, num_classes=19, ignore_index=255)
    if installed("sklearn", section):
        from sklearn.metrics import confusion_matrix as sklearn_counts

        flat = truth[seen].numpy(), prediction[seen].numpy()
        forms["scikit-learn"] = lambda: torch.from_numpy(sklearn_counts(*flat, labels=range(19)))
    expected = forms["ours"]()
    for name, count in forms.items():
        if not torch.equal(count().long(), expected):
            raise ValueError(f"metrics: the counts of {name} differ from ours; nothing was timed")
        section.candidates.append(Candidate(name, count, f"a pair of {plan.mask_hw[0]} x {plan.mask_hw[1]} px"))
    section.checks.append(f"the counts of {', '.join(forms)} are equal")
    coco(section, plan)
    return section


def coco(section: Section, plan: Scale) -> None:
    """COCO's twelve numbers of boxes, by our evaluation and by pycocotools, the reference."""
    entries = random_entries(plan.detection_images)
    forms = {"pycocotools": partial(pycocotools_numbers, entries), "ours": partial(coco_scores, entries, 80)}
    ours, theirs = np.array(list(forms["ours"]().numbers.values()), float), forms["pycocotools"]()
    error = np.abs(ours - theirs).max()
    if not error <= 1e-9:
        raise ValueError(f"metrics: COCO's numbers are {ours} and pycocotools' {theirs}; nothing was timed")
    group = f"COCO boxes, {plan.detection_images} images"
    for name, count in forms.items():
        section.candidates.append(Candidate(name, count, group, plan.detection_images))
    section.checks.append(f"COCO's twelve numbers equal pycocotools': {plan.detection_images} images x 100 detections")


def pycocotools_numbers(entries: list[Entry]) -> np.ndarray:
    """COCO's twelve numbers, computed as users of pycocotools do: from the dicts of COCO's JSON files."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    content, detections = coco_dicts(entries, 80, "bbox")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(detections), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats


def random_entries(count: int) -> list[Entry]:
    """`count` images with 10 objects of 80 classes and 100 detections each: 7 near each object, 30 anywhere."""
    rng = np.random.default_rng(0)

    def boxes(number: int) -> np.ndarray:
        corners = rng.uniform(0, 400, (number, 2))
        return np.concatenate([corners, corners + rng.uniform(8, 240, (number, 2))], axis=1)

    entries = []
    for index in range(count):
        objects, labels = boxes(10), rng.integers(0, 80, 10)
        near = objects.repeat(7, 0) + rng.normal(0, 6, (70, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        detections = Instances(
            np.concatenate([near, boxes(30)]),
            rng.random(100),
            np.concatenate([labels.repeat(7), rng.integers(0, 80, 30)]),
        )
        entries.append(Entry(index, (640, 640), Truth(objects, labels), detections))
    return entries
