"""Annotation files of PASCAL VOC's detection layout: the size of the image and its objects.

The files count pixels from 1, and xmax, ymax is the last pixel inside: the box of a whole image of 30 x 20 pixels
(width x height) is 1, 1, 30, 20. This reader is our own because it was measured better than a library.
"""

from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from xseg.data.read.faults import Report, refuse
from xseg.data.read.xml_file import finite_number, number_of, read_xml
from xseg.data.sample import Path_

EDGES = ("xmin", "ymin", "xmax", "ymax")


class VocObject(NamedTuple):
    """One object of an annotation file."""

    name: str
    box_xyxy: tuple[float, float, float, float]  # pixels from 0; x2, y2 is the edge after the last pixel
    difficult: bool = False


class VocAnnotation(NamedTuple):
    """Content of one annotation file. Objects are in the order of the file; messages number them from 1."""

    size_hw: tuple[int, int] | None  # as stated, which some tools do as 0, 0; None if the file has no size
    objects: list[VocObject]
    file_name: str | None = None  # of the image, often that of an earlier copy


def read_voc_xml(path: Path_) -> VocAnnotation:
    """Read one file.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is not XML or has a DOCTYPE, or an object has no name or a wrong number.
    """
    tree = read_xml(path, "add it, or remove its id from the split")
    objects = []
    for number, node in enumerate(tree.findall("object"), start=1):
        name = (node.findtext("name") or "").strip()
        place = f"{path}: object {number} ({name})"
        if not name:
            raise ValueError(f"{path}: object {number} has no name; add the name of its class")
        xmin, ymin, xmax, ymax = (
            number_of(node.findtext(f"bndbox/{edge}"), f"{place}: bndbox/{edge}") for edge in EDGES
        )
        difficult = number_of(node.findtext("difficult") or "0", f"{place}: difficult") != 0
        objects.append(VocObject(name, (xmin - 1, ymin - 1, xmax, ymax), difficult))
    return VocAnnotation(_size_hw(tree, path), objects, (tree.findtext("filename") or "").strip() or None)


class LabelledObject(NamedTuple):
    """One object whose class is known."""

    number: int  # in the file, from 1
    label: int
    box_xyxy: tuple[float, float, float, float]  # as in `VocObject`
    difficult: bool


def read_labelled(
    path: Path_, names: Sequence[str], report: Report = refuse
) -> tuple[tuple[int, int] | None, list[LabelledObject]]:
    """(height, width) and the objects of one file; the label of a class is its position in `names`.

    A missing size and objects of other classes are faults: see `xseg.data.read.faults`.

    Raises:
        FileNotFoundError, ValueError: as `read_voc_xml`.
    """
    size_hw, objects, _ = read_voc_xml(path)
    if size_hw is not None and min(size_hw) <= 0:
        raise ValueError(f"{path}: the size is {size_hw[1]}x{size_hw[0]}; add the width and height of the image")
    if size_hw is None:
        report("incomplete image", ValueError(f"{path} states no size; add the width and height of the image"))
    labelled = []
    for number, (name, box_xyxy, difficult) in enumerate(objects, start=1):
        if name in names:
            labelled.append(LabelledObject(number, names.index(name), box_xyxy, difficult))
        else:
            known = f"no such class; the classes are {', '.join(names)}. List all classes in classes.txt"
            report("unknown class", ValueError(f"{path}: object {number} ({name}): {known}"))
    return size_hw, labelled


def _size_hw(tree: ElementTree.Element, path: Path_) -> tuple[int, int] | None:
    if tree.find("size") is None:
        return None
    height, width = (finite_number(tree.findtext(f"size/{key}"), f"{path}: size/{key}") for key in ("height", "width"))
    return int(height), int(width)
