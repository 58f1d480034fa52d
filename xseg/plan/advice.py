"""What to do after a training: the class that fails most and why, and whether time or data would help."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from xseg.plan.plan import Plan

BY_CLASS = ("IoU", "bbox_AP", "segm_AP", "accuracy", "AP")  # keys of a report that hold a number by class
STILL_RISING = 1.0  # points between the last two validations


def advice(plan: Plan, report: Mapping, work_dir: Path) -> list[str]:
    """Lines for people after a training; empty where the report has no numbers by class."""
    return [line for line in (worst_class(plan, report), learning(report, work_dir)) if line]


def worst_class(plan: Plan, report: Mapping) -> str | None:
    """The class with the lowest number, and the likeliest reason."""
    key = next((name for name in BY_CLASS if isinstance(report.get(name), Mapping)), None)
    known = {name: value for name, value in report[key].items() if value is not None} if key else {}
    if len(known) < 2:
        return None
    name = min(known, key=known.get)
    return f"weakest class: {name} ({key} {known[name]:.1f}); {_reason(plan, name)}"


def _reason(plan: Plan, name: str) -> str:
    facts = plan.facts
    train = set(plan.splits.ids["train"])
    label = plan.catalog.classes.index(name) if name in plan.catalog.classes else None
    images = sum(label in labels for id, labels in facts.present.items() if id in train)
    if label is not None and images < max(20, 0.05 * len(train)):
        return f"only {images} of {len(train)} training images have it: label more of them"
    widths = sorted(
        ((r.box_xyxy[2] - r.box_xyxy[0]) * (r.box_xyxy[3] - r.box_xyxy[1])) ** 0.5
        for item in plan.catalog.items
        for r in item.regions or ()
        if r.label == label
    )
    size = plan.recipe.settings.get("model.size")
    if widths and size and widths[len(widths) // 2] * size[0] / facts.short_edge[1] < 20:
        return f"its objects are {widths[len(widths) // 2]:.0f} pixels wide (median): try a larger --size"
    share = facts.shares.get(name, 0)
    if share and share < 0.01:
        return f"it has {share:.2%} of the pixels or objects: look at confusion and worst images in eval/"
    return "look at the confusion matrix and the worst images in eval/"


def learning(report: Mapping, work_dir: Path) -> str | None:
    """Whether more minutes or more data would help, from the validations of the run."""
    name = report.metrics[0].leading if getattr(report, "metrics", None) else None
    curve = validations(work_dir, name) if name else []
    if len(curve) < 3:
        return None
    shown = ", ".join(f"{value:.1f} at {step}" for step, value in curve)
    rise = curve[-1][1] - curve[-2][1]
    if rise > STILL_RISING:
        return f"{name} still rose by {rise:.1f} at the end ({shown}): more --minutes will help"
    return f"{name} was flat at the end ({shown}): more labelled images will help more than more minutes"


def validations(work_dir: Path, name: str) -> list[tuple[int, float]]:
    """(iteration, value) of a number at each validation of the newest run in the work dir."""
    logs = sorted(work_dir.glob("*/vis_data/scalars.json"))
    rows = [json.loads(line) for line in logs[-1].read_text().splitlines() if line] if logs else []
    return [(row.get("step", 0), row[name]) for row in rows if isinstance(row.get(name), (int, float))]
