"""One table of backends: what the command offers is what `Model.deploy` takes, and reading it is cheap."""

import subprocess
import sys

import pytest

from xseg.cli import build_parser
from xseg.deploy import backends, runtimes
from xseg.deploy.backends import BACKENDS, CHOICES, FASTEST, PRECISIONS, installed, require


def test_every_row_has_a_runtime_and_known_precisions():
    assert tuple(runtimes.DTYPES) == PRECISIONS
    for name, row in BACKENDS.items():
        assert set(row.precisions) <= set(PRECISIONS) and row.device in (None, "cpu", "cuda")
        assert (row.runtime is None) == (name == "torch")
        assert row.runtime is None or callable(runtimes.runtime_of(name))
    assert set(FASTEST) <= BACKENDS.keys() and CHOICES == (*BACKENDS, "auto")


def test_reading_the_table_loads_no_library():
    code = "import sys, xseg.deploy.backends; print({'torch', 'onnx', 'openvino', 'numpy'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else name)
    assert installed("torch") and not installed("openvino")
    require("this", "onnx")
    with pytest.raises(ModuleNotFoundError, match="this needs onnxscript: pip install onnx onnxscript"):
        require("this", "onnx", "onnxscript")


def test_the_command_offers_the_table():
    for command in (["predict", "weights", "image.png"], ["eval", "quickstart"]):
        for name in CHOICES:
            assert build_parser().parse_args([*command, "--backend", name]).backend == name
        for name in PRECISIONS:
            assert build_parser().parse_args([*command, "--deploy", name]).deploy == name
        with pytest.raises(SystemExit):
            build_parser().parse_args([*command, "--backend", "tflite"])
