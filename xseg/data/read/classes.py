"""Class names, palettes and label tables of known data sets, and lists of class names in files."""

import functools
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from xseg.data.sample import Path_

IGNORE = 255  # label of pixels that neither the loss nor a metric counts

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

SHAPES_CLASSES = ("background", "circle", "square", "triangle", "ring")


class CityscapesLabel(NamedTuple):
    """One row of the official table. `train_id` 255 is ignored; the table has -1 for the licence plate."""

    name: str
    id: int
    train_id: int
    colour: tuple[int, int, int]


# Source: cityscapesscripts/helpers/labels.py
CITYSCAPES = tuple(
    CityscapesLabel(*row)
    for row in (
        ("license plate", -1, 255, (0, 0, 142)),
        ("unlabeled", 0, 255, (0, 0, 0)),
        ("ego vehicle", 1, 255, (0, 0, 0)),
        ("rectification border", 2, 255, (0, 0, 0)),
        ("out of roi", 3, 255, (0, 0, 0)),
        ("static", 4, 255, (0, 0, 0)),
        ("dynamic", 5, 255, (111, 74, 0)),
        ("ground", 6, 255, (81, 0, 81)),
        ("road", 7, 0, (128, 64, 128)),
        ("sidewalk", 8, 1, (244, 35, 232)),
        ("parking", 9, 255, (250, 170, 160)),
        ("rail track", 10, 255, (230, 150, 140)),
        ("building", 11, 2, (70, 70, 70)),
        ("wall", 12, 3, (102, 102, 156)),
        ("fence", 13, 4, (190, 153, 153)),
        ("guard rail", 14, 255, (180, 165, 180)),
        ("bridge", 15, 255, (150, 100, 100)),
        ("tunnel", 16, 255, (150, 120, 90)),
        ("pole", 17, 5, (153, 153, 153)),
        ("polegroup", 18, 255, (153, 153, 153)),
        ("traffic light", 19, 6, (250, 170, 30)),
        ("traffic sign", 20, 7, (220, 220, 0)),
        ("vegetation", 21, 8, (107, 142, 35)),
        ("terrain", 22, 9, (152, 251, 152)),
        ("sky", 23, 10, (70, 130, 180)),
        ("person", 24, 11, (220, 20, 60)),
        ("rider", 25, 12, (255, 0, 0)),
        ("car", 26, 13, (0, 0, 142)),
        ("truck", 27, 14, (0, 0, 70)),
        ("bus", 28, 15, (0, 60, 100)),
        ("caravan", 29, 255, (0, 0, 90)),
        ("trailer", 30, 255, (0, 0, 110)),
        ("train", 31, 16, (0, 80, 100)),
        ("motorcycle", 32, 17, (0, 0, 230)),
        ("bicycle", 33, 18, (119, 11, 32)),
    )
)
_TRAINED = sorted((label for label in CITYSCAPES if label.train_id != IGNORE), key=lambda label: label.train_id)
CITYSCAPES_CLASSES = tuple(label.name for label in _TRAINED)  # 19
CITYSCAPES_PALETTE = tuple(label.colour for label in _TRAINED)


def cityscapes_label_map() -> list[int]:
    """256 entries, label id -> train id; -1 for ids that are not in the table. The licence plate has 255."""
    table = [-1] * 256
    for label in CITYSCAPES:
        table[label.id % 256] = label.train_id
    return table


def voc_palette(num_classes: int) -> list[tuple[int, int, int]]:
    """VOC's RGB colours. Bits 0, 1, 2 of the index are the highest bits of red, green, blue; bits 3, 4, 5 the next."""
    return [_voc_colour(index) for index in range(num_classes)]


@functools.cache  # every written mask asks for 256 of them
def _voc_colour(index: int) -> tuple[int, int, int]:
    return tuple(sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3))


def read_classes(path: Path_) -> tuple[str, ...]:
    """Class names from a text file with one name per line in the order of ids; see `read_names` for comments.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file has no name, the same name twice, or more than 255 names.
    """
    return check_classes(read_names(path), path)


def read_names(path: Path_) -> list[str]:
    """The lines of a text file without blank lines and comments.

    A comment begins with a # at the start of a line or after a space. The class C# keeps its name.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file; write one class name per line, in the order of ids") from error
    names = [name for line in lines if (name := re.sub(r"(^|\s)#.*", "", line).strip())]
    if not names:
        raise ValueError(f"{path} has no class name; write one class name per line, in the order of ids")
    return names


def check_classes(names: Sequence[str], place: object) -> tuple[str, ...]:
    """The names as a tuple; ValueError for equal names, and for more than 255, which do not fit into 8-bit masks."""
    if len(names) > IGNORE:
        raise ValueError(f"{place}: at most 255 classes fit into 8-bit masks (255 is ignore), got {len(names)}")
    return distinct_names(names, place)


def distinct_names(names: Sequence[str], place: object) -> tuple[str, ...]:
    """The names as a tuple; ValueError with the `place` if there is no name or a name occurs twice."""
    if not names:
        raise ValueError(f"{place} must name at least one class")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{place}: class names must differ, {few(sorted(twice))} occurs more than once")
    return tuple(names)


def few(names: Sequence[str]) -> str:
    """The first five names as text, with the number of names if there are more."""
    return ", ".join(names[:5]) + (f", … ({len(names)} in all)" if len(names) > 5 else "")


def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 classes of ImageNet (ILSVRC 2012) from timm's table, in the order of Keras, timm and torchvision."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return tuple(info.index_to_description(index).split(",")[0] for index in range(info.num_classes()))
