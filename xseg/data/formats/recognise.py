"""Which format a folder has: every format looks, and the one that explains the most images is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from xseg.data.formats import (
    class_folders,
    coco,
    cvat,
    labelme,
    labelstudio,
    mask_config,
    mask_files,
    panoptic,
    supervisely,
    tables,
    voc_boxes,
    voc_masks,
    yolo,
)
from xseg.data.formats.catalog import NOUNS, TASKS, Catalog, Evidence, Format
from xseg.data.formats.tree import Tree

_ALL = (  # strong ones first
    labelme.FORMAT,
    labelstudio.FORMAT,
    coco.FORMAT,
    cvat.FORMAT,
    panoptic.FORMAT,
    supervisely.FORMAT,
    yolo.FORMAT,
    tables.FORMAT,
    voc_boxes.FORMAT,
    voc_masks.FORMAT,
    mask_config.FORMAT,
    mask_files.FORMAT,
    class_folders.FORMAT,
)
FORMATS: dict[str, Format] = {format.name: format for format in _ALL}


def read_catalog(path: str | os.PathLike, format: str | None = None, task: str | None = None) -> Catalog:
    """The catalog of a folder, or of a file that lists images.

    Args:
        format: the name of the format, one of `FORMATS`; None recognises it.
        task: one of "segmentation", "detection", "instances", "panoptic", "classification", "multilabel"; formats whose
            labels cannot train it are passed over.

    Raises:
        FileNotFoundError, ValueError: there are no data, or several formats fit; the message lists what is there and
            what to pass. Faults of files: as the format's reader says.
    """
    tree = Tree(path)
    if format is not None and format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    names = FORMATS if format is None else [format]
    candidates = {name: evidence for name in names if (evidence := FORMATS[name].find(tree))}
    if not candidates:
        if format is not None:
            return _checked(FORMATS[format].read(tree), task)  # the reader says what it lacks
        raise ValueError(_nothing(tree, path))
    readings = [reading for name in _likeliest(candidates) for reading in _readings(tree, name, candidates[name])]
    if len(readings) == 1 and readings[0].fault:
        raise readings[0].fault
    fitting = [reading for reading in readings if reading.fault or task is None or task in TASKS[reading.catalog.kind]]
    if len(fitting) == 1 and fitting[0].catalog:
        return fitting[0].catalog
    if not fitting:
        return _checked(readings[0].catalog, task)
    raise ValueError(f"{path} can be read in several ways; pass one:\n" + "\n".join(map(_line, fitting)))


class _Reading(NamedTuple):
    """One way to read the data: a catalog, or the fault that reading met."""

    path: Path  # to pass
    format: str
    where: str
    catalog: Catalog | None = None
    fault: Exception | None = None


def _readings(tree: Tree, name: str, evidence: Evidence) -> list[_Reading]:
    """The data set of a format in the tree, or each of several."""
    if not evidence.places:
        return [_reading(tree, name, evidence)]
    trees = [Tree(tree.path(place)) for place in evidence.places]
    return [_reading(part, name, FORMATS[name].find(part) or evidence) for part in trees]


def _reading(tree: Tree, name: str, evidence: Evidence) -> _Reading:
    path = tree.file or tree.root
    try:
        return _Reading(path, name, evidence.where, FORMATS[name].read(tree))
    except (ValueError, FileNotFoundError) as error:
        return _Reading(path, name, evidence.where, fault=error)


def _line(reading: _Reading) -> str:
    """What to pass, and what it gives."""
    start = f"  {reading.path} --format {reading.format}: "
    if reading.fault:
        return f"{start}cannot be read: {reading.fault}"
    catalog = reading.catalog
    count = sum(bool(item.mask or item.regions or item.labels) for item in catalog.items)
    labels = f"{count} of {len(catalog.items)} images have {NOUNS[catalog.kind]} of {len(catalog.classes)} classes"
    return f"{start}{labels}, for {' or '.join(TASKS[catalog.kind])} ({reading.where})"


def _likeliest(candidates: dict[str, Evidence]) -> list[str]:
    """The formats that explain at least half as many images as the best; weak ones only where no other is."""
    most = max(evidence.images for evidence in candidates.values())
    near = {name: evidence for name, evidence in candidates.items() if 2 * evidence.images >= most}
    return [name for name, evidence in near.items() if not evidence.weak] or list(near)


def _checked(catalog: Catalog, task: str | None) -> Catalog:
    if task is not None and task not in TASKS[catalog.kind]:
        able = " or ".join(TASKS[catalog.kind])
        raise ValueError(
            f"{catalog.root} has {NOUNS[catalog.kind]} ({catalog.format}), which can train {able}, not {task}"
        )
    return catalog


def _nothing(tree: Tree, path: object) -> str:
    counts: dict[str, int] = {}
    for name in tree.files:
        suffix = os.path.splitext(name)[1].lower() or "files without suffix"
        counts[suffix] = counts.get(suffix, 0) + 1
    there = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items(), key=lambda x: -x[1])[:8])
    known = "\n".join(f"  {name}: {format.what}" for name, format in FORMATS.items())
    return f"{path}: no format recognised; there are {there or 'no files'}. Known formats:\n{known}"
