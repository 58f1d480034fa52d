"""Run the sections of a benchmark one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path

import torch

from xseg.benchmark.commands import predicting, starting
from xseg.benchmark.data import data
from xseg.benchmark.growth import growth
from xseg.benchmark.inference import inference
from xseg.benchmark.kernels import kernels
from xseg.benchmark.metrics import metrics
from xseg.benchmark.report import report_of, write_report
from xseg.benchmark.sections import Scale, Section
from xseg.benchmark.timing import machine, take_turns
from xseg.benchmark.training import train
from xseg.engine import keep_freed_memory

SECTIONS: dict[str, Callable[[Scale], Section]] = {
    "inference": inference,
    "train": train,
    "data": data,
    "metrics": metrics,
    "predict": predicting,
    "kernels": kernels,
    "growth": growth,
    "start": starting,
}
QUICK = ("inference", "train", "data", "metrics")  # about two minutes in all


def benchmark(
    sections: Sequence[str] | None = None,
    *,
    quick: bool = False,
    rounds: int | None = None,
    size: int | None = None,
    threads: int | None = None,
    out: str | PathLike | None = None,
    **scale,
) -> dict:
    """Measure, and return the content of benchmark.json.

    benchmark.json, benchmark.md and growth.png are written to `out` after every section.

    Args:
        sections: names in `SECTIONS`; all by default, or those in `QUICK` with `quick`.
        quick: images of 256 pixels (else 512), 3 rounds (else 10), at most 15 seconds of rounds per section (else an
            hour), and nothing compiled.
        size: edge of the square images in pixels, a multiple of 16.
        threads: of the CPU; the former number is restored at the end.
        scale: further fields of `Scale`.
    """
    sections = sections or (QUICK if quick else tuple(SECTIONS))
    if unknown := [name for name in sections if name not in SECTIONS]:
        raise ValueError(f"sections must be of {', '.join(SECTIONS)}, got {', '.join(unknown)}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = (256 if quick else 512) if size is None else size
    rounds = (3 if quick else 10) if rounds is None else rounds
    if size < 32 or size % 16 or rounds < 1:
        raise ValueError(f"size must be a multiple of 16, at least 32, and rounds at least 1; got {size} and {rounds}")
    given = {"compiled": not quick, "budget_s": 15 if quick else 3600, "device": device}
    given |= {"detection_images": 100, "predicted": 10, "evaluated": (2, 8, 32)} if quick else {}
    given |= {"images": 16, "batch": 16, "train_size": size} if device == "cuda" else {}
    plan = Scale(size, rounds, **{**given, **scale})
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    keep_freed_memory()
    try:
        report = {"machine": machine(plan), "scale": asdict(plan), "sections": {}}
        for name in sections:
            report["sections"][name] = measured(SECTIONS[name], plan, report["machine"])
            if out is not None:
                write_report(report, Path(out))
    finally:
        torch.set_num_threads(before)
    return report


def measured(build: Callable[[Scale], Section], plan: Scale, machine: dict) -> dict:
    section, threads = build(plan), torch.get_num_threads()
    try:
        torch.set_num_threads(section.threads or threads)
        take_turns(section, plan)
    finally:
        torch.set_num_threads(threads)
        for close in section.closing:
            close()
    return report_of(section, machine)
