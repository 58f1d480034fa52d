"""Where configs lie: shipped ones by name, others by path."""

from __future__ import annotations

import os
from pathlib import Path

from xseg.config.keys import suggest

_PACKAGE = Path(__file__).resolve().parents[1]
CONFIG_ROOTS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")  # in the wheel, in a checkout


def shipped_configs() -> dict[str, Path]:
    """Name -> file of every config that comes with xseg."""
    root = next((root for root in CONFIG_ROOTS if (root / "_base_").is_dir()), None)
    if root is None:
        raise FileNotFoundError(f"no configs in {_PACKAGE}: install xseg again")
    return {path.stem: path for path in sorted(root.glob("*.py"))}


def find_config(name: str | os.PathLike) -> Path:
    """The file of a config given by path or by the name of a shipped one."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        raise ValueError(f"{path}: YAML configs can run code while they are read; write it as .py or .json")
    if path.is_file():
        return path
    shipped = shipped_configs()
    if path.stem in shipped and path.parent == Path("."):
        return shipped[path.stem]
    raise FileNotFoundError(f"no config {str(name)!r}{suggest(path.stem, shipped)}; `xseg config list` names them all")
