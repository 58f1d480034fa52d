"""Memory of the process: keep freed tensors, and ask how much memory is free."""

import ctypes
import math
import sys
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
    """Let glibc's malloc keep the memory of freed tensors for the next iteration.

    By default it returns every tensor over 32 MB, and many smaller ones, to the kernel. An iteration later their pages
    are mapped and zeroed again. On a CPU that took a fifth of a training step. Without glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def free_memory(device: torch.device) -> float:
    """Free memory of a device in bytes; infinity if the system does not tell.

    On a CPU this is the smaller of the system's free memory and the rest of the limit of the process's control group
    (of a container or a SLURM job). Memory that malloc or PyTorch keeps for later tensors counts as free.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu" or sys.platform != "linux":
        return math.inf
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    available = next((1024 * int(line[1]) for line in lines if line[0] == "MemAvailable:"), math.inf)
    return min(available, _left_in_group())


def _left_in_group(root: Path = Path("/sys/fs/cgroup")) -> float:
    """Bytes left in the control group (version 2 or 1) of the process; inactive page cache counts as free."""
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        if (root / limit).is_file() and (text := (root / limit).read_text().strip()) != "max":
            stat = dict(line.split() for line in ((root / limit).parent / "memory.stat").read_text().splitlines())
            return int(text) - int((root / used).read_text()) + int(stat.get(cache, 0))
    return math.inf
