"""COCO's JSON: one file or several, as COCO, Roboflow, CVAT and Label Studio write them.

Boxes are x, y, width, height in pixels from 0, so x + width is the edge after the last pixel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from xseg.data.formats.catalog import BOXES, OUTLINES, Catalog, Evidence, Format, Item, split_of
from xseg.data.formats.coco_tables import CocoFile, load, merged_classes, regions_of
from xseg.data.formats.locate import Images, beside, check_missing, item_ids
from xseg.data.formats.tree import Tree, folders, stem
from xseg.data.read.coco import count_key, keys_in
from xseg.data.read.images import read_size_hw

_TABLES = ("images", "annotations", "categories")


class _Image(NamedTuple):
    id: object  # in its file
    path: Path
    size_hw: tuple[int, int]


def find(tree: Tree) -> Evidence | None:
    names, _ = _files(tree)
    if not names:
        return None
    count = sum(count_key(tree.path(name), "file_name") for name in names)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return Evidence(min(count, len(tree.images) or count), f"COCO's JSON {names[0]}{more}")


def read(tree: Tree) -> Catalog:
    names, passed_over = _files(tree)
    if not names:
        raise ValueError(f"{tree.file or tree.root} has no JSON with lists of {', '.join(_TABLES)}")
    notes = [f"{name} is passed over: {reason}" for name, reason in passed_over.items()]
    files = [load(tree, name) for name in names]
    located = _located(tree, files, notes)
    files, located = _without_unions(files, located, notes)
    classes, labels, more = merged_classes(files)
    notes += more
    items, left_out = [], 0
    paths = [image.path for images in located for image in images]
    ids = iter(item_ids(tree.root, paths))
    for file, images, label_of in zip(files, located, labels, strict=True):
        regions, count = regions_of(file, label_of, {image.id: image.size_hw for image in images})
        left_out += count
        for image in images:
            split = _split(tree, file, image.path)
            items.append(Item(next(ids), image.path, image.size_hw, split, regions=tuple(regions[image.id])))
    if left_out:
        notes.append(f"{left_out} boxes without area in their image are left out")
    return _catalog(tree, names, classes, items, notes)


def _catalog(tree: Tree, names: list[str], classes: tuple[str, ...], items: list[Item], notes: list[str]) -> Catalog:
    with_outline = Counter(region.outline is not None for item in items for region in item.regions)
    kind = OUTLINES if with_outline[True] else BOXES
    if kind == OUTLINES and with_outline[False]:
        notes.append(f"{with_outline[False]} objects have only a box, which stands for their outline")
    images = tree.names_of(item.path for item in items)
    if unlisted := 0 if tree.file else beside(tree, images):
        notes.append(f"{unlisted} images beside the others are not in the JSON; left out")
    ignored = {} if tree.file else tree.unused([*names, *images])
    return Catalog("coco", tree.file or tree.root, kind, classes, tuple(items), ignored=ignored, notes=tuple(notes))


def _files(tree: Tree) -> tuple[list[str], dict[str, str]]:
    """(JSON files of objects, {JSON file that is passed over: reason}), by a search of keys."""
    names = [tree.file.name] if tree.file else tree.with_suffix(".json")
    found = [name for name in names if name.lower().endswith(".json") and _is_coco(tree, name)]
    reasons: dict[str, str] = {}
    if tree.file is None:
        reasons = {name: "it has captions" for name in found if _has(tree, name, "caption")}
        objects = [name for name in found if name not in reasons]
        keypoints = {name for name in objects if _has(tree, name, "keypoints", b"[")}
        if len(keypoints) < len(objects):
            reasons |= dict.fromkeys(sorted(keypoints), "it has keypoints, and others have the objects")
        objects = [name for name in objects if name not in reasons]
        instances = [name for name in objects if stem(name).startswith("instances")]
        if instances:
            others = [name for name in objects if name not in instances]
            reasons |= dict.fromkeys(others, "files named instances are there")
    return [name for name in found if name not in reasons], reasons


def _is_coco(tree: Tree, name: str) -> bool:
    """Whether a JSON has lists of annotations and of images or categories, and no segments of a panoptic file."""
    opening = tree.head(name, 4096)
    if not any(f'"{key}"' in opening for key in (*_TABLES, "info", "licenses", "type")):
        return False
    lists = keys_in(tree.path(name), _TABLES, b"[")
    return "annotations" in lists and len(lists) > 1 and not _has(tree, name, "segments_info")


def _has(tree: Tree, name: str, key: str, opening: bytes = b"") -> bool:
    return bool(keys_in(tree.path(name), [key], opening))


def _located(tree: Tree, files: list[CocoFile], notes: list[str]) -> list[list[_Image]]:
    """The images of each file that are there; their sizes are those of the files and as stated."""
    lookup, located, missing, unequal = Images(tree), [], [], []
    for file in files:
        folder, images, ids = "/".join(folders(file.name)), {}, set()
        for number, row in enumerate(file.content["images"]):
            id, name, place = row.get("id"), row.get("file_name"), f"{file.path}: image {row.get('id', number)}"
            if not isinstance(id, int | float | str) or not isinstance(name, str) or not name or "\0" in name:
                raise ValueError(f"{place} needs an id and a file_name, got {str(id)[:40]} and {str(name)[:40]!r}")
            if id in ids:
                raise ValueError(f"{place}: a second image with this id; give each its own")
            ids.add(id)
            try:
                path = lookup.find(name, folder, file.split or file.folder_split)
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from error
            if path is None:
                missing.append(f"{name} ({place})")
                continue
            if path in images:
                raise ValueError(f"{place} is {path}, which image {images[path].id} is too; join the two")
            size_hw, stated = read_size_hw(path), (row.get("height"), row.get("width"))
            if all(stated) and stated != size_hw:
                unequal.append(f"{path} is {size_hw}, {file.path} says {stated} (height, width)")
                continue
            images[path] = _Image(id, path, size_hw)
        located.append(list(images.values()))
    total = sum(len(file.content["images"]) for file in files)
    notes += check_missing(missing, total, then="; left out with their objects")
    notes += _unequal(unequal, total)
    return located


def _unequal(unequal: list[str], total: int) -> list[str]:
    if not unequal:
        return []
    text = f"{len(unequal)} of {total} images have another size than stated, first {unequal[0]}"
    if len(unequal) * 20 >= total:
        raise ValueError(
            f"{text}; use the images that were labelled. Where height and width are exchanged, the image is turned by "
            "its EXIF orientation: save it upright"
        )
    return [f"{text}; left out"]


def _without_unions(
    files: list[CocoFile], located: list[list[_Image]], notes: list[str]
) -> tuple[list[CocoFile], list[list[_Image]]]:
    """The files without those that repeat the images of others, such as all.json beside train.json and val.json.

    ValueError if two of the files that remain have an image in common.
    """
    paths = [{image.path for image in images} for images in located]
    keep = []
    for index, file in enumerate(files):
        others = _union(paths[i] for i in range(len(files)) if i != index and files[i].split)
        if len(files) > 1 and file.split is None and paths[index] and paths[index] <= others:
            notes.append(f"{file.name} is passed over: files of splits have the same images")
        else:
            keep.append(index)
    owner: dict[Path, CocoFile] = {}
    for index in keep:
        for path in sorted(paths[index]):
            if path in owner:
                raise ValueError(
                    f"{path} is in {owner[path].path} and in {files[index].path}; pass the one that you mean instead "
                    "of the folder, or move the other away"
                )
            owner[path] = files[index]
    return [files[index] for index in keep], [located[index] for index in keep]


def _union(sets: Iterable[set]) -> set:
    return set().union(*sets)


def _split(tree: Tree, file: CocoFile, path: Path) -> str | None:
    """As the JSON's name says, then the folders of the image, then those of the JSON."""
    if file.split:
        return file.split
    image = next(iter(tree.names_of([path])), None)
    return (split_of(folders(image)) if image else None) or file.folder_split


FORMAT = Format("coco", "JSON with lists of images, annotations and categories", find, read)
