"""The keys that a config may have: arguments of the classes that it names, and keys that mmengine's Runner reads."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Iterable, Iterator

from mmengine.config import Config

from xseg.engine.registry import resolve

# Keys that mmengine's builders remove from a dict before they call its `type`.
BUILDER_KEYS = {
    "type",
    "_scope_",
    "priority",  # of a hook
    "convert_to_iter_based",  # of a scheduler
    "optimizer",  # this and the next two: of an optimizer wrapper
    "paramwise_cfg",
    "constructor",
}
# Keys of OpenMMLab's configs -> their counterparts here: arguments of a class, and another way to set the same.
OPENMMLAB_KEYS = {
    "norm_cfg": (("bn_eps", "bn_momentum", "frozen_bn", "norm"), "sync_bn=True of the config"),
    "norm_eval": (("frozen_bn",), None),
    "init_cfg": (("pretrained", "weights"), "load_from=… of xseg.train"),
    "pretrained": ((), "load_from=… of xseg.train"),
}
RUNNER_KEYS = {  # keys that the Runner reads from the config; they are not its arguments
    "activation_checkpointing",
    "compile",
    "efficient_conv_bn_eval",
    "find_unused_parameters",
    "model_wrapper_cfg",
    "sync_bn",
    "work_dir",
}
OUR_KEYS = {"weights"}  # loaded by `xseg.load(config)` and `xseg eval CONFIG` if no weights are named
SECTIONS = {  # dicts without a `type` -> their keys
    "auto_scale_lr": {"base_batch_size", "enable"},
    "default_hooks": {"runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint", "deadline"},
    "env_cfg": {"cudnn_benchmark", "dist_cfg", "mp_cfg", "resource_limit"},
    "env_cfg.mp_cfg": {"mp_start_method", "opencv_num_threads"},
    "env_cfg.dist_cfg": {"backend", "init_backend", "init_method", "port", "timeout"},
    "randomness": {"deterministic", "diff_rank_seed", "seed"},
}
LOADER_KEYS = {"worker_init_fn", "num_batch_per_epoch", "sampler", "batch_sampler", "dataset", "collate_fn"}


def check_config(cfg: Config, source: str | os.PathLike = "config") -> None:
    """KeyError for a key that nothing reads; the message suggests the closest one."""
    for place, node in dicts(cfg._cfg_dict):
        allowed = allowed_keys(place, node)
        for key in node:
            if allowed is not None and key not in allowed:
                owner = getattr(node.get("type"), "__name__", node.get("type")) or place
                raise KeyError(
                    f"{source}: unknown key {place}.{key}{same_here(key, allowed) or suggest(key, allowed)}; "
                    f"{owner} has no such argument"
                )


def check_override(cfg: Config, dotted: str) -> None:
    """KeyError for an overridden key that is neither in the config nor an argument of its `type`."""
    node, *rest = cfg._cfg_dict, *dotted.split(".")
    for depth, key in enumerate(rest):
        place = ".".join(rest[:depth])
        if isinstance(node, (list, tuple)):
            if not key.isdigit() or int(key) >= len(node):
                raise KeyError(f"{place} is a list of length {len(node)}: {key!r} must be an index below that")
            node = node[int(key)]
            continue
        if not isinstance(node, dict):
            raise KeyError(f"{place} is {node!r} and has no keys; {dotted} cannot be set")
        choices = (allowed_keys(place, node) or set()) | {k for k, v in node.items() if not is_import(v)}
        if key not in choices:
            raise KeyError(f"unknown key {dotted}{suggest(key, choices, prefix=place)}")
        if key not in node and depth < len(rest) - 1:
            return  # a new dict, which check_config checks
        node = node.get(key)


def allowed_keys(place: str, node: dict) -> set[str] | None:
    """The keys that a dict of a config may have: arguments of its `type` and of its builder; None if any key may do."""
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
    """Arguments of mmengine's two hooks with **kwargs, which pass them only to the classes named here."""
    from mmengine.hooks import CheckpointHook, EMAHook

    if not issubclass(cls, (CheckpointHook, EMAHook)):
        return None
    names = {name for link in cls.__mro__ if "__init__" in vars(link) for name in _named(link.__init__)}
    if issubclass(cls, EMAHook):
        names |= arguments(resolve(node.get("ema_type", "ExponentialMovingAverage"))) - {"model"}
    return names


def arguments(target: type) -> set[str] | None:
    """The names of a call's arguments; `**kwargs` adds those of the base classes. None if any name may do."""
    chain = target.__mro__ if inspect.isclass(target) else (target,)
    names: set[str] = set()
    for link in chain:
        call = link.__dict__.get("__init__") if inspect.isclass(link) else link
        if call is None:
            continue
        try:
            names |= _named(call)
        except ValueError:  # no signature: written in C
            return None
        if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(call).parameters.values()):
            return names
    return None


def _named(call: object) -> set[str]:
    parameters = inspect.signature(call).parameters.values()
    return {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)} - {"self"}


def suggest(word: str, choices: Iterable[str], prefix: str = "") -> str:
    """`; did you mean …?` with the closest choice, or an empty text."""
    close = difflib.get_close_matches(word, sorted(map(str, choices)), n=1)
    return f"; did you mean {'.'.join(filter(None, (prefix, close[0])))!r}?" if close else ""


def same_here(key: str, allowed: set[str]) -> str:
    """`; use … instead` for a key of OpenMMLab's configs, or an empty text."""
    names, otherwise = OPENMMLAB_KEYS.get(key, ((), None))
    ours = [*(name for name in names if name in allowed), *([otherwise] if otherwise else [])]
    return f"; use {', '.join(ours)} instead" if ours else ""


def dicts(node: object, place: str = "") -> Iterator[tuple[str, dict]]:
    """Every dict inside `node`, with its dotted place; `node` itself is not among them."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, value in items:
        inner = f"{place}.{key}" if place else str(key)
        if isinstance(value, dict):
            yield inner, value
        yield from dicts(value, inner)


def is_import(value: object) -> bool:
    """Whether a value is an imported class, function or module; a config holds these beside its keys."""
    return inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)
