"""`--backbone` and `--schedule`: replace the backbone or the schedule of a config."""

from __future__ import annotations

from mmengine.config import Config

import xseg.models  # noqa: F401  registers the classes named here
from xseg.config.files import read_file
from xseg.config.keys import arguments, suggest
from xseg.config.names import config_root
from xseg.engine.registry import resolve

TRUNKS = {  # name -> (arguments, published ImageNet weights for full width)
    "xception41": (dict(type="AlignedXception", depth=41), "xception41_imagenet"),
    "xception65": (dict(type="AlignedXception", depth=65), "xception65_imagenet"),
    "xception71": (dict(type="AlignedXception", depth=71), "xception71_imagenet"),
    "xception": (dict(type="Xception"), "xception_keras_notop"),
}
LIBRARIES = {"timm": "TimmBackbone", "vit": "ViTBackbone", "smp": "SmpBackbone"}  # vit: timm's plain ones
# These arguments of the old backbone belong to the task, so a new backbone that has them keeps their values.
KEPT = ("out", "output_stride", "frozen_stages", "frozen_bn", "bn_momentum", "in_channels")


def set_backbone(cfg: Config, text: str) -> None:
    """Replace the backbone of a config.

    Levels, output stride and frozen parts stay. A config that starts from ImageNet weights starts from those of the new
    backbone. A timm name brings its normalisation; with a tag it also brings the weights of the tag.

    Args:
        text: "xception65", "xception41@0.25" (width), "timm:resnet50" (random weights), "timm:resnet50.a1_in1k"
            (weights of that tag, downloaded), "vit:vit_small_patch14_dinov2.lvd142m" (timm's plain vision
            transformers), "smp:mit_b0".

    Raises ValueError for an unknown name, or for a config without a backbone.
    """
    model = cfg.get("model") or {}
    if "backbone" not in model:
        raise ValueError(f"backbone {text!r}: the config has no model.backbone to replace")
    if cfg.get("weights"):
        raise ValueError(f"backbone {text!r}: the config's weights {cfg.weights!r} fit only its own backbone")
    old = model.backbone
    library, colon, name = text.partition(":")
    new, trunk = _adapter(library, name) if colon else _trunk(text, pretrained="load_from" in cfg)
    new = in_place_of(old, new)
    momentum = old.get("bn_momentum")
    if momentum is not None and "bn_momentum" not in new and model.head.get("bn_momentum") == momentum:
        del model.head["bn_momentum"]  # belongs to the recipe of the Xceptions
    if colon and library != "smp":
        model.preprocessor = _timm_preprocessor(name)
    cfg.model.backbone = new
    if cfg.pop("load_from", None) and trunk:
        cfg.load_from = trunk


def in_place_of(old: dict, new: dict) -> dict:
    """The arguments of a new backbone, with those of the old one that belong to the task, as far as it takes them."""
    accepted = arguments(resolve(new["type"]))
    return new | {key: old[key] for key in KEPT if key in old and (accepted is None or key in accepted)}


def set_schedule(cfg: Config, name: str) -> None:
    """Replace the length and the learning-rate schedule of a config.

    The optimizer stays, with its learning rate, unless the schedule's optimizer is of another class.

    Args:
        name: NAME of a file _base_/schedule_NAME.py: "1x", "2x", "30k", "90k", "adamw", …
    """
    files = (config_root() / "_base_").glob("schedule_*.py")
    known = {path.stem.removeprefix("schedule_"): path for path in files}
    if name not in known:
        raise ValueError(f"no schedule {name!r}{suggest(name, known)}; there are {', '.join(sorted(known))}")
    if not cfg.get("train_cfg"):
        raise ValueError(f"schedule {name!r}: the config has no train_cfg, so it does not train")
    base = read_file(known[name])
    cfg.train_cfg, cfg.param_scheduler = base.train_cfg, base.param_scheduler
    if resolve(base.optim_wrapper.optimizer.type) is not resolve(cfg.optim_wrapper.optimizer.type):
        cfg.optim_wrapper = base.optim_wrapper


def _trunk(text: str, pretrained: bool) -> tuple[dict, str | None]:
    name, at, width = text.partition("@")
    if name not in TRUNKS:
        raise ValueError(
            f"no backbone {name!r}{suggest(name, TRUNKS)}; there are {', '.join(TRUNKS)} (also as NAME@WIDTH), "
            "timm:NAME, vit:NAME and smp:NAME"
        )
    new, weights = dict(TRUNKS[name][0]), TRUNKS[name][1]
    if at:
        try:
            new["width"] = float(width)
        except ValueError:
            raise ValueError(f"backbone {text!r}: the width after @ must be a number such as 0.25") from None
        return new, None
    if name == "xception" and pretrained:
        new["pool_padding"] = "tensorflow"  # the published weights were trained with it
    return new, weights


def _adapter(library: str, name: str) -> tuple[dict, None]:
    if library not in LIBRARIES:
        raise ValueError(f"a backbone of a library must be timm:NAME, vit:NAME or smp:NAME, got {library}:{name}")
    new = dict(type=LIBRARIES[library], name=name)
    if library != "smp" and "." in name:
        new["pretrained"] = True
    return new, None


def _timm_preprocessor(name: str) -> dict:
    """A preprocessor with timm's mean and standard deviation for a network, in units of 0..255."""
    import timm

    card = timm.get_pretrained_cfg(name) if timm.is_model(name.split(".")[0]) else None
    mean, std = (card.mean, card.std) if card else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    scaled = {key: tuple(round(255 * value, 3) for value in values) for key, values in (("mean", mean), ("std", std))}
    return dict(type="Preprocessor", **scaled)
