"""Memory of the process: what glibc does with freed tensors."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
    """Let malloc keep freed tensors for the next iteration.

    By default every tensor over 32 MB, and many smaller ones, go back to the kernel when freed, and their pages are
    zeroed and mapped again an iteration later. On a CPU that was a fifth of a training step. Without glibc, nothing
    happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
