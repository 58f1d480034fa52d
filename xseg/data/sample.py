"""From samples to a batch; nothing is stacked here."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from mmengine.registry import DATASETS, FUNCTIONS

Path_ = str | os.PathLike
Transforms = Sequence[Callable | dict] | None


@FUNCTIONS.register_module()
def collate(samples: list[dict]) -> dict:
    """dict(images=[(3, H, W) uint8, …], samples=[dict(mask, meta, …), …]), one entry per sample in both.

    Images keep their sizes: stacking, padding and normalisation happen on the device, in the model's preprocessor.
    """
    return dict(
        images=[sample["image"] for sample in samples],
        samples=[{key: value for key, value in sample.items() if key != "image"} for sample in samples],
    )


def describe(config: dict) -> dict:
    """`metainfo` (classes, palette, things, …) of the data set that a config names, if possible without building it.

    A class tells it by its `describe`. A class that redefines `__init__` or `metainfo` below the `describe` that it
    inherits is built instead.
    """
    settings = dict(config)
    kind = settings.pop("type")
    kind = kind if isinstance(kind, type) else DATASETS.get(kind)
    if isinstance(kind, type) and hasattr(kind, "describe"):
        owner = {name: _owner(kind, name) for name in ("describe", "__init__", "metainfo")}
        if issubclass(owner["describe"], owner["__init__"]) and issubclass(owner["describe"], owner["metainfo"]):
            return kind.describe(**settings)
    return DATASETS.build(dict(config)).metainfo


def _owner(kind: type, name: str) -> type:
    """The class that defines an attribute; `object` where none does."""
    return next((cls for cls in kind.__mro__ if name in vars(cls)), object)
