"""CVAT's XML ("CVAT for images 1.1"): annotations.xml with all images, to be uploaded to a task of the same images.

Objects without a hole are polygons, whose parts have one group_id; those with one are masks of exactly the predicted
pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from xseg.data.read.outlines import Patch
from xseg.data.write.objects import Labels, Object, Row


def write_image(row: Row, labels: Labels, out: Path) -> ElementTree.Element:
    height, width = row.size_hw
    image = ElementTree.Element("image", dict(name=row.file, width=str(width), height=str(height)))
    for number, item in enumerate(row.objects, start=1):
        for tag, attributes in _shapes(item, number):
            common = dict(label=labels.names[item.label], source="auto", occluded="0", z_order="0")
            ElementTree.SubElement(image, tag, common | attributes)
    return image


def write_whole(entries: Sequence[ElementTree.Element], labels: Labels, out: Path) -> None:
    tree = ElementTree.Element("annotations")
    ElementTree.SubElement(tree, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(tree, "meta"), "task")
    listed = ElementTree.SubElement(task, "labels")
    for name, colour in zip(labels.names, labels.palette, strict=True):
        label = ElementTree.SubElement(listed, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "color").text = "#" + bytes(map(int, colour)).hex()
        ElementTree.SubElement(label, "type").text = "any"
    for number, image in enumerate(entries):
        image.set("id", str(number))
        tree.append(image)
    ElementTree.indent(tree)
    out.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(tree).write(out / "annotations.xml", encoding="utf-8", xml_declaration=True)


def _shapes(item: Object, number: int) -> list[tuple[str, dict[str, str]]]:
    if item.patch is None:
        keys = ("xtl", "ytl", "xbr", "ybr")
        return [("box", {key: f"{edge:.2f}" for key, edge in zip(keys, item.box_xyxy, strict=True)})]
    if item.has_holes:
        return [("mask", _mask(item.patch))]
    group = {"group_id": str(number)} if len(item.rings) > 1 else {}
    points = (";".join(f"{x:.2f},{y:.2f}" for x, y in ring.outer) for ring in item.rings)
    return [("polygon", dict(points=text) | group) for text in points]


def _mask(patch: Patch) -> dict[str, str]:
    """Runs row by row, first the number of pixels outside of the object."""
    height, width = patch.pixels.shape
    flat = patch.pixels.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    runs = [0, *runs] if flat[0] else runs
    place = dict(left=patch.left, top=patch.top, width=width, height=height)
    return dict(rle=", ".join(map(str, runs))) | {key: str(int(value)) for key, value in place.items()}
