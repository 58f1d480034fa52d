"""Configs: found by path or by the name of a shipped one, overridden from the command line, and checked key by key."""

from __future__ import annotations

import copy
import difflib
import os
from pathlib import Path

from mmengine.config import Config

from xseg.config.files import check_json_config, names_read, read_config
from xseg.config.filling import end_schedules, fill_context, fill_num_classes, training_crop
from xseg.config.keys import check_config, check_override, dicts, is_import, suggest, top_level_keys
from xseg.config.names import CONFIG_ROOTS, find_config, shipped_configs

__all__ = [
    "CONFIG_ROOTS",
    "check_config",
    "check_override",
    "fill_context",
    "fill_num_classes",
    "find_config",
    "load_config",
    "shipped_configs",
    "suggest",
    "training_crop",
]


def load_config(
    config: Config | str | os.PathLike,
    overrides: dict | None = None,
    data_root: str | os.PathLike | None = None,
    backbone: str | None = None,
    schedule: str | None = None,
) -> Config:
    """Read, override and check a config.

    Args:
        config: path, or name of a shipped config, or a Config, which is copied.
        overrides: {"train_dataloader.batch_size": 4, …}; a key the config cannot have is refused.
        data_root: where the data set lies, instead of the config's `root` of every data set.
        backbone: another one, see `xseg.config.options.set_backbone`.
        schedule: another one, see `xseg.config.options.set_schedule`.
    """
    cfg = (
        copy.deepcopy(config) if isinstance(config, Config) else read_config(find_config(config))
    )  # Config.copy is shallow
    source = cfg.filename or "config"
    if source.endswith(".json"):
        check_json_config(cfg, source)
    _drop_variables(cfg, source)
    if data_root is not None:
        for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
            if cfg.get(loader):
                cfg[loader].dataset.root = str(data_root)
    if backbone or schedule:
        from xseg.config import options

        if backbone:
            options.set_backbone(cfg, backbone)
        if schedule:
            options.set_schedule(cfg, schedule)
    for key, value in (overrides or {}).items():
        check_override(cfg, key)
        cfg.merge_from_dict({key: value})
    check_config(cfg, source)
    end_schedules(cfg)
    return cfg


def _drop_variables(cfg: Config, source: str) -> None:
    """Take out the variables that a config file has for its own use; refuse a top-level key that nothing reads."""
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
