"""`xseg.load`: a ready model from a config, a checkpoint, a work dir, or the Hugging Face Hub."""

from __future__ import annotations

import copy
import importlib
import math
import os
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.registry import MODELS
from torch import nn
from torch.overrides import TorchFunctionMode

from xseg.config import fill_context, fill_num_classes, load_config
from xseg.data.read.classes import imagenet_classes
from xseg.engine import latest_checkpoints
from xseg.weights import Weights, load_weights, read_weights
from xseg.weights.files import is_tf_folder
from xseg.weights.sources import SAFE_NAME

OUR_PACKAGES = ("backbones.", "heads.", "xseg.models.")
SUFFIXES = (".pth", ".pt", ".safetensors")
LARGEST = 1_000_000  # upper limit of numbers in a checkpoint's model config: channels, layers, pixels
MOST_CALLS = 100  # upper limit of torch calls per tensor while a model is built; timm's networks need up to 16


def load(
    source: str | os.PathLike,
    weights: str | os.PathLike | Weights | None = None,
    device: str | None = None,
    data_root: str | os.PathLike | None = None,
    imports: str | Sequence[str] = (),
) -> nn.Module:
    """Load a model in eval mode.

    Args:
        source: a checkpoint of xseg, which holds its model config; the work dir of a training, whose best checkpoint
            is used; a folder with a `model.safetensors`; "hf:ORG/NAME"; or the path or name of a config.
        weights: only with a config: anything that `xseg.weights.read_weights` takes or returns. Default: the config's
            own `weights`; without these the model keeps its initial values. Weights of a backbone alone leave the head
            at its initial values.
        device: default "cuda" if there is one, else "cpu".
        data_root: only with a config: the folder of its data set, which tells the class names.
        imports: modules with your own backbones, heads or losses, imported first. A checkpoint that names your classes
            needs them, unless Python has already imported them. Name only modules that you trust.
    """
    import xseg.models  # noqa: F401  registers

    imports = import_modules(imports)
    text = os.fspath(source)
    if text.startswith("hf:") or text.endswith(SUFFIXES) or Path(text).is_dir():
        if weights is not None:
            raise ValueError(f"{text} has its own weights; give weights only with a config, got {weights}")
        model = _from_checkpoint(read_weights(resolve_weights(source)), imports)
    else:
        model = _from_config(load_config(source, data_root=data_root), weights)
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()


def import_modules(names: str | Sequence[str]) -> list[str]:
    """Import modules by name; return the names. ModuleNotFoundError for one that Python does not find."""
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # the module exists, but imports another that does not
            raise ModuleNotFoundError(
                f"imports: no module named {name!r}; run in its folder, or add its folder to PYTHONPATH", name=name
            ) from error
    return names


def resolve_weights(source: str | os.PathLike) -> str | os.PathLike:
    """The weight file of a folder; any other source is returned unchanged.

    This is the best checkpoint of a work dir, else the last one, else `model.safetensors`. FileNotFoundError without
    any.
    """
    path = Path(source)
    if not path.is_dir() or is_tf_folder(path):
        return source
    best = sorted(path.glob("best_*.pth"), key=lambda file: file.stat().st_mtime)
    files = best or latest_checkpoints(path)[:1] or [path / SAFE_NAME]
    if not files[-1].is_file():
        raise FileNotFoundError(f"{path} holds no checkpoint (.pth) and no {SAFE_NAME}; train first, or name the file")
    return files[-1]


def without_downloads(model: dict) -> None:
    """Remove pretrained weights from a model's config, because a checkpoint will replace them."""
    backbone = model.get("backbone")
    if isinstance(backbone, dict):
        for key in ("pretrained", "weights"):
            backbone.pop(key, None)


def build_without_memory(config: dict) -> nn.Module:
    """The model that a config's `model` describes, on the meta device: its tensors have shapes but no values.

    Nothing is downloaded. The config is not changed.
    """
    config = copy.deepcopy(config)
    without_downloads(config)
    with torch.device("meta"), _Budget(math.inf):
        return MODELS.build(config)


def _from_config(cfg, source: str | os.PathLike | Weights | None) -> nn.Module:
    weights = source or cfg.get("weights")
    if weights and not isinstance(weights, Weights):
        weights = read_weights(resolve_weights(weights))  # a wrong name fails before the model is built
    meta = fill_num_classes(cfg, "val_dataloader")
    fill_context(cfg, weights)
    config = cfg.model.to_dict()
    if weights:
        without_downloads(config)
    model = _build(config, meta)
    if weights:
        model.fresh = load_weights(model, weights)
        if weights.origin and not meta and model.num_classes == 1000:
            meta = {"classes": imagenet_classes()}  # all known classifiers of other sources are trained on ImageNet
        _describe(model, config, {**meta, **weights.meta.get("xseg", {})})
    return model


def _from_checkpoint(weights: Weights, imports: Sequence[str]) -> nn.Module:
    meta = weights.meta.get("xseg")
    if not meta:
        raise ValueError(
            f"{weights.path} does not hold its model's config; give the config too: `xseg.load(CONFIG, {weights.path})`"
        )
    config = _classes_of(meta["model"], weights.path, imports)
    without_downloads(config)
    _check_size(config, weights)
    model = _build(config, meta)
    load_weights(model, weights)
    return model


def _check_size(config: dict, weights: Weights) -> None:
    """ValueError if the model that a file describes has more tensors or bytes than the file. Allocates no memory."""
    path, budget = weights.path, _Budget(1000 + MOST_CALLS * len(weights.state))
    try:
        with torch.device("meta"), budget:
            model = MODELS.build(config)
    except Exception as error:
        remedy = f"if you trust it, give its config too: `xseg.load(CONFIG, {path})`"
        raise ValueError(f"{path} describes a model that cannot be built ({error}); {remedy}") from None
    size = sum(value.nbytes for value in model.state_dict().values())
    if size > os.path.getsize(path):
        raise ValueError(
            f"{path} describes a model of {size / 1e6:,.1f} MB, more than the file holds: "
            f"{os.path.getsize(path) / 1e6:,.1f} MB; refused"
        )


class _Budget(TorchFunctionMode):
    """Raises ValueError after `calls` torch calls, so that building a model cannot take for ever."""

    def __init__(self, calls: float):
        super().__init__()
        self.left = calls

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.left -= 1
        if func is torch.linspace:  # drop rates by depth: models read the values, which meta tensors do not have
            steps = args[2] if len(args) > 2 else kwargs["steps"]
            self.left, kwargs = self.left - steps, {**kwargs, "device": "cpu"}
        elif func is torch.tensor:  # numbers of the config: distributions check their values
            kwargs = {**kwargs, "device": "cpu"}
        if self.left < 0:
            raise ValueError("it has more parts than the file holds tensors")
        return func(*args, **kwargs)


def _build(config: dict, meta: dict) -> nn.Module:
    model = MODELS.build(config)
    _describe(model, config, meta)
    return model


def _describe(model: nn.Module, config: dict, meta: dict) -> None:
    model.config, model.card = config, meta.get("card", {})
    if meta.get("classes"):
        model.classes = tuple(meta["classes"])
        model.palette = [tuple(colour) for colour in meta["palette"]] if meta.get("palette") else None


def _classes_of(config: object, path: Path, imports: Sequence[str] = ()) -> object:
    """The model config of a checkpoint, with every `type` as a class. ValueError for classes that are not trusted."""
    if isinstance(config, (list, tuple)):
        return [_classes_of(value, path, imports) for value in config]
    if isinstance(config, (int, float)) and not abs(config) <= LARGEST:
        raise ValueError(f"{path}: numbers in a model's config must be at most {LARGEST:,}, got {config}; refused")
    if not isinstance(config, dict):
        return config
    built = {key: _classes_of(value, path, imports) for key, value in config.items()}
    if (name := built.get("type")) is not None:
        built["type"] = _trusted_class(str(name), path, imports)
    return built


def _trusted_class(name: str, path: Path, imports: Sequence[str]) -> type:
    """The class of a dotted name in a checkpoint; only our own modules are imported for it.

    Our classes are trusted, and so is every `nn.Module` of the modules in `imports` or of the user's own imported code.
    Modules of installed libraries must stand in `imports`: constructors of some classes read files or the network.
    """
    module, _, attribute = name.rpartition(".")
    ours = f"{module}.".startswith(OUR_PACKAGES)
    if ours:
        importlib.import_module(module)
    cls = getattr(sys.modules.get(module), attribute, None)
    if isinstance(cls, type) and (ours or (issubclass(cls, nn.Module) and _is_trusted(cls.__module__, imports))):
        return cls
    raise ValueError(
        f"{path} asks for {name!r}, which is no model of xseg: refused. If it is a class of yours, name its module: "
        f"xseg.load(…, imports=[{module!r}]), or --import {module} on the command line"
    )


def _is_trusted(module: str, imports: Sequence[str]) -> bool:
    if any(f"{module}.".startswith(f"{name}.") for name in imports):
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return module == "__main__"  # in a notebook or console; other modules without a file are built into Python
    place = Path(file).resolve()
    library = Path(sysconfig.get_path("stdlib")).resolve()
    return library not in place.parents and not {"site-packages", "dist-packages"} & {*place.parts}
