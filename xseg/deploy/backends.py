"""The backends that can compute a deployed model, in one table.

This file imports neither PyTorch nor a backend: the command line reads its choices here and must start quickly.
"""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

PRECISIONS = ("fp32", "bf16", "fp16")
ONNX_PACKAGES = ("onnx", "onnxscript")


class Backend(NamedTuple):
    """One backend.

    device: type of the device that it computes on, "cpu" or "cuda"; None for any.
    precisions: those of `PRECISIONS` that it computes in.
    runtime: the function or class of `xseg.deploy.runtimes` that starts it; None for PyTorch itself.
    packages: what must be installed besides PyTorch. A backend with packages reads an ONNX file, one without calls the
        network itself.
    """

    device: str | None
    precisions: tuple[str, ...]
    runtime: str | None
    packages: tuple[str, ...] = ()


BACKENDS = {
    "torch": Backend(None, PRECISIONS, None),
    "openvino": Backend("cpu", PRECISIONS, "openvino", ("openvino", *ONNX_PACKAGES)),
    "onnxruntime": Backend("cpu", ("fp32",), "onnxruntime", ("onnxruntime", *ONNX_PACKAGES)),
    "tensorrt": Backend("cuda", PRECISIONS, "TensorRT", ("tensorrt", *ONNX_PACKAGES)),
    "cudagraphs": Backend("cuda", PRECISIONS, "CudaGraphs"),
}
AUTO = "auto"  # the fastest backend that is installed
CHOICES = (*BACKENDS, AUTO)
FASTEST = ("openvino", "torch", "onnxruntime")  # on a CPU, the fastest first, as measured by `xseg benchmark`


def installed(name: str) -> bool:
    """Whether all packages of a backend are installed."""
    return not _missing(BACKENDS[name].packages)


def require(what: str, *packages: str) -> None:
    """ModuleNotFoundError that names the packages to install, unless all are installed."""
    if missing := _missing(packages):
        raise ModuleNotFoundError(f"{what} needs {', '.join(missing)}: pip install {' '.join(packages)}")


def _missing(packages: tuple[str, ...]) -> list[str]:
    return [name for name in packages if importlib.util.find_spec(name) is None]
