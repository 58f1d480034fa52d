"""Paths of configs: shipped ones by name, others by path."""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config

from xseg.config.renamed import RENAMED

_PACKAGE = Path(__file__).resolve().parents[1]
CONFIG_ROOTS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")  # in the wheel, in a checkout


def config_root() -> Path:
    """The folder of the shipped configs."""
    root = next((root for root in CONFIG_ROOTS if (root / "_base_").is_dir()), None)
    if root is None:
        raise FileNotFoundError(f"no configs in {_PACKAGE}; install xseg again")
    return root


def shipped_configs() -> dict[str, Path]:
    """Name, such as "coco/retinanet" -> file, of every config that comes with xseg."""
    root = config_root()
    names = {path.relative_to(root).with_suffix("").as_posix(): path for path in sorted(root.rglob("*.py"))}
    return {name: path for name, path in names.items() if not name.startswith(("_base_/", "studies/", "__init__"))}


def find_config(name: str | os.PathLike) -> Path:
    """The file of a config given by path or by the name of a shipped one."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        raise ValueError(f"{path}: YAML configs can run code while they are read; write the config as .py or .json")
    if path.is_file():
        return path
    shipped = shipped_configs()
    key = path.as_posix().removesuffix(".py")
    key = RENAMED[key][0] if key in RENAMED and RENAMED[key][1:] == (None, None) else key
    if key in shipped:
        return shipped[key]
    raise FileNotFoundError(f"no config {str(name)!r}{_near(key, shipped)}; `xseg config list` names them all")


def present_name(
    name: str | os.PathLike, backbone: str | None, schedule: str | None
) -> tuple[str | os.PathLike, str | None, str | None]:
    """Config, backbone and schedule for an old name, with a warning; other names come back unchanged."""
    if str(name) not in RENAMED or Path(name).is_file():
        return name, backbone, schedule
    new, *options = RENAMED[str(name)]
    shown = "".join(f" --{key} {value}" for key, value in zip(("backbone", "schedule"), options, strict=True) if value)
    warnings.warn(f"the config {str(name)!r} is now {new + shown!r}; xseg 0.3 drops the old name", FutureWarning, 3)
    return new, backbone or options[0], schedule or options[1]


def config_name(cfg: Config) -> str:
    """A name for the files of a config: "retinanet" for my/retinanet.py, "coco_retinanet" for the shipped one."""
    if not cfg.filename:
        return "config"
    path = Path(cfg.filename).resolve()
    name = next((name for name, file in shipped_configs().items() if file.resolve() == path), path.stem)
    return name.replace("/", "_")


def _near(name: str, shipped: Iterable[str]) -> str:
    """As `suggest`; if an old name is the closest, the text has its present name."""
    close = difflib.get_close_matches(name, [*shipped, *RENAMED], n=1)
    return f"; did you mean {RENAMED.get(close[0], close)[0]!r}?" if close else ""
