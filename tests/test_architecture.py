"""Who may import whom, read from the source: layers, no circles, heavy libraries late, all packages in the wheel."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("backbones", "heads", "xseg")
ALLOWED = {  # package -> packages beyond the standard library
    "backbones": {"torch", "triton", "backbones"},
    "heads": {"torch", "torchvision", "triton", "backbones", "heads"},
}
LAYERS = (  # of xseg, the highest first; a room imports rooms of its own layer and of those below
    ("cli", "__main__"),
    ("benchmark", "study", "report"),
    ("run",),
    ("plan",),
    ("models", "data", "evaluation", "engine", "weights", "deploy", "results", "drawing", "config"),
    ("__init__",),  # the version; the Python API is looked up when it is first used
)
LATE = {"timm", "segmentation_models_pytorch", "matplotlib", "scipy", "rich", "safetensors", "pycocotools"}
LATE |= {"h5py", "huggingface_hub", "onnx", "onnxscript", "onnxruntime", "openvino"}
IMPORTED_LATE = {"xseg.models.smp_encoders", "xseg.data.convert.sbd"}  # these need such a library as a whole

# Imports that close a circle of modules or of rooms and are still to go. The list may only become shorter.
KNOWN_CIRCLES: set[tuple[str, str]] = set()


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of ours; a package is its `__init__`."""
    paths = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = modules()


def imports(module: str, top_level_only: bool = False) -> set[str]:
    """Dotted names that a module imports, those inside functions too; submodules of ours are named in full."""
    path = MODULES[module]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imported = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            imported |= {name if name in MODULES else base for name in names}
    return imported


def libraries(module: str, top_level_only: bool = False) -> set[str]:
    """First parts of what a module imports, without the standard library."""
    return {name.split(".")[0] for name in imports(module, top_level_only)} - set(sys.stdlib_module_names)


def our_imports(module: str) -> set[str]:
    return {name for name in imports(module) if name in MODULES and name != module}


def room(module: str) -> str:
    """xseg.data.read.rle -> data; xseg -> __init__; heads.detection.rcnn -> heads."""
    first, *rest = module.split(".")
    return first if first != "xseg" else (rest[0] if rest else "__init__")


def first_circle(graph: dict[str, set[str]]) -> str:
    """ "a -> b -> a", or "" for a graph without a circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return ""


@pytest.mark.parametrize("package", ALLOWED)
def test_layers_below_know_nothing_of_those_above(package):
    for module in MODULES:
        if module.split(".")[0] == package:
            assert libraries(module) <= ALLOWED[package], module


def test_rooms_import_downwards():
    depth = {name: layer for layer, names in enumerate(LAYERS) for name in names}
    assert {room(module) for module in MODULES} - {"backbones", "heads"} <= depth.keys(), "a room without a layer"
    upwards = {
        f"{module} -> {other}"
        for module in MODULES
        if module.startswith("xseg.")
        for other in our_imports(module)
        if room(other) in depth and depth[room(other)] < depth[room(module)]
    }
    assert not upwards


def remaining_imports(module: str) -> set[str]:
    return {other for other in our_imports(module) if (module, other) not in KNOWN_CIRCLES}


def test_known_circles_are_still_there():
    for module, other in KNOWN_CIRCLES:
        assert module in MODULES and other in our_imports(module), f"{module} -> {other} has gone from the code"


def test_no_module_is_in_a_circle():
    assert not first_circle({module: remaining_imports(module) for module in MODULES})


@pytest.mark.parametrize("parent", ["xseg", "xseg.data"])
def test_no_room_is_in_a_circle(parent):
    """A room is a module or package right below its parent; the parent's own `__init__` gathers and is none."""
    size = parent.count(".") + 2
    rooms = {module: ".".join(module.split(".")[:size]) for module in MODULES if module.startswith(f"{parent}.")}
    graph: dict[str, set[str]] = {name: set() for name in rooms.values()}
    for module, name in rooms.items():
        graph[name] |= {rooms[other] for other in remaining_imports(module) if other in rooms} - {name}
    assert not first_circle(graph)


def test_nobody_imports_tools_configs_or_tests():
    for module in MODULES:
        assert not libraries(module) & {"tools", "configs", "tests"}, module


def test_heavy_libraries_are_imported_where_they_are_used():
    for module in MODULES:
        if module not in IMPORTED_LATE:
            assert not libraries(module, top_level_only=True) & LATE, module
    for module in MODULES:
        if room(module) == "cli":
            assert libraries(module, top_level_only=True) <= {"xseg"}, module


def test_the_command_answers_without_torch():
    """`xseg --help` and `import xseg` are to be quick: torch and mmengine take seconds."""
    code = "import sys, xseg, xseg.cli; xseg.cli.build_parser(); print({'torch', 'mmengine', 'numpy'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_every_package_travels_in_the_wheel():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {path.parent for name in (*OURS, "configs") for path in (ROOT / name).rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert {f"xseg.{name}" if name.startswith("configs") else name for name in names} == listed
