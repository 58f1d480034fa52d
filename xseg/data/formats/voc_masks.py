"""VOC's layout of masks: JPEGImages/, SegmentationClass/, ImageSets/Segmentation/*.txt, at any depth.

CVAT's export "Segmentation mask 1.1" has the same folders, colours in place of numbers, and labelmap.txt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from xseg.data.formats import mask_files
from xseg.data.formats.catalog import Catalog, Evidence, Format, split_of
from xseg.data.formats.tree import Tree, folders, stem
from xseg.data.read.classes import VOC_CLASSES
from xseg.data.read.layout import read_split

FOLDER = "SegmentationClass"


def find(tree: Tree) -> Evidence | None:
    if tree.file:
        return None
    masks = [name for name in tree.images if FOLDER in folders(name)]
    if not masks:
        return None
    return Evidence(len(masks), f"{len(masks)} masks in {masks[0].rpartition('/')[0]}")


def read(tree: Tree) -> Catalog:
    catalog = mask_files.read(tree)
    split_by_id, lists = _splits(tree)
    items = tuple(item._replace(split=split_by_id.get(stem(item.id + "."), item.split)) for item in catalog.items)
    ignored = {key: count for key, count in catalog.ignored.items() if not (key == ".txt" and count <= len(lists))}
    classes, notes = catalog.classes, catalog.notes
    if catalog.values is None and classes[0] == "class 0" and len(classes) <= len(VOC_CLASSES):
        classes, notes = VOC_CLASSES, (*notes[:-1], "no list of classes: named as VOC's 21")
    if lists:
        unlisted = sum(item.split is None for item in items)
        if unlisted:
            items = tuple(item for item in items if item.split)
            notes = (*notes, f"{unlisted} images that no list names are left out")
    return replace(catalog, format="voc-masks", items=items, ignored=ignored, classes=classes, notes=notes)


def _splits(tree: Tree) -> tuple[Mapping[str, str], list[str]]:
    """Split of each id by the lists, and the lists. A list trainval adds what train and val do not name."""
    lists = [n for n in tree.with_suffix(".txt") if folders(n)[-2:] == ("ImageSets", "Segmentation")]
    lists = lists or [n for n in tree.with_suffix(".txt") if "ImageSets" in folders(n) and split_of([stem(n)])]
    split_by_id: dict[str, str] = {}
    for name in lists:
        if split := split_of([stem(name)]):
            for id in read_split(tree.path(name)):
                split_by_id[id.split()[0].rpartition("/")[2].removesuffix(".jpg")] = split
    return split_by_id, lists


FORMAT = Format("voc-masks", "VOC's JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/", find, read)
