"""Configs: found by path or by the name of a shipped one, overridden from the command line, and checked key by key."""

from __future__ import annotations

import copy
import difflib
import inspect
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config

if TYPE_CHECKING:
    from xseg.weights import Weights
from xseg.config_files import check_json_config, names_read, read_config
from xseg.engine.registry import resolve

_HERE = Path(__file__).resolve().parent
CONFIG_ROOTS = (_HERE / "configs", _HERE.parent / "configs")  # in the wheel, in a checkout

# Keys that mmengine's builders take out of a dict before its `type` is called.
BUILDER_KEYS = {
    "type",
    "_scope_",
    "priority",  # of a hook
    "convert_to_iter_based",  # of a scheduler
    "optimizer",  # of an optimizer wrapper, as the next two
    "paramwise_cfg",
    "constructor",
    "init_cfg",
}
RUNNER_KEYS = {  # read by the Runner, not its arguments
    "activation_checkpointing",
    "compile",
    "efficient_conv_bn_eval",
    "find_unused_parameters",
    "model_wrapper_cfg",
    "sync_bn",
    "work_dir",
}
OUR_KEYS = {"weights"}  # what `xseg.load(config)` and `xseg eval CONFIG` load if no weights are named
SECTIONS = {  # dicts without a type -> their keys
    "auto_scale_lr": {"base_batch_size", "enable"},
    "default_hooks": {"runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint"},
    "env_cfg": {"cudnn_benchmark", "dist_cfg", "mp_cfg", "resource_limit"},
    "env_cfg.mp_cfg": {"mp_start_method", "opencv_num_threads"},
    "env_cfg.dist_cfg": {"backend", "init_backend", "init_method", "port", "timeout"},
    "randomness": {"deterministic", "diff_rank_seed", "seed"},
}
LOADER_KEYS = {"worker_init_fn", "num_batch_per_epoch", "sampler", "batch_sampler", "dataset", "collate_fn"}


def shipped_configs() -> dict[str, Path]:
    """Name -> file of every config that comes with xseg."""
    root = next((root for root in CONFIG_ROOTS if (root / "_base_").is_dir()), None)
    if root is None:
        raise FileNotFoundError(f"no configs beside {_HERE}: install xseg again")
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


def load_config(
    config: Config | str | os.PathLike, overrides: dict | None = None, data_root: str | os.PathLike | None = None
) -> Config:
    """Read, override and check a config.

    Args:
        config: path, or name of a shipped config, or a Config, which is copied.
        overrides: {"train_dataloader.batch_size": 4, …}; a key the config cannot have is refused.
        data_root: where the data set lies, instead of the config's `root` of every data set.
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
    for key, value in (overrides or {}).items():
        check_override(cfg, key)
        cfg.merge_from_dict({key: value})
    check_config(cfg, source)
    _end_schedules(cfg)
    return cfg


def _drop_variables(cfg: Config, source: str) -> None:
    """Take out the variables that a config file has for its own use; refuse a top-level key that nothing reads."""
    known = top_level_keys()
    unknown = [key for key, value in cfg.items() if key not in known | cfg._imported_names and not _is_import(value)]
    path = Path(source)
    read = names_read(path) if unknown and path.suffix == ".py" and path.is_file() else set()
    for key in unknown:
        if key not in read:
            places = {name: place for place, node in _dicts(cfg._cfg_dict) for name in node} | dict.fromkeys(known, "")
            close = difflib.get_close_matches(key, places, n=1)
            meant = suggest(key, close, prefix=places[close[0]]) if close else ""
            raise KeyError(f"{source}: unknown key {key!r}{meant}; nothing reads it")
        cfg._cfg_dict.pop(key)


def fill_num_classes(cfg: Config, loader: str) -> dict:
    """Give heads without `num_classes` the number of classes of a loader's data; refuse another number.

    A model with a detection head of its own is told which classes are things.

    Returns dict(classes, palette, …) of the data; {} for a config without data. A config that states `num_classes` does
    not need the files of a data set whose classes are known, as VOC's.
    """
    head = cfg.model.get("head")
    if not isinstance(head, dict) or not cfg.get(loader):
        return {}
    found = _metainfo(cfg[loader].dataset, head.get("num_classes"))
    classes = found["classes"]
    for key in ("head", "aux_head"):
        head = cfg.model.get(key)
        if not isinstance(head, dict):
            continue
        if head.setdefault("num_classes", len(classes)) != len(classes):
            raise ValueError(
                f"model.{key}.num_classes is {head.num_classes}, but the data set has {len(classes)} classes: "
                f"{', '.join(classes)}. Leave num_classes out to take the data set's"
            )
    if isinstance(head := cfg.model.get("detection_head"), dict):
        if "things" not in found:
            raise ValueError(f"{loader}.dataset does not say which classes are things; take a PanopticDataset")
        cfg.model.setdefault("things", list(found["things"]))
        head.setdefault("num_classes", len(cfg.model.things))
    return found


def fill_context(cfg: Config, trained: Weights | None = None, new: Sequence[str] = ()) -> tuple[int, int] | None:
    """Give a head that leaves its atrous `rates` and its `pooling_hw` open those of its weights, or of the crop.

    Returns the size (height, width) of the training crop if that decided.

    Args:
        trained: the weights that go into the model; if they hold the head's atrous branches, their values stay.
        new: prefixes of modules that they leave as initialised.
    """
    from heads.segmentation.deeplabv3plus import PUBLISHED_CROP, RATES_AT_16, rates_for_crop

    head = cfg.model.get("head") if isinstance(cfg.model, dict) else None
    open_keys = {"rates", "pooling_hw"} - set(head or ())
    if not isinstance(head, dict) or not open_keys <= (allowed_keys("model.head", head) or set()):
        return None
    branches, crop = "head.aspp.", training_crop(cfg)
    if trained and any(n.startswith(branches) for n in trained.state) and not branches.startswith(tuple(new)):
        saved = trained.meta.get("xseg", {}).get("model", {}).get("head", {})
        values, crop = {"rates": tuple(saved.get("rates", RATES_AT_16)), "pooling_hw": saved.get("pooling_hw")}, None
    elif crop is not None:
        small = min(crop) < PUBLISHED_CROP
        values = {"rates": rates_for_crop(crop), "pooling_hw": crop if small else None}
    else:
        return None
    head.update({key: values[key] for key in open_keys})
    return crop if open_keys else None


def training_crop(cfg: Config) -> tuple[int, int] | None:
    """(height, width) in pixels that the last cropping or resizing transform of the training gives every image; None
    where the config does not say."""
    transforms = (cfg.get("train_dataloader") or {}).get("dataset", {}).get("transforms", ())
    sizes = [size for t in transforms if (size := t.get("size_hw") or t.get("size"))]
    if not sizes:
        return None
    last = sizes[-1]
    return (last, last) if isinstance(last, int) else tuple(last)


def _end_schedules(cfg: Config) -> None:
    """Let schedulers that state no `end` last until the training ends.

    PolyLR ends one iteration later, or its last step would be at rate 0: that is DeepLab's poly.
    """
    max_iters = (cfg.get("train_cfg") or {}).get("max_iters")
    schedulers = cfg.get("param_scheduler") or []
    for scheduler in schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]:
        if max_iters and not scheduler.get("by_epoch", True) and "end" not in scheduler:
            kind = getattr(resolve(scheduler.get("type")), "__name__", "")
            scheduler["end"] = max_iters + 1 if kind.startswith("Poly") else max_iters


def _metainfo(dataset: dict, stated: int | None) -> dict:
    from mmengine.registry import DATASETS

    try:
        return DATASETS.build(dict(dataset)).metainfo
    except FileNotFoundError:
        cls = resolve(dataset.get("type"))
        known = getattr(cls, "standard", None)
        if stated is None or known is None or len(known["classes"]) != stated:
            raise
        return known


def check_config(cfg: Config, source: str | os.PathLike = "config") -> None:
    """Refuse a key that nothing reads, with what was probably meant."""
    for place, node in _dicts(cfg._cfg_dict):
        allowed = allowed_keys(place, node)
        for key in node:
            if allowed is not None and key not in allowed:
                owner = getattr(node.get("type"), "__name__", node.get("type")) or place
                raise KeyError(
                    f"{source}: unknown key {place}.{key}{suggest(key, allowed)}; {owner} has no such argument"
                )


def check_override(cfg: Config, dotted: str) -> None:
    """Refuse `--cfg-options` that name a key which is neither in the config nor an argument of its type."""
    node, *rest = cfg._cfg_dict, *dotted.split(".")
    for depth, key in enumerate(rest):
        place = ".".join(rest[:depth])
        if isinstance(node, (list, tuple)):
            if not key.isdigit() or int(key) >= len(node):
                raise KeyError(f"{place} is a list of {len(node)}: {key!r} must be an index below that")
            node = node[int(key)]
            continue
        if not isinstance(node, dict):
            raise KeyError(f"{place} is {node!r} and has no keys; {dotted} cannot be set")
        choices = (allowed_keys(place, node) or set()) | {k for k, v in node.items() if not _is_import(v)}
        if key not in choices:
            raise KeyError(f"unknown key {dotted}{suggest(key, choices, prefix=place)}")
        if key not in node and depth < len(rest) - 1:
            return  # a new dict; check_config looks into it
        node = node.get(key)


def allowed_keys(place: str, node: dict) -> set[str] | None:
    """Keys a dict of a config may have: the arguments of its type and of its builder; None if there is no telling."""
    if place.endswith("_dataloader"):
        from torch.utils.data import DataLoader

        return arguments(DataLoader) | LOADER_KEYS
    if place == "":
        return top_level_keys()
    if place in SECTIONS:
        return SECTIONS[place]
    cls = resolve(node.get("type"))
    names = arguments(cls) if inspect.isclass(cls) or inspect.isfunction(cls) else None
    if names is None and inspect.isclass(cls):
        names = _hook_arguments(cls, node)
    return None if names is None else names | BUILDER_KEYS


def top_level_keys() -> set[str]:
    from mmengine.runner import Runner

    return set(inspect.signature(Runner.__init__).parameters) - {"self"} | RUNNER_KEYS | OUR_KEYS


def _hook_arguments(cls: type, node: dict) -> set[str] | None:
    """Arguments of a hook that takes **kwargs: mmengine's hand them on only to what is named here."""
    from mmengine.hooks import CheckpointHook, EMAHook

    if not issubclass(cls, (CheckpointHook, EMAHook)):
        return None
    names = {name for link in cls.__mro__ if "__init__" in vars(link) for name in _named(link.__init__)}
    if issubclass(cls, EMAHook):
        names |= arguments(resolve(node.get("ema_type", "ExponentialMovingAverage"))) - {"model"}
    return names


def arguments(target: type) -> set[str] | None:
    """Names a call accepts; `**kwargs` is followed to the base classes. None if anything goes."""
    chain = target.__mro__ if inspect.isclass(target) else (target,)
    names: set[str] = set()
    for link in chain:
        call = link.__dict__.get("__init__") if inspect.isclass(link) else link
        if call is None:
            continue
        try:
            names |= _named(call)
        except ValueError:  # written in C
            return None
        if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(call).parameters.values()):
            return names
    return None


def _named(call: object) -> set[str]:
    parameters = inspect.signature(call).parameters.values()
    return {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)} - {"self"}


def suggest(word: str, choices: Iterable[str], prefix: str = "") -> str:
    """`; did you mean …?` or nothing."""
    close = difflib.get_close_matches(word, sorted(map(str, choices)), n=1)
    return f"; did you mean {'.'.join(filter(None, (prefix, close[0])))!r}?" if close else ""


def _dicts(node: object, place: str = "") -> Iterator[tuple[str, dict]]:
    """Every dict inside, with its dotted place; the outermost left out."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, value in items:
        inner = f"{place}.{key}" if place else str(key)
        if isinstance(value, dict):
            yield inner, value
        yield from _dicts(value, inner)


def _is_import(value: object) -> bool:
    """Classes that a config imports stand in it beside its keys."""
    return inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)
