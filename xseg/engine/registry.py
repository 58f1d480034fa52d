"""Look up the classes that a config names."""

import importlib

import mmengine.registry as registries
from mmengine.registry import Registry


def resolve(type_: object) -> object:
    """The class of a `type` in a config, which is a class, a registered name or a dotted path; None if unknown."""
    if not isinstance(type_, str):
        return type_
    for registry in vars(registries).values():
        if isinstance(registry, Registry) and type_ in registry.module_dict:
            return registry.module_dict[type_]
    module, _, name = type_.rpartition(".")
    if module:
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            return None
    return None
