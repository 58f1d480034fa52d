"""Data sets in folders: images and masks, or one folder per class."""

import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.registry import DATASETS

from xseg.data.read.classes import few
from xseg.data.read.images import IMAGE_SUFFIXES
from xseg.data.read.layout import require_folder
from xseg.data.sample import Path_, Transforms
from xseg.data.sets.classification import ClassificationDataset, Labelled, listed_classes
from xseg.data.sets.segmentation import SegmentationDataset


@DATASETS.register_module()
class ImageMaskFolder(SegmentationDataset):
    """A folder of images and a folder of masks, paired by file name without suffix.

    Args:
        classes: names in the order of ids, or the path of a classes.txt.
        mask_suffix: additional ending of mask names: "_mask" for 12.jpg with 12_mask.png.
    """

    describe = staticmethod(SegmentationDataset.describe)

    def __init__(
        self,
        images: Path_,
        masks: Path_,
        classes: Sequence[str] | Path_,
        transforms: Transforms = (),
        palette: Sequence[Sequence[int]] | None = None,
        mask_suffix: str = "",
        cache: Path_ | None = None,
    ):
        image_of, mask_of = _files_by_stem(Path(images)), _files_by_stem(Path(masks), mask_suffix)
        lone_images, lone_masks = sorted(image_of.keys() - mask_of.keys()), sorted(mask_of.keys() - image_of.keys())
        if lone_images or lone_masks:
            raise ValueError(
                f"{images} and {masks} do not pair by name: {_few(lone_images)} without a mask, {_few(lone_masks)} "
                f"without an image; rename or move these{'' if mask_suffix else ', or set mask_suffix'}"
            )
        pairs = [(stem, image_of[stem], mask_of[stem]) for stem in sorted(image_of)]
        super().__init__(pairs, classes, palette, transforms, cache=cache)


@DATASETS.register_module()
class ImageFolder(ClassificationDataset):
    """ImageNet's layout, {root}/{split}/CLASS/*.jpg, and any other image format.

    Args:
        split: a folder in root; "" if root itself holds the folders of the classes.
        classes: names of the folders in the order of labels, or the path of a text file with one name per line. None
            reads `{root}/classes.txt`; without that file, the classes are the sorted folders of `{root}/train`, or of
            the split.
    """

    @staticmethod
    def describe(root: Path_, split: str = "train", classes: Sequence[str] | Path_ | None = None, **_) -> dict:
        """dict(classes); folders are listed if neither `classes` nor a classes.txt gives the names."""
        root, folder = Path(root), Path(root) / split

        def labels() -> list[str]:
            _require_split(root, split)
            return _subfolders(root / "train" if split and (root / "train").is_dir() else folder)

        return dict(classes=listed_classes(root, classes, folder, labels))

    def __init__(
        self,
        root: Path_,
        split: str = "train",
        classes: Sequence[str] | Path_ | None = None,
        transforms: Transforms = None,
    ):
        folder = Path(root) / split
        _require_split(Path(root), split)
        names = ImageFolder.describe(root, split, classes)["classes"]
        if unknown := set(_subfolders(folder)) - set(names):
            raise ValueError(
                f"{folder}: no class has the name of the folder {few(sorted(unknown))} (classes: {few(names)}); "
                "add it to classes.txt or remove the folder"
            )
        images = [
            Labelled(f"{name}/{Path(file).stem}", f"{folder}/{name}/{file}", label)
            for label, name in enumerate(names)
            for file in _files(folder / name)
        ]
        if not images:
            raise FileNotFoundError(f"{folder} holds no image CLASS/*({'|'.join(IMAGE_SUFFIXES)})")
        super().__init__(images, names, transforms)


def _require_split(root: Path, split: str) -> None:
    if not (root / split).is_dir():
        raise FileNotFoundError(
            f"{root / split}: no such folder; expected there: CLASS/*.jpg, one folder a class, in {root}/train and "
            f"{root}/val. Say where it is with --data-root DIR"
        )


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _files(folder: Path) -> list[str]:
    """Names of the images in a folder; none if there is no folder, because a split may lack a class."""
    if not folder.is_dir():
        return []
    names = (name for name in os.listdir(folder) if not name.startswith("."))
    return sorted(name for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES)


def _files_by_stem(folder: Path, suffix: str = "") -> dict[str, Path]:
    require_folder(folder, folder, "one file per image", "your own images")
    files = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith(".") or not path.stem.endswith(suffix):
            continue
        stem = path.stem.removesuffix(suffix)
        if stem in files:
            raise ValueError(f"{files[stem]} and {path} have the same name; keep one of them")
        files[stem] = path
    if not files:
        raise FileNotFoundError(f"{folder} holds no file *{suffix}({'|'.join(IMAGE_SUFFIXES)})")
    return files


def _few(names: list[str]) -> str:
    if not names:
        return "none"
    return f"{len(names)} ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})"
