"""CVAT's XML: all images of a task or project in one annotations.xml, beside a folder images/."""

import re
from collections.abc import Iterable

from xseg.data.formats.catalog import Catalog, Evidence, Format, Item, class_files, class_order, split_of
from xseg.data.formats.images import Images, item_ids, without_image
from xseg.data.formats.regions import no_area_note
from xseg.data.formats.shapes import of_one_kind, of_tags, palette_of, regions_of
from xseg.data.formats.tree import Tree, folders
from xseg.data.read.cvat import CvatFile, CvatImage, read_cvat, shapes_of

_AREA_KINDS = ("any", "rectangle", "polygon", "mask", "ellipse")


def find(tree: Tree) -> Evidence | None:
    names = _files(tree)
    if not names:
        return None
    images = sum(tree.path(name).read_bytes().count(b"<image ") for name in names)
    return Evidence(max(images, 1), f"CVAT's {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else ""))


def read(tree: Tree) -> Catalog:
    names, images = _files(tree), Images(tree)
    if not names:
        raise ValueError(f"{tree.root} has no XML file with CVAT's <annotations>; name another format")
    files = {name: read_cvat(tree.path(name)) for name in names}
    located, missing = _located(images, files)
    total = len(located) + len(missing)
    if not total:
        raise ValueError(f"{tree.path(names[0])} lists no image; export it again with images")
    notes = without_image(missing, total, tree, "images")
    shapes_there = any(image.shape_labels for image in located.values())
    classes, palette = _classes(tree, files, located.values(), shapes_there)
    items, no_area, left_out = [], 0, 0
    for id, (name, image) in zip(item_ids(list(located)), located.items(), strict=True):
        size_hw = images.size_hw(name, image.size_hw, image.place)
        split = split_of([image.subset or ""]) or split_of(folders(name))
        regions, count = regions_of(shapes_of(image), classes, size_hw) if shapes_there else (None, 0)
        labels = None if shapes_there else tuple(sorted(map(classes.index, image.tags)))
        items.append(Item(id, tree.path(name), size_hw, split, regions=regions, labels=labels))
        no_area, left_out = no_area + count, left_out + image.left_out
    kind, items, kind_notes = (of_one_kind if shapes_there else of_tags)(items)
    if not any(item.regions or item.labels for item in items):
        raise ValueError(f"{tree.path(names[0])} has no box, polygon, mask or tag; annotate it and export it again")
    notes += kind_notes + no_area_note(no_area) + images.notes()
    notes += [f"{left_out} polylines, points, cuboids and skeletons are left out"] if left_out else []
    used = [*names, *class_files(tree), *tree.names_of(item.path for item in items)]
    return Catalog(
        "cvat", tree.root, kind, classes, tuple(items), palette, ignored=tree.unused(used), notes=tuple(notes)
    )


def _located(images: Images, files: dict[str, CvatFile]):
    """{image: its entry in a file}, and (XML file, stated image) of those that are missing.

    Raises:
        ValueError: an image is listed twice.
    """
    located: dict[str, CvatImage] = {}
    missing = []
    for file, content in files.items():
        for image in content.images:
            name = images.find(f"{image.subset}/{image.name}" if image.subset else image.name, file)
            if name is None:
                missing.append((file, image.name))
            elif name in located:
                raise ValueError(f"{image.place} is listed before, as {located[name].place}; remove one of them")
            else:
                located[name] = image
    return located, missing


def _classes(tree: Tree, files: dict[str, CvatFile], images: Iterable[CvatImage], shapes_there: bool):
    """Names and palette in the order of the labels of the files; labels that the shapes cannot have are left out."""
    used = {label for image in images for label in (image.shape_labels if shapes_there else image.tags)}
    kinds = _AREA_KINDS if shapes_there else ("any", "tag")
    labels = {label.name: label for content in files.values() for label in content.labels}
    names = tuple(name for name in labels if name in used or (labels[name].kind in kinds and name != "background"))
    if not used <= labels.keys() or class_files(tree):
        return class_order(tree, used | set(names)), None
    return names, palette_of(labels[name].colour for name in names)


def _files(tree: Tree) -> list[str]:
    return [name for name in tree.with_suffix(".xml") if _is_cvat(tree.head(name, 1 << 16))]


def _is_cvat(head: str) -> bool:
    return bool(re.search(r"<annotations[\s>]", head)) and ("<meta" in head or "<image " in head)


FORMAT = Format("cvat", "CVAT for images 1.1: annotations.xml with <image name=…>", find, read)
