"""Values of a config that follow from its data, its weights or its other values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmengine.config import Config

from xseg.config.keys import allowed_keys
from xseg.engine.registry import resolve

if TYPE_CHECKING:
    from xseg.weights import Weights


def fill_num_classes(cfg: Config, loader: str) -> dict:
    """Set `num_classes` of heads that do not state it from a loader's data set; ValueError if a stated one differs.

    A model with a `detection_head` also gets `things`, the indices of the classes with instances.

    Returns dict(classes, palette, …) of the data set, which is not built; {} for a config without data. If the folder
    of a VOC data set is missing and the stated `num_classes` equals VOC's number, VOC's classes are used.
    """
    head = cfg.model.get("head")
    if not isinstance(head, dict) or not cfg.get(loader):
        return {}
    metainfo = _metainfo(cfg[loader].dataset, head.get("num_classes"))
    classes = metainfo["classes"]
    for key in ("head", "aux_head"):
        head = cfg.model.get(key)
        if not isinstance(head, dict):
            continue
        if head.setdefault("num_classes", len(classes)) != len(classes):
            raise ValueError(
                f"model.{key}.num_classes is {head.num_classes}, but the data set has {len(classes)} classes: "
                f"{', '.join(classes)}. Leave num_classes out to use the data set's"
            )
    if isinstance(head := cfg.model.get("detection_head"), dict):
        if "things" not in metainfo:
            raise ValueError(f"{loader}.dataset does not say which classes are things; use a PanopticDataset")
        cfg.model.setdefault("things", list(metainfo["things"]))
        head.setdefault("num_classes", len(cfg.model.things))
    return metainfo


def fill_context(cfg: Config, trained: Weights | None = None, new: Sequence[str] = ()) -> tuple[int, int] | None:
    """Set atrous `rates` and `pooling_hw` of a head without them, from its weights or else from the training crop.

    Returns the size (height, width) of the training crop if the crop decided.

    Args:
        trained: the weights for the model; if they hold the head's atrous branches, the head keeps their values.
        new: prefixes of modules that keep their initial values.
    """
    from heads.segmentation.deeplabv3plus import PUBLISHED_CROP, RATES_AT_16, rates_for_crop

    head = cfg.model.get("head") if isinstance(cfg.model, dict) else None
    unset = {"rates", "pooling_hw"} - set(head or ())
    if not isinstance(head, dict) or not unset <= (allowed_keys("model.head", head) or set()):
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
    head.update({key: values[key] for key in unset})
    return crop if unset else None


def training_crop(cfg: Config) -> tuple[int, int] | None:
    """(height, width) in pixels after the last training transform that crops or resizes; None if no transform does."""
    transforms = (cfg.get("train_dataloader") or {}).get("dataset", {}).get("transforms", ())
    sizes = [size for t in transforms if (size := t.get("size_hw") or t.get("size"))]
    if not sizes:
        return None
    last = sizes[-1]
    return (last, last) if isinstance(last, int) else tuple(last)


def end_schedules(cfg: Config) -> None:
    """Set the `end` of schedulers that do not state it to the end of the training.

    PolyLR ends one iteration later, so that its last step is not at rate 0: this is DeepLab's poly schedule.
    """
    max_iters = (cfg.get("train_cfg") or {}).get("max_iters")
    schedulers = cfg.get("param_scheduler") or []
    for scheduler in schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]:
        if max_iters and not scheduler.get("by_epoch", True) and "end" not in scheduler:
            kind = getattr(resolve(scheduler.get("type")), "__name__", "")
            scheduler["end"] = max_iters + 1 if kind.startswith("Poly") else max_iters


def _metainfo(dataset: dict, stated: int | None) -> dict:
    from xseg.data.sample import describe

    try:
        return describe(dataset)
    except FileNotFoundError:
        cls = resolve(dataset.get("type"))
        known = getattr(cls, "standard", None)
        if stated is None or known is None or len(known["classes"]) != stated:
            raise
        return known
