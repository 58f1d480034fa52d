"""Segmentation data sets: which images and masks there are; the rest is the same for all, see `SegmentationDataset`."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from mmengine.registry import DATASETS

from xseg.data.read import classes as tables
from xseg.data.read.classes import IGNORE, voc_palette
from xseg.data.read.images import IMAGE_SUFFIXES
from xseg.data.sets.segmentation import Path_, SegmentationDataset, Transforms
from xseg.data.sets.shapes_drawing import shapes_counts, write_shapes


@DATASETS.register_module()
class VOC(SegmentationDataset):
    """PASCAL VOC, and any data set in its layout.

    Args:
        split: names `ImageSets/Segmentation/{split}.txt`, e.g. "train", "val", or SBD's "train_aug".
        mask_dir: "SegmentationClass", or "SegmentationClassAug" after `convert_sbd`.
        classes: names, or the path of a classes.txt; None is `{root}/classes.txt`, and VOC's 21 without that file.
    """

    standard: ClassVar = dict(classes=tables.VOC_CLASSES, palette=voc_palette(len(tables.VOC_CLASSES)))

    def __init__(
        self,
        root: Path_,
        split: str = "train",
        mask_dir: str = "SegmentationClass",
        classes: Sequence[str] | Path_ | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        transforms: Transforms = (),
        cache: Path_ | None = None,
    ):
        root = Path(root)
        image_dir, lists = root / "JPEGImages", root / "ImageSets" / "Segmentation"
        for folder in (root, image_dir, root / mask_dir, lists):
            require_folder(folder, root, f"JPEGImages/, {mask_dir}/, ImageSets/Segmentation/{split}.txt", _VOC_SOURCE)
        ids = read_split(lists / f"{split}.txt")
        images = image_paths(image_dir, ids)
        pairs = [(id, image, root / mask_dir / f"{id}.png") for id, image in zip(ids, images, strict=True)]
        if classes is None:
            classes = root / "classes.txt" if (root / "classes.txt").exists() else tables.VOC_CLASSES
        super().__init__(pairs, classes, palette, transforms, cache=cache)


@DATASETS.register_module()
class Cityscapes(SegmentationDataset):
    """Cityscapes' fine annotations, 19 classes, read from the labelIds files as downloaded."""

    standard: ClassVar = dict(classes=tables.CITYSCAPES_CLASSES, palette=tables.CITYSCAPES_PALETTE)

    def __init__(self, root: Path_, split: str = "train", transforms: Transforms = (), cache: Path_ | None = None):
        root = Path(root)
        image_dir, mask_dir = root / "leftImg8bit" / split, root / "gtFine" / split
        layout = f"leftImg8bit/{split}/CITY/*_leftImg8bit.png, gtFine/{split}/CITY/*_gtFine_labelIds.png"
        for folder in (root, image_dir, mask_dir):
            require_folder(folder, root, layout, _CITYSCAPES_SOURCE)
        ending = "_leftImg8bit.png"
        pairs = []
        for image in sorted(image_dir.glob(f"*/*{ending}")):
            id = image.name.removesuffix(ending)
            pairs.append((id, image, mask_dir / image.parent.name / f"{id}_gtFine_labelIds.png"))
        if not pairs:
            raise FileNotFoundError(f"{image_dir} holds no CITY/*{ending}; {_remedy(root, layout, _CITYSCAPES_SOURCE)}")
        super().__init__(
            pairs,
            tables.CITYSCAPES_CLASSES,
            tables.CITYSCAPES_PALETTE,
            transforms,
            tables.cityscapes_label_map(),
            cache,
        )


@DATASETS.register_module()
class ADE20K(SegmentationDataset):
    """ADE20K's scene parsing challenge, 150 classes behind a class 0, "other", that is ignored in masks.

    TensorFlow's weights have those 151 outputs.
    """

    def __init__(self, root: Path_, split: str = "training", transforms: Transforms = (), cache: Path_ | None = None):
        root = Path(root)
        image_dir, mask_dir, table = root / "images" / split, root / "annotations" / split, root / "objectInfo150.txt"
        layout = f"images/{split}/*.jpg, annotations/{split}/*.png, objectInfo150.txt"
        for folder in (root, image_dir, mask_dir):
            require_folder(folder, root, layout, _ADE20K_SOURCE)
        if not table.is_file():
            raise FileNotFoundError(f"{table}: no such file; {_remedy(root, layout, _ADE20K_SOURCE)}")
        rows = table.read_text(encoding="utf-8").splitlines()[1:]  # Idx, Ratio, Train, Val, Stuff, Name
        names = [row.split("\t")[-1].split(",")[0].strip() for row in rows if row.strip()]
        pairs = [(image.stem, image, mask_dir / f"{image.stem}.png") for image in sorted(image_dir.glob("*.jpg"))]
        labels = [IGNORE, *range(1, len(names) + 1), *[-1] * (255 - len(names))]
        super().__init__(pairs, ("other", *names), None, transforms, labels, cache)


@DATASETS.register_module()
class ImageMaskFolder(SegmentationDataset):
    """A folder of images and a folder of masks, paired by file name without its suffix.

    Args:
        classes: names in the order of ids, or the path of a classes.txt.
        mask_suffix: what mask names carry in addition, "_mask" for 12.jpg with 12_mask.png.
    """

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
class Shapes(VOC):
    """Drawn scenes of circles, squares, triangles and rings, written to `root` in VOC layout on first use.

    All splits share one folder, so give each the same `num_images`, `size_hw` and `seed`; other values rewrite it.

    Args:
        num_images: per split, dict(train=…, val=…).
    """

    def __init__(
        self,
        root: Path_ = "data/shapes",
        split: str = "train",
        num_images: dict[str, int] | None = None,
        size_hw: Sequence[int] = (128, 128),
        seed: int = 0,
        transforms: Transforms = (),
    ):
        write_shapes(root, **shapes_counts(num_images), size_hw=size_hw, seed=seed)
        super().__init__(root, split, classes=tables.SHAPES_CLASSES, transforms=transforms)


_VOC_SOURCE = (
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ (VOCdevkit/VOC2012; "
    "SegmentationClassAug by `xseg data convert sbd`)"
)
_ADE20K_SOURCE = "http://sceneparsing.csail.mit.edu (ADEChallengeData2016.zip)"
_CITYSCAPES_SOURCE = "https://www.cityscapes-dataset.com (leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip)"


def read_split(path: Path) -> list[str]:
    """The ids of a list, one a line: file names without suffix, which may hold blanks.

    Raises:
        FileNotFoundError, ValueError: there is no such list, or it is empty.
    """
    if not path.exists():
        there = ", ".join(sorted(other.stem for other in path.parent.glob("*.txt"))) or "none"
        raise FileNotFoundError(f"{path}: no such split; splits there: {there}")
    ids = [id for line in path.read_text(encoding="utf-8-sig").splitlines() if (id := line.strip())]
    if not ids:
        raise ValueError(f"{path} lists no image; write one id (file name without suffix) per line")
    return ids


def image_paths(folder: Path, ids: Sequence[str]) -> list[Path]:
    """The image of each id, whatever its suffix; {id}.jpg where there is none, which reading then names.

    Raises:
        ValueError: an id has two images, such as 1.jpg and 1.png.
    """
    paths: dict[str, Path] = {}
    listed = set(ids)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.stem not in listed:
            continue
        if path.stem in paths:
            raise ValueError(f"{paths[path.stem]} and {path.name} are both images of {path.stem}; keep one of them")
        paths[path.stem] = path
    return [paths.get(id, folder / f"{id}.jpg") for id in ids]


def _files_by_stem(folder: Path, suffix: str = "") -> dict[str, Path]:
    require_folder(folder, folder, "one file per image", "your own images")
    files = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith(".") or not path.stem.endswith(suffix):
            continue
        stem = path.stem.removesuffix(suffix)
        if stem in files:
            raise ValueError(f"{files[stem]} and {path} share one name; keep one of them")
        files[stem] = path
    if not files:
        raise FileNotFoundError(f"{folder} holds no file *{suffix}({'|'.join(IMAGE_SUFFIXES)})")
    return files


def require_folder(folder: Path, root: Path, layout: str, source: str) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; {_remedy(root, layout, source)}")


def _remedy(root: Path, layout: str, source: str) -> str:
    return f"expected in {root}: {layout}. Get it from {source}, or say where it is with --data-root DIR"


def _few(names: list[str]) -> str:
    if not names:
        return "none"
    return f"{len(names)} ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})"
