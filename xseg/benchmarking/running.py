"""The sections of a benchmark, one after the other, on one machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path

import torch

from xseg.benchmarking.data import data
from xseg.benchmarking.inference import inference
from xseg.benchmarking.metrics import metrics
from xseg.benchmarking.report import report_of, write_report
from xseg.benchmarking.sections import Scale
from xseg.benchmarking.timing import machine, take_turns
from xseg.benchmarking.training import train
from xseg.engine import keep_freed_memory

SECTIONS = {"inference": inference, "train": train, "data": data, "metrics": metrics}


def benchmark(
    sections: Sequence[str] = ("inference", "train", "data", "metrics"),
    *,
    quick: bool = False,
    rounds: int | None = None,
    size: int | None = None,
    threads: int | None = None,
    out: str | PathLike | None = None,
    **scale,
) -> dict:
    """Measure, write benchmark.json and benchmark.md to `out`, and return what the former holds.

    Args:
        sections: of `SECTIONS`.
        quick: 257 pixels, 3 rounds or 15 seconds of them a section, nothing compiled, instead of 513, 10 and both.
        size: edge of the square images in pixels, at least 17.
        threads: of the CPU; put back afterwards.
        scale: further fields of `Scale`.
    """
    if unknown := [name for name in sections if name not in SECTIONS]:
        raise ValueError(f"sections must be of {', '.join(SECTIONS)}, got {', '.join(unknown)}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size, rounds = size or (257 if quick else 513), rounds or (3 if quick else 10)
    if size < 17 or rounds < 1:
        raise ValueError(f"size must be at least 17 pixels and rounds at least 1, got {size} and {rounds}")
    quickly = {"compiled": not quick, "budget_s": 15 if quick else 3600, "detection_images": 100 if quick else 1000}
    plan = Scale(size, rounds, **{**quickly, "device": device, **scale})
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    keep_freed_memory()
    try:
        report = {"machine": machine(plan), "scale": asdict(plan), "sections": {}}
        for name in sections:
            section = SECTIONS[name](plan)
            take_turns(section.candidates, plan)
            report["sections"][name] = report_of(section, report["machine"]["matmul_gflops"])
    finally:
        torch.set_num_threads(before)
    if out is not None:
        write_report(report, Path(out))
    return report
