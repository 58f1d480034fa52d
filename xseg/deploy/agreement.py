"""How well the outputs of an exported or compiled model agree with PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

TOLERANCE = 1e-3  # of the largest value


def agreement(found: Tensor, expected: Tensor, what: object, tolerance: float = TOLERANCE) -> str:
    """A line on how well `found` agrees with PyTorch's `expected`; ValueError if it does not.

    Args:
        what: what computed `found`, for the error.
        tolerance: largest difference allowed, as a share of the largest value.
    """
    if found.shape != expected.shape:
        raise ValueError(f"{what} gives {tuple(found.shape)} values where PyTorch gives {tuple(expected.shape)}")
    if not expected.numel():
        return "equal to PyTorch, nothing found"
    largest = expected.abs().max().clamp(min=1e-12)
    error = ((found.float() - expected.float()).abs().max() / largest).item()
    if not error <= tolerance:
        raise ValueError(f"{what} differs from PyTorch by {error:.1e} of the largest value, more than {tolerance}")
    return f"equal to PyTorch to {error:.1e} of the largest value"


def detections_agree(found: Sequence[Tensor], expected: Sequence[Tensor], what: object) -> str:
    """`agreement` of scores, and of the boxes and labels whose rank is certain because no other score is equal.

    Both detections are (boxes_xyxy (K, 4), scores (K,), labels (K,)) by falling score.
    """
    line = agreement(found[1], expected[1], what)
    apart = F.pad(expected[1].diff().abs() > 1e-5, (1, 1), value=True)
    clear = apart[1:] & apart[:-1]
    boxes = agreement(*(torch.cat((b, n[:, None].to(b)), 1)[clear] for b, _, n in (found, expected)), what)
    return f"scores {line}; {int(clear.sum())} boxes {boxes}"
