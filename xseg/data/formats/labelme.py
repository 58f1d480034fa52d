"""labelme: one JSON per image, beside the image or in a folder of its own."""

from collections.abc import Iterator

from xseg.data.formats.catalog import OUTLINES, Catalog, Evidence, Format, Item, Region, class_order, split_of
from xseg.data.formats.tree import Tree, folders
from xseg.data.read.json_file import read_json
from xseg.data.read.labelme import read_labelme


def find(tree: Tree) -> Evidence | None:
    names = list(_files(tree))
    if not names:
        return None
    return Evidence(len(names), f"{len(names)} labelme files, one an image, first {names[0]}")


def read(tree: Tree) -> Catalog:
    names = list(_files(tree))
    files = [read_labelme(tree.path(name), drop_invalid=True) for name in names]
    classes = class_order(tree, {item["label"] for file in files for item in file.objects})
    items, left_out = [], sum(file.left_out for file in files)
    for name, file in zip(names, files, strict=True):
        regions = []
        for item in file.objects:
            x, y, width, height = item["bbox"]
            box_xyxy = (x, y, x + width, y + height)
            regions.append(Region(classes.index(item["label"]), box_xyxy, item["segmentation"]))
        id = name.removesuffix(".json")
        items.append(Item(id, file.path, file.size_hw, split_of(folders(name)), regions=tuple(regions)))
    used = [*names, *tree.names_of(item.path for item in items)]
    notes = [f"{left_out} shapes without area (points, lines) are left out"] if left_out else []
    return Catalog("labelme", tree.root, OUTLINES, classes, tuple(items), ignored=tree.unused(used), notes=tuple(notes))


def _files(tree: Tree) -> Iterator[str]:
    """JSON files that look like labelme's; none if one file is the data."""
    if tree.file:
        return
    for name in tree.with_suffix(".json"):
        if '"shapes"' in tree.head(name, 1 << 20) and _is_labelme(tree, name):
            yield name


def _is_labelme(tree: Tree, name: str) -> bool:
    """Whether the JSON has labelme's keys; a file that is no JSON counts, so that reading it names the fault."""
    try:
        content = read_json(tree.path(name))
    except ValueError:
        return True
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


FORMAT = Format("labelme", "one JSON an image with shapes and imagePath", find, read)
