"""What a section of the benchmark is made of: candidates that take turns, and what was found equal before."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

AGREEMENT = 1e-3  # float32, of the largest value; orders of summation differ over 65 layers


@dataclass
class Candidate:
    """One row of a table."""

    name: str
    run: Callable[[], object]
    group: str  # ratios are to the first of its group
    items: int = 1  # images, samples or pairs that one run deals with
    gflop: float | None = None
    dtype: str = "float32"  # whose matrix product is the ceiling
    seconds: list[float] = field(default_factory=list)
    peak_mib: float | None = None  # of device memory, on CUDA


@dataclass
class Section:
    candidates: list[Candidate]
    checks: list[str] = field(default_factory=list)  # what was found equal before the clock started
    left_out: list[str] = field(default_factory=list)  # peers that are not installed, or not run here


@dataclass
class Scale:
    """How much is measured; every size in pixels."""

    size: int
    rounds: int
    compiled: bool
    budget_s: float  # of a section's rounds; no round begins after it
    depth: int = 65  # of the Xception
    batch: int = 2  # of a training step
    samples: int = 16  # per turn of the data section
    sources_hw: tuple[tuple[int, int], ...] = ((1024, 2048), (375, 500))  # of its files: as Cityscapes', and VOC's
    mask_hw: tuple[int, int] = (1024, 2048)
    detection_images: int = 1000  # that COCO's numbers are of
    device: str = "cpu"

    @property
    def even(self) -> int:
        """The edge that smp takes in place of k * 16 + 1."""
        return self.size // 16 * 16


def installed(package: str, section: Section) -> bool:
    found = importlib.util.find_spec(package) is not None
    if not found:
        section.left_out.append(f"{package} (not installed)")
    return found


def agreement(what: str, a: Tensor, b: Tensor) -> str:
    """A line that says how well two outputs agree; ValueError if they do not."""
    error = ((a - b).abs().max() / b.abs().max()).item()
    if not error <= AGREEMENT:
        raise ValueError(f"{what} differ by {error:.1e} of the largest value, more than {AGREEMENT}; nothing was timed")
    return f"{what} agree to {error:.1e} of the largest value"
