"""A config from its file, the configs it inherits from, and the options --data-root, --backbone and --schedule."""

from __future__ import annotations

import ast
import copy
import difflib
import os
import re
import tempfile
from pathlib import Path

from mmengine.config import Config

from xseg.config.files import check_json_config, names_read, read_file
from xseg.config.keys import dicts, is_import, suggest, top_level_keys
from xseg.config.names import find_config, present_name


def combined(
    config: Config | str | os.PathLike,
    data_root: str | os.PathLike | None,
    backbone: str | None,
    schedule: str | None,
) -> Config:
    """A config with another data root, backbone and schedule; values that follow from others are not filled in yet."""
    if not isinstance(config, Config):
        config, backbone, schedule = present_name(config, backbone, schedule)
    cfg = copy.deepcopy(config) if isinstance(config, Config) else _read(find_config(config))  # Config.copy is shallow
    source = cfg.filename or "config"
    if source.endswith(".json"):
        check_json_config(cfg, source)
    _drop_variables(cfg, source)
    if data_root is not None:
        for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
            if cfg.get(loader):
                cfg[loader].dataset.root = str(data_root)
    if backbone or schedule:
        from xseg.config import options  # imports the models

        if backbone:
            options.set_backbone(cfg, backbone)
        if schedule:
            options.set_schedule(cfg, schedule)
    return cfg


def _drop_variables(cfg: Config, source: str) -> None:
    """Remove the variables that a config file itself reads. KeyError for a top-level key that nothing reads."""
    known = top_level_keys()
    unknown = [key for key, value in cfg.items() if key not in known | cfg._imported_names and not is_import(value)]
    path = Path(source)
    read = names_read(path) if unknown and path.suffix == ".py" and path.is_file() else set()
    for key in unknown:
        if key not in read:
            places = {name: place for place, node in dicts(cfg._cfg_dict) for name in node} | dict.fromkeys(known, "")
            close = difflib.get_close_matches(key, places, n=1)
            meant = suggest(key, close, prefix=places[close[0]]) if close else ""
            raise KeyError(f"{source}: unknown key {key!r}{meant}; nothing reads it")
        cfg._cfg_dict.pop(key)


def _read(path: Path) -> Config:
    return _inherit(path) if path.suffix == ".py" and _base_name(path) else read_file(path)


def _base_name(path: Path) -> str | None:
    """The shipped config that a line `_base_ = "coco/retinanet"` names; None without such a line, or for a file."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError:  # `read_file` raises a clear error
        return None
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["_base_"]:
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            return value if isinstance(value, str) and not value.endswith((".py", ".json")) else None
    return None


def _inherit(path: Path) -> Config:
    """A config that states only its differences from the shipped config that `_base_` names.

    Its keys `backbone`, `schedule` and `data_root` act as the options of these names.
    """
    text = path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / path.name
        own.write_text(re.sub(r"^_base_\b", "base", text, count=1, flags=re.M), encoding="utf-8")
        changes = Config.fromfile(own, lazy_import=False, import_custom_modules=False)._cfg_dict.to_dict()
    options = {key: changes.pop(key, None) for key in ("backbone", "schedule", "data_root")}
    cfg = combined(changes.pop("base"), **options)
    changes = {key: value for key, value in changes.items() if not isinstance(value, type)}
    cfg.merge_from_dict(changes)
    own = Config(cfg._cfg_dict, filename=path)
    object.__setattr__(own, "_imported_names", cfg._imported_names)  # or the classes would be printed as its values
    return own
