"""YOLO: a text file per image with boxes or polygons, and a YAML with the names of classes and the splits.

Coordinates are shares of the image's width and height, so 1 is the edge after the last pixel.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from xseg.data.formats.catalog import BOXES, CLASS_FILES, OUTLINES, Catalog, Evidence, Format, Item, Region
from xseg.data.formats.locate import check_missing, item_ids
from xseg.data.formats.tree import Tree
from xseg.data.formats.yolo_sets import YoloSet, looks_like_labels, sets_of
from xseg.data.read.classes import distinct_names, read_names
from xseg.data.read.images import read_size_hw
from xseg.data.read.yolo import YoloObject, read_yolo

_NAMES = (*(f"/{name}" for name in (*CLASS_FILES, "_darknet.labels", "predefined_classes.txt")), ".names")  # endings


def find(tree: Tree) -> Evidence | None:
    try:
        sets = sets_of(tree)
    except (ValueError, FileNotFoundError) as error:  # of a file that names itself YOLO's; `read` raises it
        return Evidence(1, f"YOLO's files, with a fault: {error}")
    if not sets or not any(label.stat().st_size for label in sets[0].labels.values()):
        return None
    first = next(iter(tree.names_of(sets[0].labels.values())), "")
    count = max(len(item.labels) for item in sets)
    config = sets[0].config
    where = f"{len(sets[0].labels)} label files of YOLO, first {first}" + (
        f", with {config.path.name}" if config else ""
    )
    return Evidence(count, where, places=_places(tree, sets))


def read(tree: Tree) -> Catalog:
    sets = sets_of(tree)
    if not sets:
        raise ValueError(f"{tree.file or tree.root} has no label files of YOLO (.txt with the stem of an image)")
    if len(sets) > 1:
        places = " or ".join(str(tree.path(place)) for place in _places(tree, sets))
        raise ValueError(f"{tree.root} has {len(sets)} data sets of YOLO; pass {places}")
    chosen, notes = sets[0], list(sets[0].notes)
    objects = {image: read_yolo(label) for image, label in chosen.labels.items()}
    table = _classes(tree, chosen, objects, notes)
    label_of = {id: label for label, id in enumerate(table)}
    notes += _orphans(tree, chosen)
    images = list(chosen.splits)
    if bare := len(images) - len(chosen.labels):
        skip = chosen.config is not None and chosen.config.skip_unlabelled
        images = [image for image in images if image in chosen.labels or not skip]
        what = "left out, as the YAML says" if skip else "background"
        notes.append(f"{bare} images have no label file: {what}")
    items, left_out = [], 0
    for id, image in zip(item_ids(tree.root, images), images, strict=True):
        size_hw = read_size_hw(image)
        regions = [_region(item, label_of[item.class_id], size_hw) for item in objects.get(image, ())]
        left_out += sum(region is None for region in regions)
        regions = tuple(region for region in regions if region)
        items.append(Item(id, image, size_hw, chosen.splits[image], regions=regions))
    if left_out:
        notes.append(f"{left_out} objects without area are left out")
    return _catalog(tree, chosen, tuple(table.values()), items, notes)


def _catalog(tree: Tree, chosen: YoloSet, classes: tuple[str, ...], items: list[Item], notes: list[str]) -> Catalog:
    with_outline = Counter(region.outline is not None for item in items for region in item.regions)
    kind = OUTLINES if with_outline[True] else BOXES
    if kind == OUTLINES and with_outline[False]:
        notes.append(f"{with_outline[False]} objects have only a box, which stands for their outline")
    files = [item.path for item in items] + list(chosen.labels.values())
    files += filter(None, [chosen.config.path if chosen.config else _names_file(tree)])
    ignored = tree.unused(tree.names_of(files))
    return Catalog("yolo", tree.file or tree.root, kind, classes, tuple(items), ignored=ignored, notes=tuple(notes))


def _places(tree: Tree, sets: list[YoloSet]) -> tuple[str, ...]:
    """What to pass for each of several data sets, below the root: the folder of its config, or the config itself."""
    if len(sets) < 2:
        return ()
    configs = tree.names_of(item.config.path for item in sets)
    count = Counter(name.rpartition("/")[0] for name in configs)
    return tuple(folder if (folder := name.rpartition("/")[0]) and count[folder] == 1 else name for name in configs)


def _classes(tree: Tree, chosen: YoloSet, objects: dict[Path, list[YoloObject]], notes: list[str]) -> dict[int, str]:
    """{id: name} in the order of labels; ValueError for an id in the labels that has no name."""
    highest = max((item.class_id for rows in objects.values() for item in rows), default=0)
    if chosen.config:
        table, source = chosen.config.names, chosen.config.path
    elif source := _names_file(tree):
        table = dict(enumerate(distinct_names(read_names(source), source)))
    else:
        if highest > 9999:
            raise ValueError(f"{tree.root}: a label has class {highest}; write the names of classes into classes.txt")
        notes.append("no file names the classes (data.yaml, classes.txt); their numbers are their names")
        return {id: str(id) for id in range(highest + 1)}
    for image, rows in objects.items():
        for item in rows:
            if item.class_id not in table:
                raise ValueError(
                    f"{chosen.labels[image]}: line {item.line}: class {item.class_id} has no name in {source}, which "
                    f"names {min(table)} to {max(table)}; add it, or correct the line"
                )
    return table


def _names_file(tree: Tree) -> Path | None:
    """The file with the names of classes nearest to the root; ValueError if two that differ are equally near."""
    names = [name for name in tree.files if f"/{name}".lower().endswith(_NAMES)]
    names.sort(key=lambda name: (name.count("/"), name))
    nearest = [name for name in names if name.count("/") == names[0].count("/")]
    for other in nearest[1:]:
        if read_names(tree.path(other)) != read_names(tree.path(nearest[0])):
            raise ValueError(f"{tree.path(nearest[0])} and {other} name different classes; remove one")
    return tree.path(nearest[0]) if nearest else None


def _orphans(tree: Tree, chosen: YoloSet) -> list[str]:
    """Notes about label files without an image, in the folders of the others."""
    taken = set(chosen.labels.values())
    places = {label.parent for label in taken}
    lists = tuple(f"/{name}.txt" for name in ("train", "val", "valid", "test", "trainval"))
    missing = [
        f"that of {path}"
        for name in tree.with_suffix(".txt")
        if (path := tree.path(name)).parent in places and path not in taken
        if not f"/{name}".lower().endswith((*lists, *_NAMES)) and looks_like_labels(path)
    ]
    return check_missing(missing, len(missing) + len(taken), "images of label files", "; left out")


def _region(item: YoloObject, label: int, size_hw: tuple[int, int]) -> Region | None:
    """The object in pixels; None if it has no area."""
    height, width = size_hw
    if len(item.coordinates) == 4:
        x, y, w, h = item.coordinates
        if w <= 0 or h <= 0:
            return None
        return Region(label, ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height))
    xs = [x * width for x in item.coordinates[::2]]
    ys = [y * height for y in item.coordinates[1::2]]
    box_xyxy = (min(xs), min(ys), max(xs), max(ys))
    if box_xyxy[0] == box_xyxy[2] or box_xyxy[1] == box_xyxy[3]:
        return None
    return Region(label, box_xyxy, [[value for point in zip(xs, ys, strict=True) for value in point]])


FORMAT = Format("yolo", "a .txt an image with a class and coordinates a line, and data.yaml", find, read)
