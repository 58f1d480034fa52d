"""Conversion of detection sets to one COCO JSON, which `CocoDetection` and most other programs read.

File names in the JSON are relative to the root of the set. Read it with images="." and that root.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from xseg.data.read.rle import encode_region
from xseg.data.sample import Path_
from xseg.data.sets.cityscapes import CityscapesInstances
from xseg.data.sets.voc import VOCDetection

DIFFICULT = ("ignore", "keep", "drop")


class CocoImage(NamedTuple):
    """One image of a file to be written."""

    file_name: str
    size_hw: tuple[int, int]
    objects: list[dict]  # COCO annotations without ids: category_id (from 1), bbox (x, y, width, height), area, …


class Written(NamedTuple):
    """Numbers of a conversion."""

    images: int
    objects: int
    crowds: int  # among the objects
    left_out: int  # objects of the source that are not in the file


def convert_voc(
    root: Path_,
    out: Path_,
    split: str | Sequence[str] = "train",
    classes: Sequence[str] | Path_ | None = None,
    difficult: str = "ignore",
    drop_invalid: bool = False,
    overwrite: bool = False,
) -> Written:
    """Convert a split of VOC's detection layout; see `VOCDetection` for root, split, classes and drop_invalid.

    Args:
        difficult: "ignore" writes difficult objects with iscrowd 1 and ignore 1, so that training ignores them and the
            evaluation counts neither a missed nor a detected one. "keep" writes them like other objects. "drop" leaves
            them out.
    """
    if difficult not in DIFFICULT:
        raise ValueError(f"difficult must be {', '.join(DIFFICULT[:-1])} or {DIFFICULT[-1]}, got {difficult}")
    check_free(out, overwrite)
    dataset = VOCDetection(root, split, classes, drop_invalid=drop_invalid)
    images = []
    for index, image in enumerate(dataset.images):
        entries = dataset.objects_of(index)
        is_difficult = entries.pop("difficult")
        if difficult == "drop":
            entries = {key: values[~is_difficult] for key, values in entries.items()}
        elif difficult == "ignore":
            entries["iscrowd"] = is_difficult
        objects = coco_objects(entries)
        for item in objects:
            if item["iscrowd"]:
                item["ignore"] = 1
        images.append(CocoImage(_relative(image.path, root), image.size_hw, objects))
    left_out = dataset.num_left_out + len(dataset.objects.labels) - sum(len(image.objects) for image in images)
    return write_coco(out, images, dataset.classes, left_out)


def convert_cityscapes(root: Path_, out: Path_, split: str = "train", overwrite: bool = False) -> Written:
    """Convert a split of Cityscapes: the 8 classes with instances, masks as run lengths, groups as crowds."""
    check_free(out, overwrite)
    dataset = CityscapesInstances(root, split, with_masks=True)
    images = (
        CocoImage(_relative(image.path, root), image.size_hw, coco_objects(dataset.objects_of(index)))
        for index, image in enumerate(tracked(dataset.images, "Cityscapes"))
    )
    return write_coco(out, images, dataset.classes)


def coco_objects(entries: dict[str, Tensor]) -> list[dict]:
    """The entries that `objects_of` gives, as annotations of a `CocoImage`."""
    boxes = entries["boxes_xyxy"].double()
    boxes[:, 2:] -= boxes[:, :2]
    columns = (entries.get("stated_xywh", boxes), entries["labels"] + 1, entries["area"], entries["iscrowd"].long())
    names = ("bbox", "category_id", "area", "iscrowd")
    rows = [dict(zip(names, row, strict=True)) for row in zip(*(column.tolist() for column in columns), strict=True)]
    if "masks" in entries:
        corners = entries["boxes_xyxy"].long().tolist()  # tight around the masks
        for row, mask, (x1, y1, x2, y2) in zip(rows, entries["masks"].numpy(), corners, strict=True):
            row["segmentation"] = encode_region(mask[y1:y2, x1:x2].astype(bool), y1, x1, mask.shape)
    return rows


def write_coco(out: Path_, images: Iterable[CocoImage], classes: Sequence[str], left_out: int = 0) -> Written:
    """Write the file with ids from 1. It is complete as soon as it exists."""
    content = dict(images=[], annotations=[], categories=[dict(id=i, name=n) for i, n in enumerate(classes, start=1)])
    for image_id, (file_name, (height, width), objects) in enumerate(images, start=1):
        content["images"].append(dict(id=image_id, file_name=file_name, height=height, width=width))
        for item in objects:
            content["annotations"].append(dict(id=len(content["annotations"]) + 1, image_id=image_id, **item))
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{out.name}-", dir=out.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file)
        os.chmod(partial, 0o644)
        os.replace(partial, out)
    except BaseException:
        os.unlink(partial)
        raise
    crowds = sum(item["iscrowd"] for item in content["annotations"])
    return Written(len(content["images"]), len(content["annotations"]), crowds, left_out)


def check_free(out: Path_, overwrite: bool) -> None:
    """FileExistsError if `out` exists and `overwrite` is not set."""
    if Path(out).is_dir():
        raise FileExistsError(f"{out} is a folder; name the JSON file to write")
    if Path(out).exists() and not overwrite:
        raise FileExistsError(f"{out} exists; choose another name, or replace it with --overwrite")


def tracked(items: Sequence, title: str) -> Iterable:
    """The items, with a progress bar on stderr that disappears at the end."""
    from rich.console import Console
    from rich.progress import track

    return track(items, title, console=Console(stderr=True), transient=True)


def _relative(path: Path, root: Path_) -> str:
    return Path(os.path.relpath(path, root)).as_posix()
