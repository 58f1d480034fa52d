"""One folder a class: {train,val}/CLASS/*.jpg, CLASS/*.jpg, and the same deeper down."""

from __future__ import annotations

import re
from collections import Counter

from xseg.data.formats.catalog import CLASSES, Catalog, Evidence, Format, Item, split_of
from xseg.data.formats.mask_files import IMAGE_WORDS, MASK_WORDS
from xseg.data.formats.tree import Tree, folders
from xseg.data.read.images import read_size_hw

_ROLE = re.compile(f"{IMAGE_WORDS}|{MASK_WORDS}|jpg|png|jpeg|raw|all", re.I)


def find(tree: Tree) -> Evidence | None:
    if tree.file:
        return None
    class_of = _classes(tree)
    names = sorted(set(class_of.values()))
    if len(names) < 2:
        return None
    return Evidence(len(class_of), f"{len(names)} folders of images, as {names[0]}/ and {names[1]}/", weak=True)


def read(tree: Tree) -> Catalog:
    class_of = _classes(tree)
    classes = tuple(sorted(set(class_of.values())))
    if len(classes) < 2:
        raise ValueError(f"{tree.root}: there must be two folders of images or more, one a class; got {len(classes)}")
    items = tuple(
        Item(
            id=name.rpartition(".")[0],
            path=tree.path(name),
            size_hw=read_size_hw(tree.path(name)),
            split=split_of(folders(name)[:-1]),
            labels=(classes.index(label),),
        )
        for name, label in class_of.items()
    )
    return Catalog("folders", tree.root, CLASSES, classes, _unique(items), ignored=tree.unused(class_of))


def _classes(tree: Tree) -> dict[str, str]:
    """Image -> class, its folder; {} where the folders are no classes, as they have roles such as "images".

    Folders of classes lie at one depth below the root or below the folders of the splits.
    """
    inside = {name: folders(name)[-1] for name in tree.images if folders(name)}
    if not inside:
        return {}
    depths = Counter(len(folders(name)) for name in inside)
    depth = depths.most_common(1)[0][0]
    inside = {name: label for name, label in inside.items() if len(folders(name)) == depth}
    if any(_ROLE.fullmatch(label) or split_of([label]) for label in inside.values()):
        return {}
    return inside


def _unique(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """The items; where a.jpg and a.png lie in one folder, ids keep their suffix."""
    counts = Counter(item.id for item in items)
    return tuple(item._replace(id=item.id + item.path.suffix) if counts[item.id] > 1 else item for item in items)


FORMAT = Format("folders", "one folder of images a class, perhaps below train/ and val/", find, read)
