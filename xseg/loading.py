"""`xseg.load`: a ready model from a config, a checkpoint, or a work dir."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import torch
from mmengine.registry import MODELS
from torch import nn

from xseg.config import fill_num_classes, load_config
from xseg.engine import latest_checkpoints, load_strict, read_checkpoint

OUR_PACKAGES = ("backbones.", "heads.", "xseg.models.")


def load(
    source: str | os.PathLike,
    weights: str | os.PathLike | None = None,
    device: str | None = None,
    data_root: str | os.PathLike | None = None,
) -> nn.Module:
    """A model in eval mode.

    Args:
        source: a checkpoint of ours (it holds its own model config), the work dir of a training (its best checkpoint
            is taken), or a config's path or name.
        weights: for a config, the checkpoint to load; without it the weights are random.
        device: default "cuda" if there is one.
        data_root: for a config, where its data set lies; needed for the class names only.
    """
    import xseg.models  # noqa: F401  registers

    path = Path(source)
    if path.suffix == ".py" or not path.exists():
        if path.suffix in (".pth", ".safetensors"):
            raise FileNotFoundError(f"no checkpoint {path}")
        cfg = load_config(source, data_root=data_root)
        classes = fill_num_classes(cfg, "val_dataloader")
        if weights is not None:
            without_downloads(cfg.model)
        model = MODELS.build(cfg.model)
        meta = {"classes": classes}
        if weights is not None:
            checkpoint = read_checkpoint(resolve_weights(weights))
            load_strict(model, checkpoint["state_dict"], weights)
            meta |= checkpoint.get("meta", {}).get("xseg", {})
    else:
        path = resolve_weights(path)
        checkpoint = read_checkpoint(path)
        meta = checkpoint.get("meta", {}).get("xseg")
        if not meta:
            raise ValueError(
                f"{path} does not say which model it holds: give its config too, `xseg.load(CONFIG, {path})`"
            )
        config = _classes_of(meta["model"], path)
        without_downloads(config)
        model = MODELS.build(config)
        load_strict(model, checkpoint["state_dict"], path)
    model.classes = tuple(meta["classes"])
    model.palette = [tuple(colour) for colour in meta["palette"]] if meta.get("palette") else None
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()


def resolve_weights(path: str | os.PathLike) -> Path:
    """A checkpoint file; of a work dir its best checkpoint, or its last if none was best."""
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"no checkpoint {path}")
        return path
    best = sorted(path.glob("best_*.pth"), key=lambda file: file.stat().st_mtime)
    found = best or latest_checkpoints(path)[:1]
    if not found:
        raise FileNotFoundError(f"{path} holds no checkpoint (.pth); train first, or name the file")
    return found[-1]


def without_downloads(model: dict) -> None:
    """Build the backbone without fetching pretrained weights: a checkpoint is about to replace them."""
    backbone = model.get("backbone")
    if isinstance(backbone, dict):
        for key in ("pretrained", "weights"):
            backbone.pop(key, None)


def _classes_of(config: object, path: Path) -> object:
    """The model config of a checkpoint with every `type` as a class of ours; anything else is refused, not imported."""
    if isinstance(config, (list, tuple)):
        return [_classes_of(value, path) for value in config]
    if not isinstance(config, dict):
        return config
    built = {key: _classes_of(value, path) for key, value in config.items()}
    if (name := built.get("type")) is not None:
        module, _, attribute = str(name).rpartition(".")
        cls = (
            getattr(importlib.import_module(module), attribute, None) if f"{module}.".startswith(OUR_PACKAGES) else None
        )
        if not isinstance(cls, type):
            raise ValueError(f"{path} asks for {name!r}, which is no model of xseg: refused")
        built["type"] = cls
    return built
