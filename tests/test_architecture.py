"""Who may import whom; see the README, "The house"."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"backbones", "heads", "xseg", "tools", "configs", "tests"}
ALLOWED = {  # folder -> packages beyond the standard library
    "backbones": {"torch", "triton", "backbones"},
    "heads": {"torch", "torchvision", "triton", "backbones", "heads"},
}
EVERYWHERE_IN_XSEG = {"backbones", "heads", "xseg"}
LATE = {"timm", "segmentation_models_pytorch", "matplotlib", "scipy", "rich", "safetensors", "pycocotools"}
LATE |= {"h5py", "huggingface_hub", "onnx", "onnxscript", "onnxruntime", "openvino"}


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0] if node.level == 0 else path.relative_to(ROOT).parts[0])
    return found - set(sys.stdlib_module_names)


@pytest.mark.parametrize("folder", ALLOWED)
def test_layers_below_know_nothing_of_those_above(folder):
    for path in (ROOT / folder).rglob("*.py"):
        assert imports(path) <= ALLOWED[folder], path


def test_nobody_imports_tools_configs_or_tests():
    for folder in ("backbones", "heads", "xseg"):
        for path in (ROOT / folder).rglob("*.py"):
            assert imports(path) & OURS <= EVERYWHERE_IN_XSEG, path


def test_heavy_libraries_are_imported_where_they_are_used():
    for path in (ROOT / "xseg").rglob("*.py"):
        if path.name not in ("smp_encoders.py", "sbd.py"):  # which are themselves imported late
            assert not imports(path, top_level_only=True) & LATE, path
    assert imports(ROOT / "xseg" / "cli" / "__init__.py", top_level_only=True) == {"xseg"}


def test_the_command_answers_without_torch():
    """`xseg --help` and `import xseg` are to be quick: torch and mmengine take seconds."""
    code = "import sys, xseg, xseg.cli; xseg.cli.build_parser(); print({'torch', 'mmengine', 'numpy'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_every_package_travels_in_the_wheel():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {p.parent for name in ("backbones", "heads", "xseg", "configs") for p in (ROOT / name).rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert {f"xseg.{name}" if name.startswith("configs") else name for name in names} == listed
