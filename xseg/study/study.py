"""A study and its file: configs/studies/NAME.py, or a file of your own with the same keys."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from xseg.config import find_config, load_config, suggest
from xseg.config.names import config_root
from xseg.data.sample import Path_

AXES = ("variant", "parameters", "gmac")
KEYS = {"variants", "sizes", "metric", "paper", "better", "caveat", "axis", "axis_title"}
SIZE_KEYS = {"config", "options", "seeds", "variants"}


class Study(NamedTuple):
    """One study at one size. The file has the same keys, and `sizes`: name -> dict(config, options, seeds).

    `variants` (name -> overrides of the config) stand at the top of the file for all sizes, or inside one size.
    """

    name: str
    title: str  # first line of the file's docstring
    size: str
    config: str  # name of a shipped config, or a path relative to the study's file
    options: dict[str, object]  # overrides of the config for all variants
    variants: dict[str, dict[str, object]]
    seeds: tuple[int, ...]
    metric: str = "top1"  # of the validation; higher is better
    paper: str = ""  # the paper's finding
    better: tuple[tuple[str, str], ...] = ()  # (a, b): the paper finds variant a better than b
    caveat: str = ""  # why the result at this size may differ from the paper's
    axis: str | None = None  # one of AXES, for a plot of the metric over it
    axis_title: str = ""

    def load(
        self, variant: str, overrides: Mapping | None = None, data_root: str | os.PathLike | None = None
    ) -> Config:
        """The checked config of a variant; `overrides` win over those of the study."""
        return load_config(self.config, {**self.options, **self.variants[variant], **(overrides or {})}, data_root)


def shipped_studies() -> dict[str, Path]:
    """Name -> file of every study that comes with xseg."""
    folder = config_root() / "studies"
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


def find_study(name: Path_) -> Path:
    """The file of a study given by path or by the name of a shipped one."""
    path, shipped = Path(name), shipped_studies()
    if path.is_file() and path.suffix == ".py":
        return path
    if str(name) in shipped:
        return shipped[str(name)]
    raise FileNotFoundError(f"no study {str(name)!r}{suggest(path.stem, shipped)}; `xseg study list` names them all")


def title_of(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text())) or path.stem).splitlines()[0]


def read_study(name: Path_, size: str = "cpu", seeds: Sequence[int] | None = None) -> Study:
    """Read a study by path or name, and check all but its configs.

    Raises FileNotFoundError, KeyError or ValueError that names the file, the key and the closest valid name.
    """
    path = find_study(name)
    content = Config.fromfile(path, lazy_import=False).to_dict()
    _check_keys(path, "", content, KEYS)
    if size not in content.get("sizes", {}):
        sizes = content.get("sizes", {})
        raise ValueError(f"{path}: size must be one of {', '.join(sizes)}, got {size!r}{suggest(size, sizes)}")
    scale = content["sizes"][size]
    _check_keys(path, f"sizes.{size}.", scale, SIZE_KEYS)
    variants = scale.get("variants", content.get("variants")) or {}
    if not variants or "config" not in scale:
        raise ValueError(f"{path}: size {size!r} needs a config and variants")
    if len({slug(variant) for variant in variants}) < len(variants):
        raise ValueError(
            f"{path}: names of variants must differ in letters or digits, not only in case and signs; got "
            f"{', '.join(variants)}"
        )
    better = tuple(tuple(pair) for pair in content.get("better", ()))
    for variant in (variant for pair in better for variant in pair):
        if variant not in variants:
            raise ValueError(f"{path}: `better` names {variant!r}, which is no variant{suggest(variant, variants)}")
    axis = content.get("axis")
    if axis is not None and axis not in AXES:
        raise ValueError(f"{path}: axis must be one of {', '.join(AXES)}, got {axis!r}{suggest(axis, AXES)}")
    seeds = tuple(seeds if seeds is not None else scale.get("seeds", (0, 1, 2)))
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"{path}: seeds must be one or more different numbers, got {seeds}")
    beside = path.parent / scale["config"]
    return Study(
        name=path.stem,
        title=title_of(path),
        size=size,
        config=str(beside if beside.is_file() else find_config(scale["config"])),
        options=scale.get("options", {}),
        variants=variants,
        seeds=seeds,
        metric=content.get("metric", "top1"),
        paper=content.get("paper", ""),
        better=better,
        caveat=content.get("caveat", ""),
        axis=axis,
        axis_title=content.get("axis_title", axis or ""),
    )


def slug(variant: str) -> str:
    """A variant's name as the name of a folder."""
    return re.sub(r"[^a-z0-9.]+", "-", variant.lower()).strip("-")


def _check_keys(path: Path, place: str, content: Mapping, known: set[str]) -> None:
    for key in content:
        if key not in known:
            raise KeyError(f"{path}: unknown key {place}{key}{suggest(key, known)}")
