"""Evaluation: what counting costs."""

from __future__ import annotations

import torch

from xseg.benchmarking.sections import Candidate, Scale, Section, installed
from xseg.evaluation.confusion import confusion_matrix


def metrics(plan: Scale) -> Section:
    """Counting one prediction against its mask: 19 classes, some pixels ignored."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 20, plan.mask_hw, generator=generator).byte()
    prediction = torch.randint(0, 19, plan.mask_hw, generator=generator).byte()
    truth[truth == 19] = 255
    seen = truth != 255
    forms = {
        "ours": lambda: confusion_matrix(prediction, truth, 19),
        "torch.histc": lambda: torch.histc(
            19 * truth[seen].float() + prediction[seen].float(), 361, -0.5, 360.5
        ).reshape(19, 19),
    }
    section = Section([])
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
            raise ValueError(f"metrics: the counts of {name} are not ours; nothing was timed")
        section.candidates.append(Candidate(name, count, "one pair"))
    section.checks.append(f"the counts of {', '.join(forms)} are equal")
    return section
