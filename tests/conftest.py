"""Fixtures that several test folders use."""

import importlib.util
import os

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

# Trainings would otherwise choose their threads by timing, and not repeat each other's bits. The processes of
# `pytest -n 2` share the cores: one thread each.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))

# Triton kernels run on a GPU, or in an interpreter that must be on from the start of the process (see
# tests/test_kernels.py).
RUNS_KERNELS = torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1"
collect_ignore_glob = [] if RUNS_KERNELS and importlib.util.find_spec("triton") else ["*_triton.py"]


@pytest.fixture
def count_gmac():
    """10^9 multiply-adds of one forward pass, counted on meta tensors."""

    def count(model: torch.nn.Module, shape: tuple[int, ...]) -> float:
        with torch.device("meta"):
            x = torch.empty(shape)
        counter = FlopCounterMode(display=False)
        with counter, torch.inference_mode():
            model.to("meta").eval()(x)
        return counter.get_total_flops() / 2e9

    return count
