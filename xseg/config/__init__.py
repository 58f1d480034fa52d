"""Configs: read by path or by a shipped name, combined with options and overrides, and checked key by key."""

from __future__ import annotations

import os

from mmengine.config import Config

from xseg.config.combining import combined
from xseg.config.filling import end_schedules, fill_context, fill_num_classes, training_crop
from xseg.config.keys import check_config, check_override, suggest
from xseg.config.names import config_name, find_config, shipped_configs

__all__ = [
    "check_config",
    "check_override",
    "config_name",
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
        overrides: {"train_dataloader.batch_size": 4, …}; unknown keys raise KeyError.
        data_root: folder of the data set; replaces the `root` of every data set in the config.
        backbone: replaces the config's, see `xseg.config.options.set_backbone`.
        schedule: replaces the config's, see `xseg.config.options.set_schedule`.
    """
    cfg = combined(config, data_root, backbone, schedule)
    for key, value in (overrides or {}).items():
        check_override(cfg, key)
        cfg.merge_from_dict({key: value})
    check_config(cfg, cfg.filename or "config")
    end_schedules(cfg)
    return cfg
