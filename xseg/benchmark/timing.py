"""Measuring: the machine's ceilings, the time and memory of candidates, the operations of a network."""

from __future__ import annotations

import copy
import ctypes
import gc
import platform
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from xseg.benchmark.sections import Candidate, Scale, Section

COPIED = 2**28  # bytes


def machine(plan: Scale) -> dict:
    """The host and its ceilings: GFLOP/s of a matmul by dtype, GB/s of a copy."""
    edge = 4096 if plan.device == "cuda" else min(2048, 4 * plan.size)
    ceiling = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.rand(edge, edge, device=plan.device).to(dtype)
        seconds = min(timed(lambda a=a: a @ a, plan.device) for _ in range(6))
        ceiling[str(dtype).removeprefix("torch.")] = 2e-9 * edge**3 / seconds
    source = torch.ones(COPIED // 4, device=plan.device)
    target = source.clone()
    copied = 2e-9 * COPIED / min(timed(lambda: target.copy_(source), plan.device) for _ in range(6))
    return {**host(plan.device), "matmul_gflops": ceiling, "copy_gbyte_s": copied}


def host(device: str) -> dict:
    """Name of the device ("cuda" or "cpu"), number of CPU threads, torch version, today's date."""
    name = torch.cuda.get_device_name() if device == "cuda" else cpu_name()
    date = time.strftime("%Y-%m-%d")
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "date": date}


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def timed(run: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def take_turns(section: Section, plan: Scale) -> None:
    """Measure group after group: leftovers of a compiler in one group would slow eager candidates of the others."""
    groups = list(dict.fromkeys(candidate.group for candidate in section.candidates))
    rounds = min(plan.rounds, section.rounds or plan.rounds)
    for group in groups:
        members = [candidate for candidate in section.candidates if candidate.group == group]
        measure(members, rounds, plan.budget_s / len(groups), plan.device)


def measure(candidates: Sequence[Candidate], rounds: int, budget_s: float, device: str) -> None:
    for candidate in candidates:
        if candidate.warm:  # chooses kernels and compiles graphs
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # torchvision warns about its own code when compiled
                candidate.run()
            candidate.peak_mib = peak_mib(candidate.run, device) if candidate.memory else None
    gc.collect()
    gc.freeze()  # keeps the collector from visiting the compilers' many objects while candidates are timed
    start = time.perf_counter()
    for index in range(rounds):
        if index and time.perf_counter() - start > budget_s:
            break
        for candidate in candidates:
            candidate.seconds.append(timed(candidate.run, device))
    gc.unfreeze()


def peak_mib(run: Callable[[], object], device: str) -> float | None:
    """Peak memory of a run above the memory held before, in MiB; None on a CPU outside Linux, which is not measured."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if sys.platform != "linux":
        run()
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # memory that malloc keeps from former runs would hide allocations of this one
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak of resident memory
    before = resident_mib("VmRSS")
    run()
    return max(0.0, resident_mib("VmHWM") - before)


def resident_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith(field))


def count_gflop(net: nn.Module, images: Tensor) -> float:
    """10^9 floating-point operations of a forward pass, two per multiply-add, counted on meta tensors."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        copy.deepcopy(net).to("meta")(images.to("meta"))
    return counter.get_total_flops() / 1e9
