"""COCO's panoptic format: a JSON with the segments of each image, and a folder of PNGs whose colours are their ids.

The id of a pixel is R + 256 G + 256^2 B, 0 = not labelled. Source: https://cocodataset.org/#format-data
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xseg.data.formats.catalog import PANOPTIC, Catalog, Evidence, Format, Item, split_of
from xseg.data.formats.coco_tables import CocoFile, load, merged_classes
from xseg.data.formats.locate import Images, check_missing, item_ids
from xseg.data.formats.tree import Tree, folders, stem
from xseg.data.read.classes import check_classes
from xseg.data.read.coco import count_key, keys_in
from xseg.data.read.images import read_size_hw

_MAX_ID = 256**3 - 1


def find(tree: Tree) -> Evidence | None:
    names = _files(tree)
    if not names:
        return None
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    count = sum(count_key(tree.path(name), "segments_info") for name in names)
    return Evidence(count, f"COCO's panoptic JSON {names[0]}{more}")


def read(tree: Tree) -> Catalog:
    names = _files(tree)
    if not names:
        raise ValueError(f"{tree.file or tree.root} has no panoptic JSON, whose annotations have segments_info")
    files = [load(tree, name) for name in names]
    classes, labels, notes = merged_classes(files)
    check_classes(classes, files[0].path)
    masks = [_masks(file, Images(tree)) for file in files]
    lookup = Images(tree, without=[mask for found in masks for mask in found if mask])
    items: dict[Path, Item] = {}
    missing: list[str] = []
    for file, label_of, found in zip(files, labels, masks, strict=True):
        images, folder, split = _image_rows(file), "/".join(folders(file.name)), file.split or file.folder_split
        for number, (row, mask) in enumerate(zip(file.content["annotations"], found, strict=True)):
            place = _place(file, number)
            name = _image_name(row, images, place)
            image = _found(lookup, name, folder, split, place)
            if image is None or mask is None:
                missing.append(f"{name if image is None else row['file_name']} ({place})")
                continue
            if image in items:
                raise ValueError(f"{place}: {image} has an annotation before; remove one")
            size_hw = _size_of_both(image, mask, place)
            segments = _segments(row, label_of, place)
            items[image] = Item("", image, size_hw, split or _split(tree, image), mask=mask, segments=segments)
    total = sum(map(len, masks))
    notes += check_missing(missing, total, "pairs of an image and a PNG of segments", "; left out")
    ids = item_ids(tree.root, list(items))
    listed = tuple(item._replace(id=id) for id, item in zip(ids, items.values(), strict=True))
    used = [*names, *tree.names_of([*items, *(item.mask for item in listed)])]
    ignored = {} if tree.file else tree.unused(used)
    things, root = _things(files, classes), tree.file or tree.root
    return Catalog("panoptic", root, PANOPTIC, classes, listed, things=things, ignored=ignored, notes=tuple(notes))


def _files(tree: Tree) -> list[str]:
    names = [tree.file.name] if tree.file else tree.with_suffix(".json")
    names = [name for name in names if name.lower().endswith(".json") and '"shapes"' not in tree.head(name)]
    lists = ("annotations", "segments_info")
    return [name for name in names if keys_in(tree.path(name), lists, b"[") == set(lists)]


def _image_rows(file: CocoFile) -> dict:
    """{image id: file name}."""
    rows = {}
    for number, row in enumerate(file.content["images"]):
        id, name = row.get("id"), row.get("file_name")
        if not isinstance(id, int | float | str) or not isinstance(name, str) or not name or "\0" in name:
            raise ValueError(f"{file.path}: image {number} (from 0) needs an id and a file_name; add both")
        if id in rows:
            raise ValueError(f"{file.path}: image {id}: a second image with this id; give each its own")
        rows[id] = name
    return rows


def _masks(file: CocoFile, lookup: Images) -> list[Path | None]:
    """The PNG of segments of each annotation."""
    folder = "/".join((*folders(file.name), stem(file.name)))  # usually one with the name of the JSON
    masks = []
    for number, row in enumerate(file.content["annotations"]):
        name, place = row.get("file_name"), _place(file, number)
        if not isinstance(name, str) or not name or "\0" in name:
            raise ValueError(f"{place}: file_name must be that of a PNG of segments, got {str(name)[:40]!r}")
        masks.append(_found(lookup, name, folder, file.split or file.folder_split, place))
    return masks


def _image_name(row: dict, images: dict, place: str) -> str:
    id = row.get("image_id")
    if not isinstance(id, int | float | str) or id not in images:
        raise ValueError(f"{place}: image_id {str(id)[:40]} is not in the file; add it, or remove this annotation")
    return images[id]


def _found(lookup: Images, name: str, folder: str, split: str | None, place: str) -> Path | None:
    try:
        return lookup.find(name, folder, split)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _place(file: CocoFile, number: int) -> str:
    return f"{file.path}: annotation {number} (from 0)"


def _size_of_both(image: Path, mask: Path, place: str) -> tuple[int, int]:
    size_hw = read_size_hw(image)
    if (other := read_size_hw(mask)) != size_hw:
        raise ValueError(f"{place}: {mask} is {other} (H, W), but {image} is {size_hw}; use the images of the labels")
    return size_hw


def _segments(row: dict, label_of: dict, place: str) -> tuple[tuple[int, int, bool], ...]:
    """(id, label, is a crowd) of each segment."""
    infos = row.get("segments_info")
    if not isinstance(infos, list) or not all(isinstance(info, dict) for info in infos):
        raise ValueError(f"{place}: segments_info must be a list of objects, got {str(infos)[:40]!r}")
    segments: dict[int, tuple[int, int, bool]] = {}
    for info in infos:
        id, category = info.get("id"), info.get("category_id")
        if not isinstance(id, int) or not 0 < id <= _MAX_ID:
            raise ValueError(f"{place}: the id of a segment must be 1 to {_MAX_ID}, got {str(id)[:40]}")
        if id in segments:
            raise ValueError(f"{place}: two segments have the id {id}; give each its own")
        if not isinstance(category, int | float | str) or category not in label_of:
            raise ValueError(f"{place}: segment {id} has category_id {str(category)[:40]}, which is not in the file")
        segments[id] = (id, label_of[category], bool(info.get("iscrowd")))
    return tuple(segments.values())


def _things(files: Sequence[CocoFile], classes: Sequence[str]) -> tuple[int, ...]:
    """The labels of categories with isthing; ValueError if the files disagree."""
    is_thing: dict[str, bool] = {}
    for file in files:
        for row in file.content["categories"]:
            name, value = str(row["name"]).strip(), bool(row.get("isthing"))
            if is_thing.setdefault(name, value) != value:
                raise ValueError(f"{file.path}: category {name} has isthing {value:d}, another file {not value:d}")
    return tuple(label for label, name in enumerate(classes) if is_thing[name])


def _split(tree: Tree, image: Path) -> str | None:
    name = next(iter(tree.names_of([image])), None)
    return split_of(folders(name)) if name else None


FORMAT = Format("panoptic", "COCO's panoptic JSON with segments_info, and PNGs of ids", find, read)
