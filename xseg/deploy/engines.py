"""Engines that compute backbone and head of a deployed model: other runtimes from an ONNX file, or a CUDA graph.

Padding, resizing, boxes and labels are still computed by the model, so that windows, scales and batches work as usual.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from xseg.deploy.agreement import agreement
from xseg.deploy.backends import AUTO, BACKENDS, FASTEST, installed, require
from xseg.deploy.form import EXAMPLE_HW
from xseg.deploy.onnx import write_onnx
from xseg.deploy.runtimes import DTYPES, Run, runtime_of

# Shares of the largest value. On a GPU, PyTorch computes float32 as TensorFloat-32, which is as precise as float16.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 5e-2}
CHECKED = ((1, 160, 160), (2, 192, 224))  # images, height, width; multiples of 32, like padded images


def choose(backend: str, dtype: torch.dtype, device: torch.device, compile: bool) -> str:
    """The name of the backend to use: the one given, or for "auto" the fastest that is installed.

    Raises:
        ModuleNotFoundError: the backend's packages are not installed.
        ValueError: the backend is unknown, or does not support the dtype, the device or `compile`.
    """
    if backend == AUTO:
        if compile or device.type != "cpu" or dtype not in TOLERANCE:
            return "torch"
        return next(name for name in FASTEST if installed(name))
    if backend not in BACKENDS:
        raise ValueError(f"backend must be {', '.join(BACKENDS)} or {AUTO}, got {backend!r}")
    if backend == "torch":
        return backend
    row = BACKENDS[backend]
    if device.type != row.device:
        where = {"cpu": "a CPU", "cuda": "an NVIDIA GPU"}[row.device]
        raise ValueError(f"backend {backend} computes on {where}, the model is on {device}: move it, or use torch")
    require(f"backend {backend}", *row.packages)
    if compile and row.packages:
        raise ValueError(f"compile=True is torch.compile: for backend torch or cudagraphs, not {backend}")
    if dtype not in [DTYPES[name] for name in row.precisions]:
        raise ValueError(
            f"backend {backend} computes in {' or '.join(row.precisions)}, got {dtype}; torch computes in all"
        )
    return backend


def on_engine(model: nn.Module, backend: str, dtype: torch.dtype) -> nn.Module:
    """Let a backend compute backbone and head of a deployed model in `dtype`, after comparing it with PyTorch.

    On a CPU the model is float32 and the backend applies `dtype`; on a GPU the model itself is in `dtype`.
    """
    row, raw, start = BACKENDS[backend], Raw(model.backbone, model.head), runtime_of(backend)
    device = next(raw.parameters()).device
    example = torch.rand(2, 3, *EXAMPLE_HW, device=device)
    with torch.no_grad():
        output = model.head(model.backbone(example))
    if row.packages:
        names = ["output"] if isinstance(output, Tensor) else list(output._fields)
        with tempfile.TemporaryDirectory(prefix="xseg-engine-") as folder:
            path = Path(folder) / "model.onnx"
            write_onnx(raw, path, (example,), ("images",), names, {})
            run = start(path, dtype)
    else:
        run = start(raw)
    compare(run, raw, backend, TOLERANCE[dtype if row.device == "cpu" else torch.float16], device)
    model.backbone = Engine(run, model.backbone, type(output), backend)
    model.head = Rules(model.head, model.asked_of_head)
    return model


class Raw(nn.Module):
    """Backbone and head, with their output as a list of tensors.

    Detection heads return the number of positions of each level, as integers; here it is a tensor with the level of
    each position.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Tensor) -> list[Tensor]:
        output = self.head(self.backbone(images))
        if isinstance(output, Tensor):
            return [output]
        counts = [images.new_full((count,), level) for level, count in enumerate(output.per_level)]
        return list(output._replace(per_level=torch.cat(counts)))


class Engine(nn.Module):
    """Takes the place of a backbone and returns the head's output; channels and strides are the backbone's."""

    def __init__(self, run: Run, backbone: nn.Module, output_type: type, backend: str):
        super().__init__()
        self.run, self.output_type, self.backend = run, output_type, backend
        self.channels, self.strides = backbone.channels, backbone.strides
        self.output_stride = getattr(backbone, "output_stride", max(self.strides))

    def forward(self, images: Tensor):
        outputs = self.run(images)
        if self.output_type is Tensor:
            return outputs[0]
        output = self.output_type(*outputs)
        return output._replace(per_level=output.per_level.long().bincount().tolist())

    def set_output_stride(self, output_stride: int) -> None:
        if output_stride != self.output_stride:
            raise ValueError(
                f"{self.backend} computes at output stride {self.output_stride}, for which it was built: "
                f"set {output_stride} before deploy()"
            )


class Rules(nn.Module):
    """Takes the place of a head: passes the engine's output on, and has the attributes `names` of the head."""

    def __init__(self, head: nn.Module, names: Sequence[str]):
        super().__init__()
        for name in names:
            setattr(self, name, getattr(head, name))

    def forward(self, output):
        return output

    def set_strides(self, in_strides: Sequence[int]) -> None:
        """Do nothing: the engine keeps the strides of its export."""


@torch.no_grad()
def compare(run: Run, raw: Raw, backend: str, tolerance: float, device: torch.device | str) -> None:
    """ValueError if the engine's outputs for noise differ from PyTorch's."""
    generator = torch.Generator().manual_seed(0)
    for count, height, width in CHECKED:
        images = (torch.rand(count, 3, height, width, generator=generator) * 2 - 1).to(device)
        for outputs, expected in zip(run(images), raw(images), strict=True):
            agreement(outputs, expected, f"{backend} on {count} x {height} x {width}", tolerance)
