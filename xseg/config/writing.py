"""A person's own config: a short file that inherits from a shipped config by its name."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

from mmengine.config import Config

from xseg.config.combining import combined
from xseg.config.names import find_config, present_name, shipped_configs


def write_config(
    path: str | os.PathLike,
    base: str,
    data_root: str | os.PathLike | None = None,
    backbone: str | None = None,
    schedule: str | None = None,
) -> str:
    """Write a config that states only what differs from a shipped one; return the command that runs it.

    Args:
        path: of the new .py file.
        base: name of the shipped config, such as "coco/retinanet".
        data_root, backbone, schedule: as in `load_config`, which reads the file as the base with these options. A
            relative `data_root` starts at the working directory of the run, as it does on the command line.

    Raises:
        FileExistsError: there is such a file.
        FileNotFoundError: no shipped config has that name.
        ValueError: the path does not end in .py, or an option does not fit the config.
    """
    path = Path(path)
    if path.suffix != ".py":
        raise ValueError(f"a config must be a .py file, got {str(path)!r}")
    base, backbone, schedule = present_name(base, backbone, schedule)
    base_file = find_config(base)
    names = [name for name, file in shipped_configs().items() if file == base_file]
    if not names:
        raise ValueError(
            f"a config inherits from a shipped one by its name (`xseg config list`), got the file {base!r}"
        )
    data_root = None if data_root is None else os.fspath(data_root)
    cfg = combined(names[0], data_root, backbone, schedule)  # refuses options that do not fit, before a file is there
    command = _command(cfg, shlex.quote(str(path)))
    keys = {"_base_": names[0], "data_root": data_root, "backbone": backbone, "schedule": schedule}
    header = f"{names[0]} with changes.\n{command}".replace("\\", "\\\\").replace('"', r"\"")
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items() if value is not None]
    hint = "# All else that differs goes here, such as train_cfg = dict(max_iters=2400)."
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write("\n".join([f'"""{header}"""', "", *lines, hint, ""]))
    except FileExistsError:
        raise FileExistsError(f"{path} is there already; remove it, or choose another name") from None
    return command


def _command(cfg: Config, path: str) -> str:
    if cfg.get("train_cfg"):
        return f"xseg train {path}"
    if cfg.get("val_dataloader"):
        return f"xseg eval {path}"
    return f"xseg predict {cfg.get('weights', 'WEIGHTS')} IMAGE… --config {path}"
