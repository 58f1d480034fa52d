"""The backbone that a file of trained weights belongs to."""

from __future__ import annotations

import os

from xseg.config import load_config
from xseg.config.options import KEPT, in_place_of
from xseg.weights import read_weights

RUN = {"pretrained", "weights", "checkpoint", "drop_path"}  # arguments that are not of the architecture


def trunk_of(source: str | os.PathLike) -> dict:
    """The config of the backbone in a file of weights, without output stride and levels.

    Args:
        source: as of `read_weights`: a path, a published name, "timm:…" or "hf:…".

    Raises:
        ValueError: the file does not say which backbone it is for.
    """
    weights = read_weights(source)
    backbone = weights.meta.get("xseg", {}).get("model", {}).get("backbone")
    if backbone is None and weights.origin is not None:
        backbone = weights.origin.backbone
    if not backbone:
        raise ValueError(f"{source} does not say which backbone it is for; name it with --backbone")
    return {key: value for key, value in backbone.items() if key not in {*KEPT, *RUN}}


def fitted(trunk: dict, base: str) -> dict:
    """A trunk for a shipped config: with the levels and the output stride of its backbone, and frozen BatchNorms."""
    return in_place_of(load_config(base).model.backbone, trunk) | dict(frozen_bn=True)
