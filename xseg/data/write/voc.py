"""PASCAL VOC's boxes: one XML an image, and classes.txt with the order of the classes.

Pixels count from 1, and xmax, ymax is the last pixel inside. Edges are rounded to whole pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from xseg.data.write.objects import Labels, Row


def write_image(row: Row, labels: Labels, out: Path) -> None:
    tree = ElementTree.Element("annotation")
    folder, _, file = row.file.rpartition("/")
    ElementTree.SubElement(tree, "folder").text = folder
    ElementTree.SubElement(tree, "filename").text = file
    height, width = row.size_hw
    _numbers(ElementTree.SubElement(tree, "size"), width=width, height=height, depth=3)
    for item in row.objects:
        node = ElementTree.SubElement(tree, "object")
        ElementTree.SubElement(node, "name").text = labels.names[item.label]
        _numbers(node, truncated=0, difficult=0)
        if item.score is not None:
            ElementTree.SubElement(node, "score").text = f"{item.score:.4f}"
        x1, y1, x2, y2 = (round(edge) for edge in item.box_xyxy)
        edges = dict(xmin=min(x1 + 1, width), ymin=min(y1 + 1, height), xmax=max(x2, x1 + 1), ymax=max(y2, y1 + 1))
        _numbers(ElementTree.SubElement(node, "bndbox"), **edges)
    ElementTree.indent(tree)
    path = out / f"{row.name}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(tree).write(path, encoding="utf-8")


def write_whole(entries: Sequence, labels: Labels, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in labels.names), encoding="utf-8")


def _numbers(node: ElementTree.Element, **values: int) -> None:
    for key, value in values.items():
        ElementTree.SubElement(node, key).text = str(value)
