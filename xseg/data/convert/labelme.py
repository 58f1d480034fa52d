"""Conversion of labelme's files, one JSON per image, to one COCO JSON."""

import os
from collections.abc import Sequence
from pathlib import Path

from xseg.data.convert.to_coco import CocoImage, Written, check_free, tracked, write_coco
from xseg.data.read.classes import read_classes
from xseg.data.read.labelme import read_labelme
from xseg.data.sample import Path_


def convert_labelme(
    folder: Path_,
    out: Path_,
    classes: Sequence[str] | Path_ | None = None,
    drop_invalid: bool = False,
    overwrite: bool = False,
) -> Written:
    """Convert all labelme files in a folder and its subfolders; file names in the result are relative to the folder.

    What becomes of the shapes: see `read_labelme`.

    Args:
        classes: names in the order of labels, or the path of a text file with one name per line; None sorts the labels
            in the files.
        drop_invalid: leave out objects without area inside the image. By default such an object is an error.

    Raises:
        FileNotFoundError, ValueError: with the file, the number of the shape (from 1) and the fault.
    """
    check_free(out, overwrite)
    folder = Path(folder)
    paths = sorted(path for path in folder.rglob("*.json") if path.resolve() != Path(out).resolve())
    if not paths:
        raise FileNotFoundError(f"{folder} has no *.json of labelme")
    images, left_out = [], 0
    for path in tracked(paths, "labelme"):
        image = read_labelme(path, drop_invalid)
        name = Path(os.path.relpath(image.path, folder)).as_posix()
        images.append(CocoImage(name, image.size_hw, image.objects))
        left_out += image.left_out
    used = sorted({item["label"] for image in images for item in image.objects})
    names = used if classes is None else read_classes(classes) if isinstance(classes, Path_) else tuple(classes)
    if unknown := set(used) - set(names):
        raise ValueError(
            f"{folder}: the classes {', '.join(names)} lack {', '.join(sorted(unknown))}; add it to classes"
        )
    for image in images:
        for item in image.objects:
            item["category_id"] = names.index(item.pop("label")) + 1
    return write_coco(out, images, names, left_out)
