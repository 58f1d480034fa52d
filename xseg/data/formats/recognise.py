"""Which format a folder has: every format looks, and the one that explains the most images is read."""

from __future__ import annotations

import os

from xseg.data.formats import class_folders, coco, labelme, mask_files, tables, voc_masks
from xseg.data.formats.catalog import TASKS, Catalog, Evidence, Format
from xseg.data.formats.tree import Tree

_ALL = (  # strong ones first
    labelme.FORMAT,
    coco.FORMAT,
    tables.FORMAT,
    voc_masks.FORMAT,
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
    if format is not None:
        if format not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
        return _checked(FORMATS[format].read(tree), task)
    candidates = {name: evidence for name, format in FORMATS.items() if (evidence := format.find(tree))}
    if not candidates:
        raise ValueError(_nothing(tree, path))
    catalogs = [FORMATS[name].read(tree) for name in _likeliest(candidates)]
    fitting = [catalog for catalog in catalogs if task is None or task in TASKS[catalog.kind]]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        return _checked(catalogs[0], task)
    choices = "\n".join(
        f"  --format {catalog.format}: {candidates[catalog.format].where}, for {' or '.join(TASKS[catalog.kind])}"
        for catalog in fitting
    )
    raise ValueError(f"{path} can be read in several ways; say which:\n{choices}")


def _likeliest(candidates: dict[str, Evidence]) -> list[str]:
    """The formats that explain at least half as many images as the best; weak ones only where no other is."""
    most = max(evidence.images for evidence in candidates.values())
    near = {name: evidence for name, evidence in candidates.items() if 2 * evidence.images >= most}
    return [name for name, evidence in near.items() if not evidence.weak] or list(near)


def _checked(catalog: Catalog, task: str | None) -> Catalog:
    if task is not None and task not in TASKS[catalog.kind]:
        able = " or ".join(TASKS[catalog.kind])
        raise ValueError(f"{catalog.root} has {catalog.kind} ({catalog.format}), which can train {able}, not {task}")
    return catalog


def _nothing(tree: Tree, path: object) -> str:
    counts: dict[str, int] = {}
    for name in tree.files:
        suffix = os.path.splitext(name)[1].lower() or "files without suffix"
        counts[suffix] = counts.get(suffix, 0) + 1
    there = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items(), key=lambda x: -x[1])[:8])
    known = "\n".join(f"  {name}: {format.what}" for name, format in FORMATS.items())
    return f"{path}: no format recognised; there are {there or 'no files'}. Known formats:\n{known}"
