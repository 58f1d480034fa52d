"""COCO's JSON, in COCO's 2017 layout or any other: objects, and panoptic annotations."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from mmengine.registry import DATASETS
from torch import Tensor

from xseg.data.read.classes import check_classes, voc_palette
from xseg.data.read.coco import (
    annotations_of,
    areas_of,
    boxes_of,
    categories_of,
    images_of,
    path_of,
    place_of,
    read_categories,
    read_coco,
)
from xseg.data.read.images import read_segment_ids
from xseg.data.read.layout import require_folder
from xseg.data.read.rle import run_lengths
from xseg.data.sample import Path_
from xseg.data.sets.detection import DetectionDataset, ImageFile, Objects, clip_boxes, report_dropped, spans_of, to_xyxy
from xseg.data.sets.panoptic import objects_in_segments


@DATASETS.register_module()
class CocoDetection(DetectionDataset):
    """COCO, and any data set with a JSON of its form.

    The label of a category is its position by ascending id; `category_ids` in `metainfo` maps it back. Samples have
    boxes that are clipped to the image, while the evaluation uses them as they are in the file. `meta.id` is the id of
    the image in the file.

    Args:
        images: folder of the images; file names in the JSON are relative to it.
        annotations: the JSON file.
        root: folder of `images` and `annotations`; `--data-root` replaces it.
        outside_root: allow images whose file names lead out of `root` and `images`.
        classes: names of the categories to keep, in the order of labels; objects of others are left out.
        with_masks: add instance masks, from polygons or run lengths.
        drop_invalid: leave out objects whose box has no area, lies outside the image or is not finite (COCO's train
            2017 has two), or whose mask cannot be read. By default such an object is an error.

    Raises:
        FileNotFoundError, ValueError: with the file and the id of the annotation.
    """

    @staticmethod
    def describe(
        images: Path_,
        annotations: Path_,
        root: Path_ = ".",
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        **_,
    ) -> dict:
        """dict(classes, palette, category_ids); only the categories of the JSON are read."""
        root = Path(root)
        require_folder(root, root, f"{images}/, {annotations}", _COCO_SOURCE)
        file = root / annotations
        names, category_ids = categories_of(read_categories(file), file, classes)
        return DetectionDataset.describe(names, palette, category_ids)

    def __init__(
        self,
        images: Path_,
        annotations: Path_,
        root: Path_ = ".",
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        transforms: Sequence[Callable | dict] | None = None,
        with_masks: bool = False,
        keep_empty: bool = True,
        drop_invalid: bool = False,
        outside_root: bool = False,
    ):
        root = Path(root)
        folder, file = root / images, root / annotations
        require_folder(folder, root, f"{images}/, {annotations}", _COCO_SOURCE)
        content = read_coco(file)
        names, category_ids = categories_of(content, file, classes)
        files = [ImageFile(*image) for image in images_of(content, file, folder, None if outside_root else root)]
        label_of = {id: label for label, id in enumerate(category_ids)}
        objects = _objects(content, file, files, label_of, with_masks, drop_invalid)
        super().__init__(files, objects, names, palette, category_ids, transforms, keep_empty)


@DATASETS.register_module()
class CocoPanoptic(DetectionDataset):
    """COCO's panoptic annotations: a JSON, and a PNG per image whose pixels are ids (R + 256 G + 256^2 B, 0 = void).

    Samples are those of `PanopticDataset`. Classes are the categories by ascending id; things are those with `isthing`.

    Args:
        images: folder of the images; file names in the JSON are relative to it.
        segments: folder of the PNGs.
        annotations: the JSON file.
        root: folder of all three; `--data-root` replaces it.
        outside_root: allow files whose names lead out of `root` and their folders.

    Raises:
        FileNotFoundError, ValueError: with the file and the id of the segment.
    """

    @staticmethod
    def describe(images: Path_, segments: Path_, annotations: Path_, root: Path_ = ".", **_) -> dict:
        """dict(classes, palette, things, category_ids); only the categories of the JSON are read."""
        root = Path(root)
        require_folder(root, root, f"{images}/, {segments}/, {annotations}", _PANOPTIC_SOURCE)
        return _panoptic_metainfo(read_categories(root / annotations), root / annotations)

    def __init__(
        self,
        images: Path_,
        segments: Path_,
        annotations: Path_,
        root: Path_ = ".",
        transforms: Sequence[Callable | dict] | None = None,
        outside_root: bool = False,
    ):
        root = Path(root)
        base = None if outside_root else root
        self.file = root / annotations
        for folder in (root / images, root / segments):
            require_folder(folder, root, f"{images}/, {segments}/, {annotations}", _PANOPTIC_SOURCE)
        content = read_coco(self.file)
        self._metainfo = _panoptic_metainfo(content, self.file)
        self.things = self._metainfo["things"]
        self.class_of = {id: index for index, id in enumerate(categories_of(content, self.file)[1])}
        rows = {row["id"]: row for row in content["images"]}
        self.annotations, self.segment_files, files = content["annotations"], [], []
        for row in self.annotations:
            if (image := rows.get(row["image_id"])) is None:
                raise ValueError(f"{self.file}: an annotation has image_id {row['image_id']}, which is not in the file")
            place = f"{self.file}: image {image['id']}"
            path = path_of(image.get("file_name"), root / images, base, place)
            files.append(ImageFile(image["id"], path, (image["height"], image["width"])))
            self.segment_files.append(path_of(row.get("file_name"), root / segments, base, f"{place}, its segments"))
        names, palette = ([self._metainfo[key][index] for index in self.things] for key in ("classes", "palette"))
        super().__init__(files, None, names, palette, self._metainfo["category_ids"], transforms)

    @property
    def metainfo(self) -> dict:
        return dict(self._metainfo)

    def labels_of(self, index: int) -> np.ndarray:
        kinds = [self.class_of[row["category_id"]] for row in self.annotations[index]["segments_info"]]
        return np.array([self.things.index(kind) for kind in kinds if kind in self.things], np.int64)

    def objects_of(self, index: int) -> dict[str, Tensor]:
        path, rows = self.segment_files[index], self.annotations[index]["segments_info"]
        ids = read_segment_ids(path)
        if tuple(ids.shape) != tuple(self.images[index].size_hw):
            raise ValueError(f"{path} is {tuple(ids.shape)} (H, W), but its image {self.images[index].size_hw}")
        for row in rows:
            if row["category_id"] not in self.class_of:
                place = f"{self.file}: segment {row['id']} of {path}"
                raise ValueError(f"{place} has category_id {row['category_id']}, which is not there")
        segments = [(row["id"], self.class_of[row["category_id"]], bool(row.get("iscrowd", 0))) for row in rows]
        return objects_in_segments(ids, segments, self.things, f"{self.file}: {path}")


_COCO_SOURCE = "https://cocodataset.org (train2017.zip, val2017.zip, annotations_trainval2017.zip)"
_PANOPTIC_SOURCE = "https://cocodataset.org (val2017.zip, panoptic_annotations_trainval2017.zip)"


def _objects(
    content: dict, file: Path, files: list[ImageFile], label_of: dict, with_masks: bool, drop_invalid: bool
) -> Objects:
    index_of = {image.id: index for index, image in enumerate(files)}
    rows = annotations_of(content, file, index_of, label_of)
    rows.sort(key=lambda row: index_of[row["image_id"]])  # stable
    image_of = np.array([index_of[row["image_id"]] for row in rows], np.int64)
    sizes_hw = np.array([image.size_hw for image in files], np.int64).reshape(-1, 2)[image_of]
    stated_xywh = boxes_of(rows, file)

    def place(row: int) -> str:
        return place_of(file, rows[row])

    boxes_xyxy, valid = clip_boxes(to_xyxy(stated_xywh), sizes_hw, place, drop_invalid)
    masks = None
    if with_masks:
        masks = _masks(rows, file, sizes_hw, valid, drop_invalid)
        valid &= masks != b""
    report_dropped(valid, place)
    return Objects(
        spans=spans_of(image_of[valid], len(files)),
        boxes_xyxy=boxes_xyxy[valid],
        stated_xywh=stated_xywh[valid],
        labels=np.array([label_of[row["category_id"]] for row in rows], np.int64)[valid],
        iscrowd=np.array([bool(row.get("iscrowd")) for row in rows], bool)[valid],
        area=areas_of(rows, file)[valid],
        masks=None if masks is None else masks[valid],
    )


def _masks(rows: list[dict], file: Path, sizes_hw: np.ndarray, valid: np.ndarray, drop_invalid: bool) -> np.ndarray:
    """(A,) bytes: the `counts` of each mask; empty for invalid rows and, with `drop_invalid`, for unreadable masks."""
    counts = []
    for row, size_hw, is_valid in zip(rows, sizes_hw, valid, strict=True):
        try:
            code = run_lengths(row.get("segmentation"), size_hw)["counts"] if is_valid else ""
        except ValueError as error:
            if not drop_invalid:
                remedy = "correct it, or leave such objects out with drop_invalid=True"
                raise ValueError(f"{place_of(file, row)}: {error}; {remedy}") from error
            code = ""
        counts.append(code.encode("ascii"))
    return np.array(counts, dtype=object)


def _panoptic_metainfo(content: dict, file: Path) -> dict:
    """dict(classes, palette, things, category_ids (of the things)) of the categories of a file."""
    names, ids = categories_of(content, file)
    thing_ids = {row["id"] for row in content["categories"] if row.get("isthing")}
    return dict(
        classes=check_classes(names, file),
        palette=voc_palette(len(names) + 1)[1:],
        things=tuple(index for index, id in enumerate(ids) if id in thing_ids),
        category_ids=[id for id in ids if id in thing_ids],
    )
