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
    """Give heads without `num_classes` the number of classes of a loader's data; refuse another number.

    A model with a detection head of its own is told which classes are things.

    Returns dict(classes, palette, …) of the data, which is not built; {} for a config without data. Where the folder of
    a VOC data set is missing, a stated `num_classes` that equals VOC's number stands for VOC's classes.
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


def end_schedules(cfg: Config) -> None:
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
    from xseg.data.sample import describe

    try:
        return describe(dataset)
    except FileNotFoundError:
        cls = resolve(dataset.get("type"))
        known = getattr(cls, "standard", None)
        if stated is None or known is None or len(known["classes"]) != stated:
            raise
        return known
