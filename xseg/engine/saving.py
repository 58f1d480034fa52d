"""Write checkpoints completely or not at all, with nothing in them but tensors and plain values."""

import json
import os
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS, MODELS

from xseg.engine.registry import resolve

from .checkpoint import load_strict
from .resume import apply_changes

# Parts of a config that decide what is trained, and for how long.
SETTINGS = (
    "auto_scale_lr",
    "data_preprocessor",
    "model",
    "optim_wrapper",
    "param_scheduler",
    "sync_bn",
    "train_cfg",
    "train_dataloader",
)


@register_backend("atomic")
class AtomicBackend(LocalBackend):
    """A file appears complete: it is written under another name, synced and renamed.

    An old file is removed only after the next one is complete. Use it with CheckpointHook(
    backend_args=dict(backend="atomic")), which removes the old checkpoint before it writes the new one.
    """

    _doomed: ClassVar[set[Path]] = set()  # of the class, as mmengine makes a new backend for every call

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        path = Path(filepath).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.part")
        try:
            with open(beside, "wb") as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
        self._doomed.discard(path)
        for old in [old for old in self._doomed if old.parent == path.parent]:
            old.unlink(missing_ok=True)
            self._doomed.discard(old)

    def remove(self, filepath: str | os.PathLike) -> None:
        """Remove the file after the next successful `put` into the same folder."""
        path = Path(filepath).absolute()
        if not path.is_file():
            raise FileNotFoundError(f"{filepath}: no such file to remove")
        self._doomed.add(path)


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Makes checkpoints that load with weights_only and that need no config file.

    Adds `meta["xseg"]` = dict(model: config of the model as nested dict, each `type` a dotted name such as
    "heads.DeepLabV3Plus"; classes; palette; iter), and `meta["settings"]`, which a resumed run is compared with. Log
    histories and the config as program text are left out.

    When a checkpoint is loaded, its config as program text is removed (mmengine would run it), and its weights must
    match the model.
    """

    priority = "LOWEST"  # after all hooks that add to the checkpoint, e.g. EMAHook

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        hub = checkpoint["message_hub"]
        info = {key: value for key, value in hub["runtime_info"].items() if key != "cfg"}
        resumed = {key: value for key, value in hub["resumed_keys"].items() if key in info}
        checkpoint["message_hub"] = dict(log_scalars={}, runtime_info=info, resumed_keys=resumed)
        meta = checkpoint["meta"]
        meta.pop("cfg", None)
        metainfo = getattr(runner.train_dataloader.dataset, "metainfo", None) or {}
        meta["xseg"] = dict(
            model=plain_model_config(runner.cfg.get("model")),
            classes=metainfo.get("classes"),
            palette=metainfo.get("palette"),
            iter=meta["iter"],
        )
        meta["settings"] = settings_of(runner.cfg)
        for key in checkpoint:
            if key not in ("state_dict", "ema_state_dict"):  # tensors, with versions of BatchNorm in their metadata
                checkpoint[key] = plain(checkpoint[key], key)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        meta = checkpoint.setdefault("meta", {})
        for text in ("config", "cfg"):
            meta.pop(text, None)
        load_strict(runner.model, checkpoint["state_dict"], "the checkpoint")
        info = checkpoint.get("message_hub", {}).get("runtime_info", {})
        for key in info:  # absolute paths into the work dir, which may have been moved
            if key.startswith(("best_ckpt", "last_ckpt")) and info[key]:
                info[key] = os.path.join(runner.work_dir, Path(info[key]).name)
        if runner._resume:  # mmengine compares pickles, which may differ for equal values
            metainfo = getattr(runner.train_dataloader.dataset, "metainfo", None)
            if plain(metainfo, "metainfo") == meta.get("dataset_meta"):
                meta["dataset_meta"] = metainfo
            apply_changes(runner, checkpoint, settings_of(runner.cfg))


def plain_model_config(config: object) -> object:
    """The config of a model as plain values, each `type` a dotted name, for a file of weights."""
    return plain(_named_types(config), "model")


def settings_of(config: Mapping) -> dict[str, object]:
    """Settings of a training as plain values by place: {"model.backbone.depth": 65, …}.

    Types given as classes or as names, and tuples or lists, give equal settings.
    """
    settings: dict[str, object] = {}
    for key in SETTINGS:
        if config.get(key) is not None:
            _flatten(config[key], key, settings)
    for hook in config.get("custom_hooks") or ():
        if isinstance(hook, Mapping) and issubclass(resolve(hook.get("type")) or object, EMAHook):
            _flatten(hook, "EMAHook", settings)  # the only hook that holds weights
    return settings


def _flatten(value: object, place: str, settings: dict[str, object]) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _flatten(item, f"{place}.{key}", settings)
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            _flatten(item, f"{place}.{number}", settings)
    else:
        if place.endswith((".type", ".constructor")):
            cls = resolve(value)  # only by its name: modules move, and classes of a script are in `__main__`
            value = str(value).rpartition(".")[2] if cls is None else cls.__name__
        settings[place] = json.loads(json.dumps(plain(value, place), default=str))


def plain(value: object, where: str) -> object:
    """The value as tensors, dicts, lists, tuples and Python scalars; a warning names values that are left out.

    Args:
        where: place of the value, for the warning.
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None or type(value) in (bool, int, float, str, bytes) or isinstance(value, torch.Tensor):
        return value
    if isinstance(value, Mapping):
        return {plain(key, where): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, (set, frozenset, range)):
        return [plain(item, where) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (torch.dtype, torch.device, os.PathLike, str)):
        return str(value)
    if isinstance(value, type) or callable(value):
        return dotted_name(value)
    print_log(f"Not saved in the checkpoint: {where}, a {type(value).__name__}", logger="current", level=30)
    return None


def dotted_name(thing: object) -> str:
    """The shortest name for its import: heads.DeepLabV3Plus, not heads.segmentation.deeplabv3plus.DeepLabV3Plus."""
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    parts = getattr(thing, "__module__", "").split(".")
    for end in range(1, len(parts)):
        if getattr(sys.modules.get(".".join(parts[:end])), name, None) is thing:
            return ".".join([*parts[:end], name])
    return ".".join([*parts, name])


def _named_types(config: object) -> object:
    """The config of the model with classes instead of registered names such as "ToyModel"."""
    if isinstance(config, Mapping):
        known = {key: _named_types(value) for key, value in config.items()}
        if isinstance(kind := known.get("type"), str):
            known["type"] = MODELS.get(kind) or kind
        return known
    return [_named_types(item) for item in config] if isinstance(config, list) else config


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # the rename must reach the disk too; Windows cannot open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
