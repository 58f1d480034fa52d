"""Inference engines as candidates, each in its own process, since threads of two engines disturb each other in one.

A process sleeps until its turn comes.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor, nn

from xseg.benchmark.networks import our_deeplab, smp_deeplab, without_grad
from xseg.benchmark.sections import Candidate, Scale, Section, installed
from xseg.deploy.backends import BACKENDS
from xseg.deploy.onnx import write_onnx
from xseg.deploy.runtimes import DTYPES, onnxruntime, openvino, runtime_of

Nets = dict[tuple[str, str], Callable[[Tensor], object]]  # (library, precision) -> network on one image


def smp_alone(depth: int) -> Nets:
    """smp's network as a program without `xseg` runs it: malloc returns freed memory, which `xseg` keeps."""
    net = smp_deeplab(depth).eval()
    return {("smp", "fp32"): partial(without_grad, net)}


def on_openvino(depth: int) -> Nets:
    ours = our_deeplab(depth).eval()
    nets = _exported(depth, openvino, ("fp32", "bf16"))
    return nets | {("ours", dtype): ours.deploy(dtype, backend="openvino") for dtype in ("fp32", "bf16")}


def on_onnxruntime(depth: int) -> Nets:
    nets = _exported(depth, onnxruntime, ("fp32",))
    return nets | {("ours", "fp32"): our_deeplab(depth).eval().deploy("fp32", backend="onnxruntime")}


ENGINES = {"eager in a process of its own": smp_alone, "OpenVINO": on_openvino, "ONNX Runtime": on_onnxruntime}
PACKAGES = {"OpenVINO": BACKENDS["openvino"].packages, "ONNX Runtime": BACKENDS["onnxruntime"].packages}


def add_engines(section: Section, group: str, gflop: dict[str, float], plan: Scale) -> None:
    """Add smp's network and ours on every installed engine."""
    if plan.device != "cpu":
        section.left_out.append("OpenVINO and ONNX Runtime (for a CPU only)")
        add_gpu_engines(section, group, gflop, plan)
        return
    for engine, build in ENGINES.items():
        if not all([installed(package, section) for package in PACKAGES.get(engine, ())]):
            continue
        process = Process(engine, partial(build, plan.depth), (plan.images, 3, plan.size, plan.size))
        section.closing.append(process.close)
        for key in process.names:
            library, precision = key
            dtype = str(DTYPES[precision]).removeprefix("torch.")
            run, name = partial(process.run, key), f"{library}, {engine}, {precision}"
            work = gflop[library]
            section.candidates.append(Candidate(name, run, group, plan.images, work, dtype=dtype, memory=False))


def add_gpu_engines(section: Section, group: str, gflop: dict[str, float], plan: Scale) -> None:
    """Add the engines of a GPU, in this process: the GPU runs one network after the other."""
    images = torch.rand(plan.images, 3, plan.size, plan.size, device=plan.device)
    for backend, row in BACKENDS.items():
        if row.device != plan.device or not all([installed(package, section) for package in row.packages]):
            continue
        nets = {
            ("ours", dtype): our_deeplab(plan.depth).eval().to(plan.device).deploy(dtype, backend=backend)
            for dtype in DTYPES
        }
        if row.packages:
            nets |= _exported(plan.depth, runtime_of(backend), tuple(DTYPES), plan.device)
        for (library, precision), net in nets.items():
            dtype, name = str(DTYPES[precision]).removeprefix("torch."), f"{library}, {backend}, {precision}"
            run = partial(without_grad, net, images)
            section.candidates.append(Candidate(name, run, group, plan.images, gflop[library], dtype=dtype))


class Process:
    """A child process that builds networks and runs one of them at a time on one batch of noise.

    Args:
        engine: name of the engine, for error messages.
        build: runs in the child.
        shape: (N, 3, H, W) of the batch.
    """

    def __init__(self, engine: str, build: Callable[[], Nets], shape: tuple[int, ...]):
        context = multiprocessing.get_context("spawn")
        self.engine, (self.connection, other) = engine, context.Pipe()
        arguments = (other, build, shape, torch.get_num_threads())
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        other.close()
        self.names = self._answer()

    def run(self, name: tuple[str, str]) -> None:
        self._answer(name)

    def close(self) -> None:
        self.connection.close()
        self.process.join()

    def _answer(self, question: tuple[str, str] | None = None):
        try:
            if question is not None:
                self.connection.send(question)
            return self.connection.recv()
        except (EOFError, OSError):
            raise ValueError(f"the benchmark's process for {self.engine} has ended; see its output above") from None


@torch.no_grad()
def serve(connection: Connection, build: Callable[[], Nets], shape: tuple[int, ...], threads: int) -> None:
    """The loop of the child process: run the networks it is asked for until the connection is closed."""
    torch.set_num_threads(threads)
    images, nets = torch.rand(shape), build()
    connection.send(list(nets))
    while True:
        try:
            name = connection.recv()
        except EOFError:
            return
        nets[name](images)
        connection.send(None)


def _exported(depth: int, engine: Callable, precisions: tuple[str, ...], device: str = "cpu") -> Nets:
    """smp's network in an engine, exported by PyTorch with free sizes; for a GPU in the type that it computes in."""
    nets: Nets = {}
    written = None  # dtype of the file
    with tempfile.TemporaryDirectory(prefix="xseg-benchmark-") as folder:
        path = Path(folder) / "smp.onnx"
        for precision in precisions:
            dtype = torch.float32 if device == "cpu" else DTYPES[precision]
            if dtype != written:
                net, written = InType(smp_deeplab(depth).eval().to(device), dtype), dtype
                write_onnx(net, path, (torch.rand(2, 3, 160, 224, device=device),), ["images"], ["logits"], {})
            nets["smp", precision] = engine(path, DTYPES[precision])
    return nets


class InType(nn.Module):
    """A network that takes and returns float32 and computes in another dtype."""

    def __init__(self, net: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.net, self.dtype = net.to(dtype), dtype

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images.to(self.dtype)).float()
