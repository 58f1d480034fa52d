"""What a section of the benchmark is made of: candidates that take turns, and what was found equal before."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

AGREEMENT = 1e-3  # float32, of the largest value; orders of summation differ over 65 layers


@dataclass
class Candidate:
    """One row of a table, or one point of a curve."""

    name: str
    run: Callable[[], object]
    group: str  # whose members take turns; ratios are to its first
    items: int = 1  # images, samples or pairs that one run deals with
    gflop: float | None = None  # of a run
    gbyte: float | None = None  # that a run must read and write
    dtype: str = "float32"  # whose matrix product is the ceiling of gflop
    x: float | None = None  # where the point lies on the axis that its group is named after
    warm: bool = True  # runs twice before the clock starts
    memory: bool = True  # all that it needs is allocated in this process
    seconds: list[float] = field(default_factory=list)
    peak_mib: float | None = None  # that a run holds at most beside what was there before; on CUDA, of device memory


@dataclass
class Section:
    candidates: list[Candidate]
    checks: list[str] = field(default_factory=list)  # what was found equal before the clock started
    left_out: list[str] = field(default_factory=list)  # peers that are not installed, or not run here
    closing: list[Callable[[], object]] = field(default_factory=list)  # called when all is measured
    rounds: int | None = None  # at most; None for those of the scale
    threads: int | None = None  # None for those of the whole benchmark


@dataclass
class Scale:
    """How much is measured; every size in pixels."""

    size: int  # of square images, a multiple of 16, as smp wants it
    rounds: int
    compiled: bool  # torch.compile and exports too, which take minutes
    budget_s: float  # of a section's rounds, shared by its groups; no round begins after it
    depth: int = 65  # of the Xception
    images: int = 1  # of a batch for inference
    batch: int = 2  # of a training step
    train_size: int = 256
    classifier_size: int = 299
    samples: int = 16  # per turn of the data section
    sources_hw: tuple[tuple[int, int], ...] = ((1024, 2048), (375, 500))  # of its files: as Cityscapes', and VOC's
    mask_hw: tuple[int, int] = (1024, 2048)
    detection_images: int = 1000  # that COCO's numbers are of
    predicted: int = 100  # images on disk
    sides: tuple[float, ...] = (0.5, 0.75, 1, 1.5, 2)  # of `size`, to see how cost grows
    batches: tuple[int, ...] = (1, 2, 4, 8)
    classes: tuple[int, ...] = (19, 150, 1000)
    evaluated: tuple[int, ...] = (10, 40, 160)  # images
    device: str = "cpu"


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
