"""Folders of images and of masks that a YAML file names, as LightlyTrain's semantic segmentation has them.

The file has, for each split, `images` and `masks`, folders relative to the file, and `classes` with a name for each
value, or {name, values} for several values of one class. `ignore_classes` lists values that are not learned.
Source: https://docs.lightly.ai/train/stable/semantic_segmentation.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from xseg.data.formats.catalog import MASKS, Catalog, Evidence, Format, Item
from xseg.data.formats.locate import is_image, item_ids
from xseg.data.formats.masks import understand
from xseg.data.formats.tree import Tree
from xseg.data.read.images import read_size_hw

SPLITS = ("train", "val", "test")
MAX_BYTES = 1 << 18


def find(tree: Tree) -> Evidence | None:
    for path, content in _configs(tree):
        if count := sum(len(_pairs(path, content, split)) for split in SPLITS):
            return Evidence(count, f"folders that {tree.names_of([path])[0]} names")
    return None


def read(tree: Tree) -> Catalog:
    config = next(_configs(tree), None)
    if config is None:
        raise ValueError(f"{tree.root}: no YAML file names folders of images and masks; see docs/own_data.md")
    path, content = config
    rows = [(split, *pair) for split in SPLITS for pair in _pairs(path, content, split)]
    if not rows:
        raise FileNotFoundError(
            f"{path}: no image in its folders has a PNG of the same name in the folder of masks; correct the folders"
        )
    made = understand([mask for _, _, mask in rows], _names(path, content), "object")
    ids = item_ids(tree.root, [image for _, image, _ in rows])
    items = tuple(
        Item(id, image, read_size_hw(image), split, mask=mask)
        for id, (split, image, mask) in zip(ids, rows, strict=True)
    )
    used = tree.names_of([path, *(file for row in rows for file in row[1:])])
    return Catalog(
        FORMAT.name,
        tree.root,
        MASKS,
        made.classes,
        items,
        palette=made.palette,
        values=made.values,
        ignored=tree.unused(used),
        notes=made.notes,
    )


def _configs(tree: Tree) -> Iterator[tuple[Path, dict]]:
    """YAML files with `images` and `masks` for a split, those near the root first."""
    names = [tree.file.name] if tree.file else tree.with_suffix(".yaml", ".yml")
    for name in sorted(names, key=lambda name: (name.count("/"), name)):
        path = tree.path(name)
        if not name.lower().endswith((".yaml", ".yml")) or path.stat().st_size > MAX_BYTES:
            continue
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(content, dict) and any(_folders(content.get(split)) for split in SPLITS):
            yield path, content


def _folders(part: object) -> tuple[str, str] | None:
    """The folders of images and of masks of a split."""
    if not isinstance(part, dict) or "annotations" in part:  # with annotations the masks are COCO's panoptic PNGs
        return None
    if isinstance(part.get("images"), str) and isinstance(part.get("masks"), str):
        return part["images"], part["masks"]
    return None


def _pairs(path: Path, content: dict, split: str) -> list[tuple[Path, Path]]:
    """(image, mask) for each image of a split that has a PNG under the same relative name."""
    if (places := _folders(content.get(split))) is None:
        return []
    images, masks = (path.parent / place for place in places)
    if not images.is_dir() or not masks.is_dir():
        return []
    pairs = ((image, masks / image.relative_to(images).with_suffix(".png")) for image in sorted(images.rglob("*")))
    return [(image, mask) for image, mask in pairs if is_image(image.name) and mask.is_file()]


def _names(path: Path, content: dict) -> dict[int, str] | None:
    """Name of each value; "ignore" for those that are not learned."""
    classes = content.get("classes")
    if not classes:
        return None
    wrong = ValueError(f"{path}: classes must give a name, or name and values, for each number, got {classes!r:.80}")
    if not isinstance(classes, Mapping):
        raise wrong
    names: dict[int, str] = {}
    for key, entry in classes.items():
        values, name = ([key], entry) if isinstance(entry, str) else (None, None)
        if isinstance(entry, Mapping):
            values, name = entry.get("values", entry.get("labels", [key])), entry.get("name")
        if not isinstance(name, str) or not isinstance(values, list):
            raise wrong
        if not all(type(value) is int and 0 <= value < 65536 for value in values):
            raise wrong
        names |= dict.fromkeys(values, name)
    ignored = content.get("ignore_classes") or []
    if not isinstance(ignored, list) or not all(type(value) is int for value in ignored):
        raise ValueError(f"{path}: ignore_classes must be a list of numbers, got {ignored!r:.80}")
    return names | dict.fromkeys(ignored, "ignore")


FORMAT = Format("mask-config", "a YAML file that names folders of images and of masks (PNG) for each split", find, read)
