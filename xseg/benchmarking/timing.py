"""Clocks and counters: the machine and its ceiling, candidates in turn, operations of a network."""

from __future__ import annotations

import copy
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from xseg.benchmarking.sections import Candidate, Scale


def machine(plan: Scale) -> dict:
    """What the figures were measured on, and its matmul ceiling in GFLOP/s by type."""
    edge = 4096 if plan.device == "cuda" else min(2048, 4 * plan.size)
    ceiling = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.rand(edge, edge, device=plan.device).to(dtype)
        seconds = min(timed(lambda a=a: a @ a, plan.device) for _ in range(6))
        ceiling[str(dtype).removeprefix("torch.")] = 2e-9 * edge**3 / seconds
    name = torch.cuda.get_device_name() if plan.device == "cuda" else cpu_name()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "matmul_gflops": ceiling,
    }


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


def take_turns(candidates: Sequence[Candidate], plan: Scale) -> None:
    for candidate in candidates:  # warm up: kernels are chosen, graphs compiled
        candidate.run()
    start = time.perf_counter()
    for index in range(plan.rounds):
        if index and time.perf_counter() - start > plan.budget_s:
            break
        for candidate in candidates:
            if plan.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            candidate.seconds.append(timed(candidate.run, plan.device))
            if plan.device == "cuda":
                candidate.peak_mib = torch.cuda.max_memory_allocated() / 2**20


def count_gflop(net: nn.Module, images: Tensor) -> float:
    """10^9 floating-point operations of a forward pass, two a multiply-add, counted without computing."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        copy.deepcopy(net).to("meta")(images.to("meta"))
    return counter.get_total_flops() / 1e9
