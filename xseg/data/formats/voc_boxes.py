"""PASCAL VOC's boxes: one XML per image, beside the image or in a folder such as Annotations/.

The files count pixels from 1, and xmax, ymax is the last pixel inside; see `xseg.data.read.voc_xml`. Roboflow, labelImg
and CVAT write them too. Splits come from lists (ImageSets/Main/train.txt), otherwise from names of folders.
"""

import re

from xseg.data.formats.catalog import BOXES, Catalog, Evidence, Format, Item, Region, class_files, class_order, split_of
from xseg.data.formats.images import Images, background_note, item_ids, pair
from xseg.data.formats.regions import box_region, no_area_note
from xseg.data.formats.tree import Tree, folders, stem
from xseg.data.formats.voc_lists import VocLists
from xseg.data.read.voc_xml import VocAnnotation, read_voc_xml


def find(tree: Tree) -> Evidence | None:
    if tree.file:
        return None
    names = _files(tree)
    if not names:
        return None
    return Evidence(len(names), f"{len(names)} VOC files with boxes, one an image, first {names[0]}")


def read(tree: Tree) -> Catalog:
    xml_files, images, lists = _files(tree), Images(tree), VocLists(tree)
    if not xml_files:
        raise ValueError(f"{tree.root} has no XML file with VOC's <annotation>; name another format")
    annotations = {name: read_voc_xml(tree.path(name)) for name in xml_files}

    def image_of_xml(name: str) -> str | None:  # the name in the XML is often that of an earlier copy
        return images.find_stem(stem(name), name) or images.find(annotations[name].file_name or "", name)

    image_of, notes = pair(images, xml_files, image_of_xml)
    names = {item.name for annotation in annotations.values() for item in annotation.objects}
    classes = tuple(name for name in class_order(tree, names) if name != "background" or name in names)
    rows, no_area = [], 0  # (image, size_hw, regions)
    for name, image in image_of.items():
        size_hw = images.size_hw(image, annotations[name].size_hw, tree.path(name))
        regions = _regions(annotations[name], classes, size_hw, str(tree.path(name)))
        no_area += len(annotations[name].objects) - len(regions)
        rows.append((image, size_hw, regions))
    background = images.unlabelled()
    rows += [(image, images.size_hw(image, None, image), ()) for image in background]
    items = [
        Item(id, tree.path(image), size_hw, lists.split_of(image) or split_of(folders(image)), regions=regions)
        for id, (image, size_hw, regions) in zip(item_ids([row[0] for row in rows]), rows, strict=True)
    ]
    items, list_notes = lists.kept(items)
    kept = set(tree.names_of(item.path for item in items))
    notes += list_notes + background_note(len(kept & set(background))) + no_area_note(no_area) + images.notes()
    ignored = tree.unused([*xml_files, *lists.used, *class_files(tree), *kept])
    return Catalog("voc-boxes", tree.root, BOXES, classes, tuple(items), ignored=ignored, notes=tuple(notes))


def _regions(
    annotation: VocAnnotation, classes: tuple[str, ...], size_hw: tuple[int, int], file: str
) -> tuple[Region, ...]:
    regions = (
        box_region(
            classes.index(item.name), item.box_xyxy, size_hw, f"{file}: object {number} ({item.name})", item.difficult
        )
        for number, item in enumerate(annotation.objects, start=1)
    )
    return tuple(region for region in regions if region is not None)


def _files(tree: Tree) -> list[str]:
    """XML files with VOC's root element. The old LabelMe's files have the same one, but polygons in place of boxes."""
    return [name for name in tree.with_suffix(".xml") if _is_voc(tree.head(name))]


def _is_voc(head: str) -> bool:
    return bool(re.search(r"<annotation[\s/>]", head)) and ("<polygon" not in head or "<bndbox" in head)


FORMAT = Format("voc-boxes", "one XML an image with <annotation> and <bndbox>", find, read)
