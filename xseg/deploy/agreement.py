"""How well the outputs of an exported or compiled model agree with PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

TOLERANCE = 1e-3  # of the largest value


def agreement(outputs: Tensor, expected: Tensor, what: object, tolerance: float = TOLERANCE) -> str:
    """A line on how well `outputs` agree with PyTorch's `expected`; ValueError if they do not.

    Args:
        what: what computed `outputs`, for the error.
        tolerance: largest difference allowed, as a share of the largest value.
    """
    if outputs.shape != expected.shape:
        raise ValueError(f"{what} gives {tuple(outputs.shape)} values where PyTorch gives {tuple(expected.shape)}")
    if not expected.numel():
        return "equal to PyTorch, nothing found"
    largest = expected.abs().max().clamp(min=1e-12)
    error = ((outputs.float() - expected.float()).abs().max() / largest).item()
    if not error <= tolerance:
        raise ValueError(f"{what} differs from PyTorch by {error:.1e} of the largest value, more than {tolerance}")
    return f"equal to PyTorch to {error:.1e} of the largest value"


def detections_agree(outputs: Sequence[Tensor], expected: Sequence[Tensor], what: object) -> str:
    """`agreement` of scores, and of the boxes and labels whose rank is certain because no other score is equal.

    Both detections are (boxes_xyxy (K, 4), scores (K,), labels (K,)) by falling score.
    """
    line = agreement(outputs[1], expected[1], what)
    apart = F.pad(expected[1].diff().abs() > 1e-5, (1, 1), value=True)
    clear = apart[1:] & apart[:-1]
    boxes = agreement(*(torch.cat((b, n[:, None].to(b)), 1)[clear] for b, _, n in (outputs, expected)), what)
    return f"scores {line}; {int(clear.sum())} boxes {boxes}"
