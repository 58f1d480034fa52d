"""The parts of a benchmark's section: candidates that take turns, checks of their outputs, and the scale."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

AGREEMENT = 1e-3  # of the largest value, in float32: orders of summation differ over 65 layers


@dataclass
class Candidate:
    """One row of a table, or one point of a curve."""

    name: str
    run: Callable[[], object]
    group: str  # members of a group take turns; speeds are relative to the first
    items: int = 1  # images, samples or pairs per run
    gflop: float | None = None  # per run
    gbyte: float | None = None  # read and written per run, at least
    dtype: str = "float32"  # the ceiling of gflop is the speed of a matmul in this dtype
    x: float | None = None  # of a curve's point; the group is named after the axis
    warm: bool = True  # runs twice before it is timed
    memory: bool = True  # all memory of a run is allocated in this process, so that its peak can be measured
    seconds: list[float] = field(default_factory=list)  # one per round
    peak_mib: float | None = None  # peak memory of a run above the memory held before; device memory on CUDA


@dataclass
class Section:
    candidates: list[Candidate]
    checks: list[str] = field(default_factory=list)  # lines about outputs that agree
    left_out: list[str] = field(default_factory=list)  # peers that are not installed, or not run here
    closing: list[Callable[[], object]] = field(default_factory=list)  # called after the last measurement
    rounds: int | None = None  # upper limit beside the scale's
    threads: int | None = None  # None: those of the whole benchmark


@dataclass
class Scale:
    """How much is measured; all sizes in pixels."""

    size: int  # of square images; smp needs a multiple of 16
    rounds: int
    compiled: bool  # also torch.compile and exports, which take minutes
    budget_s: float  # time for a section's rounds, shared by its groups; no round begins after it
    depth: int = 65  # of the Xception
    images: int = 1  # of a batch for inference
    batch: int = 2  # of a training step
    train_size: int = 256
    classifier_size: int = 299
    samples: int = 16  # per turn of the data section
    sources_hw: tuple[tuple[int, int], ...] = ((1024, 2048), (375, 500))  # files of the data section: Cityscapes, VOC
    mask_hw: tuple[int, int] = (1024, 2048)
    detection_images: int = 1000  # for COCO's numbers
    predicted: int = 100  # image files for `xseg predict`
    # x of the curves of the growth section
    sides: tuple[float, ...] = (0.5, 0.75, 1, 1.5, 2)  # in units of `size`
    batches: tuple[int, ...] = (1, 2, 4, 8)
    classes: tuple[int, ...] = (19, 150, 1000)
    evaluated: tuple[int, ...] = (10, 40, 160)  # images
    device: str = "cpu"


def installed(package: str, section: Section) -> bool:
    """Whether a package is installed; if not, the section lists it as left out."""
    available = importlib.util.find_spec(package) is not None
    if not available:
        section.left_out.append(f"{package} (not installed)")
    return available


def agreement(what: str, a: Tensor, b: Tensor) -> str:
    """A line with the largest difference of two outputs over the largest value; ValueError above `AGREEMENT`."""
    error = ((a - b).abs().max() / b.abs().max()).item()
    if not error <= AGREEMENT:
        raise ValueError(f"{what} differ by {error:.1e} of the largest value, more than {AGREEMENT}; nothing was timed")
    return f"{what} agree to {error:.1e} of the largest value"
