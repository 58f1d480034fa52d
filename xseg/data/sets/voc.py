"""PASCAL VOC: masks, and boxes from one XML file per image."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from mmengine.registry import DATASETS

from xseg.data.read.classes import VOC_CLASSES, read_classes, voc_palette
from xseg.data.read.layout import image_paths, read_split, require_folder
from xseg.data.read.voc_xml import read_labelled
from xseg.data.sample import Path_, Transforms
from xseg.data.sets.detection import DetectionDataset, ImageFile, Objects, clip_boxes, report_dropped, spans_of, to_xywh
from xseg.data.sets.segmentation import SegmentationDataset


@DATASETS.register_module()
class VOCDetection(DetectionDataset):
    """PASCAL VOC's detection task, and any data set in its layout.

    The files count pixels from 1, and xmax, ymax is the last pixel inside: the box goes from xmin - 1, ymin - 1 to
    xmax, ymax. Samples mark `difficult` objects. The evaluation counts neither a missed nor a detected one.

    Args:
        split: name of the list `ImageSets/Main/{split}.txt`. "VOC2007/trainval" is the list in the folder VOC2007 of
            root. Several lists are joined: ("VOC2007/trainval", "VOC2012/trainval") in VOCdevkit is "07+12".
        classes: names, or the path of a classes.txt. None reads `{root}/classes.txt` without its "background"; without
            that file, the classes are VOC's 20.
        keep_difficult: keep difficult objects in samples; False for training, as in the baselines of the devkit.
        drop_invalid: leave out objects whose box has no area, lies outside the image or is not finite. By default such
            an object is an error.

    Raises:
        FileNotFoundError, ValueError: with the file and the object.
    """

    standard: ClassVar = dict(classes=VOC_CLASSES[1:], palette=voc_palette(len(VOC_CLASSES))[1:])

    @staticmethod
    def describe(
        root: Path_,
        classes: Sequence[str] | Path_ | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        **_,
    ) -> dict:
        """dict(classes, palette, category_ids); without `classes`, root must exist, because its classes.txt decides."""
        if classes is None:
            require_folder(Path(root), Path(root), _DETECTION_LAYOUT.format(split="train"), _SOURCE)
        return DetectionDataset.describe(class_names(Path(root), classes), palette)

    def __init__(
        self,
        root: Path_,
        split: str | Sequence[str] = "train",
        classes: Sequence[str] | Path_ | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        transforms: Sequence[Callable | dict] | None = None,
        keep_difficult: bool = True,
        keep_empty: bool = True,
        drop_invalid: bool = False,
    ):
        names = class_names(Path(root), classes)
        files, xml_files, rows, num_read = [], [], [], 0
        for name in [split] if isinstance(split, str) else split:
            folder, _, last = name.rpartition("/")
            for image, path in list_files(Path(root) / folder, last):
                size_hw, objects = read_labelled(path, names)
                num_read += len(objects)
                rows += [
                    (len(files), item.number, item.label, item.difficult, *item.box_xyxy)
                    for item in objects
                    if keep_difficult or not item.difficult
                ]
                files.append(ImageFile(path.stem, image, size_hw))
                xml_files.append(path)
        table = _objects(rows, files, xml_files, drop_invalid)
        self.num_left_out = num_read - len(table.labels)  # difficult or invalid ones
        super().__init__(files, table, names, palette, None, transforms, keep_empty)


_SOURCE = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ (VOCdevkit/VOC2012)"
_DETECTION_LAYOUT = "JPEGImages/, Annotations/, ImageSets/Main/{split}.txt"


def list_files(root: Path, split: str) -> list[tuple[Path, Path]]:
    """The image and the annotation file of every id in the split."""
    image_dir, xml_dir, lists = root / "JPEGImages", root / "Annotations", root / "ImageSets" / "Main"
    for folder in (root, image_dir, xml_dir, lists):
        require_folder(folder, root, _DETECTION_LAYOUT.format(split=split), _SOURCE)
    ids = read_split(lists / f"{split}.txt")
    return [(image, xml_dir / f"{id}.xml") for id, image in zip(ids, image_paths(image_dir, ids), strict=True)]


def class_names(root: Path, classes: Sequence[str] | Path_ | None) -> tuple[str, ...]:
    """The given classes, or those of {root}/classes.txt, or without that file VOC's 20.

    "background" in a file is left out.
    """
    if classes is None and not (root / "classes.txt").exists():
        return VOC_CLASSES[1:]
    if classes is None or isinstance(classes, Path_):
        return tuple(name for name in read_classes(classes or root / "classes.txt") if name != "background")
    return tuple(classes)


@DATASETS.register_module()
class VOC(SegmentationDataset):
    """PASCAL VOC, and any data set in its layout.

    Args:
        split: name of the list `ImageSets/Segmentation/{split}.txt`, e.g. "train", "val", or SBD's "train_aug".
        mask_dir: "SegmentationClass", or "SegmentationClassAug" after `convert_sbd`.
        classes: names, or the path of a classes.txt. None reads `{root}/classes.txt`; without that file, the classes
            are VOC's 21.
    """

    standard: ClassVar = dict(classes=VOC_CLASSES, palette=voc_palette(len(VOC_CLASSES)))

    @staticmethod
    def describe(
        root: Path_,
        split: str = "train",
        mask_dir: str = "SegmentationClass",
        classes: Sequence[str] | Path_ | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        **_,
    ) -> dict:
        """dict(classes, palette); without `classes`, root must exist, because its classes.txt decides."""
        root = Path(root)
        if classes is None:
            require_folder(root, root, _LAYOUT.format(split=split, mask_dir=mask_dir), _VOC_SOURCE)
            classes = root / "classes.txt" if (root / "classes.txt").exists() else VOC_CLASSES
        return SegmentationDataset.describe(classes, palette)

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
            require_folder(folder, root, _LAYOUT.format(split=split, mask_dir=mask_dir), _VOC_SOURCE)
        ids = read_split(lists / f"{split}.txt")
        images = image_paths(image_dir, ids)
        pairs = [(id, image, root / mask_dir / f"{id}.png") for id, image in zip(ids, images, strict=True)]
        described = VOC.describe(root, split, mask_dir, classes, palette)
        super().__init__(pairs, **described, transforms=transforms, cache=cache)


def _objects(rows: list[tuple], files: list[ImageFile], xml_files: list[Path], drop_invalid: bool) -> Objects:
    table = np.array(rows, np.float64).reshape(-1, 8)  # image, number, label, difficult, x1, y1, x2, y2
    image_of = table[:, 0].astype(np.int64)
    sizes_hw = np.array([image.size_hw for image in files], np.int64).reshape(-1, 2)[image_of]

    def place(row: int) -> str:
        return f"{xml_files[image_of[row]]}: object {int(table[row, 1])}"

    stated_xyxy = table[:, 4:]
    boxes_xyxy, valid = clip_boxes(stated_xyxy, sizes_hw, place, drop_invalid)
    report_dropped(valid, place)
    stated_xywh = to_xywh(stated_xyxy[valid])
    return Objects(
        spans=spans_of(image_of[valid], len(files)),
        boxes_xyxy=boxes_xyxy[valid],
        stated_xywh=stated_xywh,
        labels=table[valid, 2].astype(np.int64),
        iscrowd=np.zeros(len(stated_xywh), bool),
        area=stated_xywh[:, 2:].prod(axis=1),
        difficult=table[valid, 3].astype(bool),
    )


_LAYOUT = "JPEGImages/, {mask_dir}/, ImageSets/Segmentation/{split}.txt"
_VOC_SOURCE = (
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ (VOCdevkit/VOC2012; "
    "SegmentationClassAug by `xseg data convert sbd`)"
)
