"""The Triton kernels where there is no GPU: tested in Triton's interpreter, which a process has from its start, and
compiled for a GPU, whose code says how it uses registers and memory."""

import os
import re
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


CHOICES = r"is_cuda|\.device\.type|has_triton|torch\.(compiler|jit\.is_|backends)|cudnn|mkldnn"


@pytest.mark.parametrize("package", ["backbones", "heads"])
def test_only_kernels_ask_for_the_device(package):
    """A network's file reads like its paper; what computes it is chosen in the functions of `kernels/`."""
    files = [path for path in (ROOT / package).rglob("*.py") if path.parent.name != "kernels"]
    assert len(files) > 5
    asking = {path.name: re.findall(CHOICES, path.read_text()) for path in files}
    assert not {name for name, choices in asking.items() if choices}


TYPES = {torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.uint8: "*u8"}


@pytest.fixture
def launches(monkeypatch):
    """What is launched: (kernel, arguments, options)."""
    jit = pytest.importorskip("triton.runtime.jit")
    found = []

    def note(kernel, *args, grid, warmup, **options):
        found.append((kernel, args, options))

    monkeypatch.setattr(jit.JITFunction, "run", note)
    return found


def compiled_for_h100(kernel, args, options, file):
    """(name, its PTX code, what its machine code takes), compiled for the types and divisors of the arguments."""
    import triton
    from triton.backends.compiler import GPUTarget

    values = dict(zip(kernel.arg_names, args, strict=False)) | options
    signature, constants, attributes = {}, {}, {}
    for index, parameter in enumerate(kernel.params):
        name, value = parameter.name, values.pop(parameter.name)
        if parameter.is_constexpr or value is None or (isinstance(value, int) and value == 1):
            signature[name], constants[name] = "constexpr", value
            continue
        signature[name] = TYPES[value.dtype] if isinstance(value, torch.Tensor) else "i32"
        if isinstance(value, torch.Tensor) or value % 16 == 0:
            attributes[index,] = [["tt.divisibility", 16]]
    source = triton.compiler.ASTSource(kernel, signature, constants, attributes)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=values).asm
    file.write_bytes(made["cubin"])
    command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return kernel.__name__, made["ptx"], said


@pytest.mark.slow
def test_compiled_for_a_gpu_nothing_is_spilled_and_loads_are_wide(launches, tmp_path):
    """Maps of 728 channels, as most of Xception's, in bfloat16."""
    pytest.importorskip("triton")
    from backbones.kernels.depthwise_triton import depthwise, depthwise_input_grad, depthwise_weight_grad
    from backbones.kernels.separable_triton import separable
    from heads.kernels.pixel_scores_triton import PixelScoresOnGPU
    from heads.kernels.upsampling_triton import labels

    def random(*shape):
        return torch.rand(shape, dtype=torch.bfloat16)

    x, taps, bias = random(2, 728, 33, 33), random(728, 1, 3, 3), random(728)
    depthwise(x, taps, bias, (1, 1), (1, 1), True)
    depthwise_input_grad(x, taps, (33, 33), (1, 1), (1, 1))
    depthwise_weight_grad(x, x, (1, 1), (1, 1))
    separable(x, taps, bias, random(728, 728, 1, 1), bias, (1, 1), (1, 1), True)
    logits, masks = random(2, 21, 129, 129).requires_grad_(), torch.zeros(2, 513, 513, dtype=torch.uint8)
    labels(logits.detach(), (513, 513), (513, 513), True)
    total, truth, sums = PixelScoresOnGPU.apply(logits, masks, masks.bool(), True, True)
    (total.sum() + truth.sum() + sums.sum()).backward()

    reports = [compiled_for_h100(*launch, tmp_path / "kernel.cubin") for launch in launches]
    assert len({name for name, *_ in reports}) == 8
    for name, ptx, said in reports:
        assert re.search(r"REG:\d+ STACK:0 ", said), f"{name} spills registers: {said}"
        if name in ("_convolve", "_convolve_back", "_correlate"):
            widths = set(re.findall(r"ld\.global\.((?:v\d\.)?b\d+)", ptx))
            assert widths == {"v4.b32"}, f"{name} loads {widths}, not 128 bits at once"
