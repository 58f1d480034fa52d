"""The settings of a training for a task, a data set and a machine, each with its reason.

Numbers of the recipes were measured on CamVid and BCCD; see docs/own_data.md. They choose among shipped configs of
`configs/own`; what follows from data and time is set here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from xseg.data.formats import Catalog
from xseg.data.formats.catalog import MASKS, NOUNS, OUTLINES, TASKS
from xseg.plan.fingerprint import Fingerprint
from xseg.plan.trunks import fitted, trunk_of

HANDED = ("left", "right", "links", "rechts", "gauche", "droite")
BASES = {  # task -> shipped config, class of its data set
    "segmentation": ("own/deeplabv3plus", "OwnSegmentation"),
    "detection": ("own/fcos", "OwnDetection"),
    "instances": ("own/mask_rcnn", "OwnDetection"),
    "panoptic": ("own/joint", "OwnPanoptic"),
    "classification": ("own/xception", "OwnClassification"),
    "multilabel": ("own/xception_multilabel", "OwnMultiLabel"),
}


class Reason(NamedTuple):
    """A line of the plan."""

    what: str
    value: str
    why: str


@dataclass
class Choices:
    """What a person has decided; None leaves it to the plan.

    size: edge of the crop (segmentation, panoptic, classification) or shorter edge of the images (detection), pixels.
    """

    task: str | None = None
    backbone: str | None = None
    load_from: str | None = None
    epochs: float | None = None
    batch_size: int | None = None
    lr: float | None = None
    size: int | None = None


@dataclass
class Recipe:
    """A shipped config and what differs from it."""

    task: str
    base: str
    dataset: str
    reasons: list[Reason] = field(default_factory=list)
    settings: dict = field(default_factory=dict)  # dotted key -> value
    train_transforms: list[dict] = field(default_factory=list)
    val_transforms: list[dict] = field(default_factory=list)
    batch_size: int = 8
    lr: float = 1e-2
    backbone: str | None = None
    load_from: str | None = None
    with_masks: bool = False

    def say(self, what: str, value: object, why: str) -> None:
        self.reasons.append(Reason(what, str(value), why))


def recipe(catalog: Catalog, facts: Fingerprint, choices: Choices) -> Recipe:
    """The settings that follow from the data. ValueError for a task that the labels cannot train."""
    possible = TASKS[catalog.kind]
    task = choices.task or possible[0]
    if task not in possible:
        able = " or ".join(possible)
        raise ValueError(f"{catalog.root} has {NOUNS[catalog.kind]}, which can train {able}, not {task}")
    made = Recipe(task, *BASES[task])
    others = [name for name in possible if name != task]
    too = f"; --task {' or '.join(others)} too" if others else ""
    made.say("task", task, f"the labels are {NOUNS[catalog.kind]}{too}")
    {
        "segmentation": _segmentation,
        "panoptic": _panoptic,
        "detection": _detection,
        "instances": _detection,
        "classification": _classification,
        "multilabel": _classification,
    }[task](made, catalog, facts, choices)
    _flips(made, catalog.classes)
    _trunk(made, choices)
    if choices.batch_size:
        made.batch_size = choices.batch_size
        made.say("batch size", choices.batch_size, "as you say")
    if choices.lr:
        made.lr = choices.lr
        made.say("learning rate", choices.lr, "as you say")
    made.settings |= {"optim_wrapper.optimizer.lr": made.lr, "train_dataloader.batch_size": made.batch_size}
    return made


def _segmentation(made: Recipe, catalog: Catalog, facts: Fingerprint, choices: Choices) -> None:
    scale = min(1.0, 400 / facts.short_edge[1])
    crop = choices.size or _crop(round(scale * facts.short_edge[1]), 257)
    low, high = (round(factor * scale, 3) for factor in (0.5, 2.0))
    made.train_transforms = [
        dict(type="RandomScaleCrop", size_hw=(crop, crop), scale=(low, high), max_class_share=0.75)
    ]
    why = "as you say" if choices.size else f"the largest 32 k + 1 up to 257 in images of {facts.short_edge[1]} pixels"
    made.say("crop", f"{crop} x {crop}", why)
    made.say("scales", f"{low} to {high}", "half to twice the size at which the network sees the images")
    if scale < 1:
        scale = round(scale, 3)
        made.settings["model.inference"] = dict(scales=(scale,))
        made.say(
            "image scale", scale, f"a shorter edge of {facts.short_edge[1]} pixels is more than a CPU needs to see"
        )
    made.batch_size = 8
    trained = choices.load_from is not None  # balanced weights overshoot where the trunk knows photographs already
    balanced = facts.imbalance > 5 and catalog.kind in (MASKS, OUTLINES) and not trained
    crossed = dict(type="CrossEntropy", **(dict(class_weights="balanced") if balanced else {}))
    made.settings["model.losses"] = [crossed, dict(type="Dice", weight=0.5)]
    made.say(
        "losses",
        f"cross-entropy{' with balanced class weights' if balanced else ''} + 0.5 Dice",
        f"the most frequent class occurs {facts.imbalance:.0f} times as much as the rarest"
        if facts.imbalance > 2
        else "no class is rare",
    )


def _panoptic(made: Recipe, catalog: Catalog, facts: Fingerprint, choices: Choices) -> None:
    scale = min(1.0, 400 / facts.short_edge[1])
    crop = choices.size or _crop(round(scale * facts.short_edge[1]), 257)
    low, high = (round(factor * scale, 3) for factor in (0.5, 1.5))
    made.train_transforms = [dict(type="RandomScaleCrop", size_hw=(crop, crop), scale=(low, high))]
    made.say("crop", f"{crop} x {crop}", "as you say" if choices.size else "what a CPU can train with both heads")
    short, long = round(scale * facts.short_edge[1]), round(scale * facts.long_edge[2])
    made.settings["model.size"] = (short, max(long, short))
    made.say("image size", f"{short} (shorter edge)", "at which objects and pixels are predicted")
    made.batch_size, made.lr = 4, 4e-3


def _detection(made: Recipe, catalog: Catalog, facts: Fingerprint, choices: Choices) -> None:
    made.with_masks = made.task == "instances"
    median, smallest = facts.short_edge[1], facts.object_px[0] if facts.object_px else 32.0
    size = choices.size or 320
    why = "as you say"
    if not choices.size:
        why = f"a tenth of the objects is below {smallest:.0f} of {median} pixels, which then are {{:.0f}}"
        while size < 640 and smallest * size / median < 12:
            size += 64
        size = min(size, max(128, 32 * round(median / 32)))
        why = why.format(smallest * size / median)
    ratio = facts.long_edge[1] / max(1, facts.short_edge[1])
    longest = 32 * round(min(max(2.0, ratio), 3.0) * size / 32)
    shortest = tuple(32 * round(size * factor / 32) for factor in (0.9, 1.0, 1.1, 1.2))
    made.train_transforms = [dict(type="RandomResize", shortest=shortest, longest=longest)]
    made.settings["model.size"] = (size, longest)
    made.say("image size", f"{size} (shorter edge)", why)
    made.say("training sizes", f"{shortest[0]} to {shortest[-1]}", "0.9 to 1.2 times, so that the scale may vary")
    if facts.objects_per_image > 60:
        made.settings["model.selection"] = dict(max_detections=300)
        made.say("detections an image", 300, f"there are {facts.objects_per_image:.0f} objects in an image")
    made.batch_size, made.lr = 4, 4e-3


def _classification(made: Recipe, catalog: Catalog, facts: Fingerprint, choices: Choices) -> None:
    size = choices.size or int(min(128, max(32, 32 * round(facts.short_edge[1] / 32))))
    made.train_transforms = [
        dict(type="RandomResizedCrop", size_hw=(size, size), scale=(0.35, 1.0)),
    ]
    made.val_transforms = [dict(type="CentreCrop", size=size, share=0.9)]
    made.settings["model.crop_size"] = size
    made.say("crop", f"{size} x {size}", "as you say" if choices.size else "up to 128 pixels, what a CPU can train")
    if made.task == "classification" and facts.imbalance > 3:
        made.settings["model.class_weights"] = "balanced"
        made.say(
            "class weights", "balanced", f"the largest class has {facts.imbalance:.0f} times the smallest's images"
        )
    made.batch_size, made.lr = 32, 4e-3


def _flips(made: Recipe, classes: Sequence[str]) -> None:
    handed = [name for name in classes if any(word in name.lower() for word in HANDED)]
    if handed:
        made.say("flips", "none", f"{handed[0]} would become its mirror image")
    else:
        made.train_transforms.append(dict(type="RandomFlip"))
        made.say("flips", "horizontal", "no class is named for its side")
    if made.task in ("classification", "multilabel"):
        made.train_transforms.append(dict(type="ColorJitter", brightness=0.2, contrast=0.2, saturation=0.2))
    else:
        made.train_transforms.append(dict(type="PhotometricDistortion"))


def _trunk(made: Recipe, choices: Choices) -> None:
    made.backbone, made.load_from = choices.backbone, choices.load_from
    if choices.load_from:
        trunk = fitted(trunk_of(choices.load_from), made.base)
        if not choices.backbone:
            made.settings["model.backbone"] = dict(_delete_=True, **trunk)
        made.lr = 1e-3
        made.settings["optim_wrapper.paramwise_cfg"] = dict(backbone_lr_mult=0.3)
        made.say("backbone", choices.backbone or _named(trunk), f"starts from {choices.load_from}")
        made.say("BatchNorm", "of the trunk frozen", "batches are small, and its statistics are those of many images")
        if trunk.get("width", 1) >= 0.5:
            made.batch_size = min(made.batch_size, 4)
            if made.task == "segmentation":
                made.settings["model.head"] = dict(channels=128, low_channels=48)
        made.say("learning rate", "0.001, trunk 0.0003", "a trained trunk needs smaller steps")
    elif choices.backbone:
        made.say("backbone", choices.backbone, "as you say, from scratch")
        made.say("learning rate", made.lr, "AdamW from scratch, warm-up and poly decay")
    else:
        made.say("backbone", "quarter-width Xception", "from scratch; no trained trunk was given (--load-from)")
        made.say("learning rate", made.lr, "AdamW from scratch, warm-up and poly decay")


def _named(trunk: dict) -> str:
    """A backbone's name and what it is built from, for people."""
    return trunk["type"] + "".join(f", {key} {trunk[key]}" for key in ("depth", "width", "name") if key in trunk)


def _crop(edge: int, largest: int) -> int:
    """The largest 32 k + 1 up to the edge and `largest`; maps of aligned corners cover such a crop exactly."""
    return max(65, min(largest, 32 * ((edge - 1) // 32) + 1))
