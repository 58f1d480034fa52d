"""Config files: .py, read by mmengine, and .json, which holds only values.

A .py config can run code. A JSON config builds only registered classes and imports nothing.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import Registry

NAMES_A_CLASS = ("type", "constructor", "ema_type")  # keys whose values are looked up in mmengine's registries
IMPORTS = {  # key -> the only value for which mmengine imports nothing
    "custom_imports": None,
    "_scope_": "mmengine",
    "default_scope": "mmengine",
}


def read_file(path: Path) -> Config:
    """The config in a file, not yet checked. ValueError with the line if the syntax is wrong."""
    if path.suffix == ".json":
        return _read_json(path)
    try:
        return Config.fromfile(path)
    except SyntaxError as error:
        raise ValueError(f"{path}: line {error.lineno}: {error.msg}") from error


def names_read(path: Path) -> set[str]:
    """The variables that a .py config and the configs it inherits from read."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    names |= {  # {{_base_.name}}
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_base_"
    }
    bases = [path.parent / base for base in Config._get_base_files(str(path))]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            bases.append(path.parents[node.level - 1] / f"{(node.module or '').replace('.', '/')}.py")
    return names.union(*(names_read(base) for base in bases if base.suffix == ".py" and base.is_file()))


def check_json_config(cfg: Config, source: str) -> None:
    """ValueError for values that import or run code; replaces "module.Name" of classes by their registered names."""
    _check(cfg._cfg_dict, "", _registered_names(), source)


def _read_json(path: Path) -> Config:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: line {error.lineno}: {error.msg}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold a JSON object, got a {type(content).__name__}")
    if "_base_" in content:
        raise ValueError(f"{path}: a JSON config has no _base_; write all of it, as `xseg config show` prints it")
    return Config(content, filename=path)


def _check(node: object, place: str, names: dict[str, str], source: str) -> None:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        inner = f"{place}.{key}" if place else str(key)
        if key in IMPORTS and value not in (None, IMPORTS[key]):
            raise ValueError(
                f"{source}: {inner} is {value!r}, which imports code; a JSON config may not do so. Leave it out"
            )
        if isinstance(node, dict) and key in NAMES_A_CLASS and value is not None:
            if not isinstance(value, str) or value not in names:
                raise ValueError(
                    f"{source}: {inner} is {value!r}, which is no registered class. A JSON config builds only "
                    "registered classes; a .py config builds any class, but can run code: read it before you use it"
                )
            node[key] = names[value]
        _check(value, inner, names, source)


def _registered_names() -> dict[str, str]:
    """Registered name -> itself, and "module.Name", as saved configs write it -> registered name."""
    import mmengine.registry as registries
    import mmengine.runner  # noqa: F401

    import xseg.data
    import xseg.engine
    import xseg.evaluation
    import xseg.models  # noqa: F401  these imports register classes

    names: dict[str, str] = {}
    for registry in vars(registries).values():
        if isinstance(registry, Registry):
            registry.import_from_location()
            for name, cls in registry.module_dict.items():
                names[name] = name
                packages = cls.__module__.split(".")
                names |= {".".join([*packages[:end], cls.__name__]): name for end in range(1, len(packages) + 1)}
    return names
