"""Load weights of any source into a model. Names and shapes must match; otherwise the error lists the differences."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.logging import print_log
from torch import Tensor, nn

from xseg.engine import load_strict
from xseg.weights.files import read_tensors
from xseg.weights.keymap import KeyMap, recognise
from xseg.weights.maps import ALL_MAPS
from xseg.weights.sources import locate

CLASSIFIER = "head.fc"  # last layer of a classifier
CLASSIFICATION = (f"{CLASSIFIER}.", "head.hidden.")


class Weights(NamedTuple):
    """A weight file with our parameter names.

    `origin` is the key map of the source, or None for a file with our own names. `meta["xseg"]`, if present, describes
    the model.
    """

    state: dict[str, Tensor]
    meta: dict
    origin: KeyMap | None
    path: Path


def read_weights(source: str | os.PathLike) -> Weights:
    """Read weights with our parameter names from a published name, an address ("timm:…", "hf:…") or a path.

    Raises FileNotFoundError, ConnectionError if a download fails, or ValueError for a file that is damaged, unsafe, in
    half precision or of a network unknown to xseg.
    """
    path = locate(source)
    tensors, meta = read_tensors(path)
    tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    origin = recognise(tensors, ALL_MAPS)
    if origin is not None:
        tensors = origin.to_ours(tensors)
    elif "xseg" not in meta and any("/" in name for name in tensors):
        names = ", ".join(sorted({name.partition("/")[0] for name in tensors})[:6])
        raise ValueError(f"{path}: holds no Xception or DeepLabv3+ known to xseg; its variables belong to {names}")
    halves = [name for name, value in tensors.items() if value.is_floating_point() and value.itemsize < 4]
    if halves:
        raise ValueError(
            f"{path}: {len(halves)} of {len(tensors)} tensors are {tensors[halves[0]].dtype}, for example {halves[0]}: "
            "rounded weights do not reproduce the published numbers; use the float32 file"
        )
    return Weights(tensors, meta, origin, path)


def load_weights(model: nn.Module, source: str | os.PathLike | Weights, new: Sequence[str] = ()) -> list[str]:
    """Load weights into a whole model or a backbone.

    Weights of a bare backbone, or of a backbone with an ImageNet classifier, go into `model.backbone`; the head keeps
    its initial values. All other files must match the model in every name and shape, except below the prefixes in
    `new`.

    Args:
        source: an argument of `read_weights`, or its result.
        new: prefixes of modules that keep their initial values, for example "head.classifier" for other classes.

    Returns the names of parameters that kept their initial values; the log names them too.
    """
    model = getattr(model, "module", model)
    weights = source if isinstance(source, Weights) else read_weights(source)
    if weights.origin is not None:
        check_epsilon(model, weights)
    backbone, state = getattr(model, "backbone", None), dict(weights.state)
    notes = [f" ({weights.origin.source})"] if weights.origin else []
    if backbone is None:  # the model is a backbone itself
        if any(name.startswith("backbone.") for name in state):
            state = _backbone_of(state, notes)
        fresh = load_strict(model, state, weights.path, new)
    elif _is_backbone_alone(state, backbone) and not _has(model, CLASSIFIER):
        load_strict(backbone, _backbone_of(state, notes), weights.path)
        fresh = [name for name in model.state_dict() if not name.startswith("backbone.")]
    else:
        if weights.origin is not None:
            _fit_classifier(model, state, notes)
        fresh = load_strict(model, state, weights.path, new)
    if fresh:
        notes.append(f"; new, as initialised: {_some(fresh)}")
    print_log(f"Loaded weights from {weights.path}{''.join(notes)}", logger="current")
    return fresh


def check_epsilon(model: nn.Module, weights: Weights) -> None:
    """Raise ValueError if a BatchNorm of the model has another epsilon than the source of the weights."""
    for part, epsilon in weights.origin.bn_eps.items():
        module = model if part == "backbone" and not hasattr(model, "backbone") else getattr(model, part, None)
        norms = [m for m in (module.modules() if module else ()) if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        epsilons = {norm.eps for norm in norms}
        if epsilons - {epsilon} and any(name.startswith(f"{part}.") for name in weights.state):
            raise ValueError(
                f"{weights.path}: weights of {weights.origin.source} need BatchNorm epsilon {epsilon:g}, but "
                f"the model's {part} uses {', '.join(f'{e:g}' for e in sorted(epsilons))}; "
                f"set model.{part}.bn_eps={epsilon:g}"
            )


def _is_backbone_alone(state: dict[str, Tensor], backbone: nn.Module) -> bool:
    """Whether the state holds a backbone and no head except an ImageNet classifier.

    Names of a bare backbone may lack the prefix "backbone.".
    """
    names = {n for n in state if not n.startswith(CLASSIFICATION) and not n.endswith("num_batches_tracked")}
    own = {name for name in backbone.state_dict() if not name.endswith("num_batches_tracked")}
    return names == own or all(name.startswith("backbone.") for name in names)


def _backbone_of(state: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    left = [name for name in state if name.startswith("head.")]
    if left:
        notes.append(f"; left out: {_some(left)}")
    return {name.removeprefix("backbone."): value for name, value in state.items() if name not in left}


def _fit_classifier(model: nn.Module, state: dict[str, Tensor], notes: list[str]) -> None:
    """Convert TensorFlow's ImageNet classifier: flatten its 1x1 convolution and drop class 0, the background."""
    own = model.state_dict()
    for name in (f"{CLASSIFIER}.weight", f"{CLASSIFIER}.bias"):
        if name not in state or name not in own:
            continue
        if state[name].ndim == 4:
            state[name] = state[name].flatten(1)
        if state[name].shape[0] == own[name].shape[0] + 1 == 1001:
            state[name] = state[name][1:]
            if name.endswith("weight"):
                notes.append("; left out: the classifier's class 0, TensorFlow's background")


def _has(model: nn.Module, prefix: str) -> bool:
    return any(name.startswith(f"{prefix}.") for name in model.state_dict())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f", … ({len(names)} in all)" if len(names) > 6 else "")
