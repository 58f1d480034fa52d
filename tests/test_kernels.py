"""Tests of the Triton kernels where there is no GPU: in Triton's interpreter, which a process has from its start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(str(path) for path in (ROOT / "tests").rglob("test_*_triton.py"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="they run on the GPU, as files of their own")
@pytest.mark.parametrize("file", FILES, ids=lambda file: Path(file).stem)
def test_in_the_interpreter(file):
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-4000:]
    assert "passed" in run.stdout
    assert "skipped" not in run.stdout
