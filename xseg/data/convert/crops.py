"""Conversion of a VOC detection set to a classification set: every box becomes an image."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2

from xseg.data.read.classes import read_classes
from xseg.data.read.images import read_image
from xseg.data.read.layout import image_paths, read_split
from xseg.data.read.voc_xml import VocObject, read_voc_xml
from xseg.data.sample import Path_
from xseg.data.transforms.labels import cut_square

SPLITS = ("train", "val")
_LAYOUT = "JPEGImages/, Annotations/*.xml, ImageSets/Main/{train,val}.txt"


def convert_crops(voc_root: Path_, out: Path_, margin: float = 0.1) -> dict[str, dict]:
    """Write every box of a detection set in VOC layout as OUT/{train,val}/CLASS/<image>_<number>.png, and classes.txt.

    Boxes without area are left out and counted as "empty". Classes are those of `{voc_root}/classes.txt`; without that
    file, they are the sorted names in the annotations.

    Args:
        margin: share of the longer edge of a box that is added on each side.

    Returns dict(train=dict(class name -> number of crops, …), val=…).

    Raises:
        FileExistsError: `out` is a file or a folder that is not empty.
        FileNotFoundError, ValueError: a list, an image or an annotation is missing or broken; the message names it.
    """
    voc, out = Path(voc_root), Path(out)
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists and is not empty; choose another folder or remove it")
    if margin < 0:
        raise ValueError(f"margin must be 0 or more, got {margin}")
    objects_of = {split: _objects_of(voc, split) for split in SPLITS}
    names = sorted({item.name for images in objects_of.values() for objects in images.values() for item in objects})
    if (voc / "classes.txt").exists():
        listed = read_classes(voc / "classes.txt")
        if unknown := set(names) - set(listed):
            raise ValueError(
                f"{voc / 'classes.txt'} lacks {', '.join(sorted(unknown))}, which annotations have; add it"
            )
        names = listed
    for folder in (out / split / name for split in SPLITS for name in names):
        folder.mkdir(parents=True)
    counts = {}
    for split, images in objects_of.items():
        counts[split] = Counter(dict.fromkeys(names, 0))
        for path, objects in images.items():
            counts[split] += _cut_image(path, objects, out / split, margin)
    (out / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")  # last: it exists only if all crops do
    return {split: dict(of_split) for split, of_split in counts.items()}


def _cut_image(path: Path, objects: Sequence[VocObject], out: Path, margin: float) -> Counter:
    image, counts = read_image(path), Counter()
    for number, (name, (x1, y1, x2, y2), _) in enumerate(objects):
        if x2 <= x1 or y2 <= y1:
            counts["empty"] += 1
            continue
        crop = cut_square(image, (x1, y1, x2, y2), margin).permute(1, 2, 0).numpy()
        _, png = cv2.imencode(".png", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        (out / name / f"{path.stem}_{number:03d}.png").write_bytes(png.tobytes())
        counts[name] += 1
    return counts


def _objects_of(voc: Path, split: str) -> dict[Path, list[VocObject]]:
    """The objects of every image in the list of the split."""
    path = voc / "ImageSets" / "Main" / f"{split}.txt"
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such list; a detection set in VOC layout has {_LAYOUT}")
    ids = list(dict.fromkeys(read_split(path)))
    images = image_paths(voc / "JPEGImages", ids)
    return {
        image: read_voc_xml(voc / "Annotations" / f"{id}.xml").objects for id, image in zip(ids, images, strict=True)
    }
