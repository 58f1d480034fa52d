"""From samples to a batch; nothing is stacked here."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from mmengine.registry import FUNCTIONS

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
