"""COCO's JSON, 2017 layout or any other: data sets of it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from mmengine.registry import DATASETS

from xseg.data.read.coco import (
    annotations_of,
    areas_of,
    boxes_of,
    categories_of,
    images_of,
    place_of,
    read_categories,
    read_coco,
)
from xseg.data.read.rle import run_lengths
from xseg.data.sample import Path_
from xseg.data.sets.detection import DetectionDataset, ImageFile, Objects, clip_boxes, report_dropped, spans_of, to_xyxy
from xseg.data.sets.layout import require_folder


@DATASETS.register_module()
class CocoDetection(DetectionDataset):
    """COCO, and any data set whose objects stand in a JSON of its form.

    Labels are the positions of the categories by ascending id; `metainfo` maps them back. Boxes are cut at the borders
    of the image, but evaluated as they stand in the file. `meta.id` is the image's id in the file.

    Args:
        images: folder that the file names in the JSON are relative to.
        annotations: the JSON file.
        root: what both of these are relative to; what `--data-root` replaces.
        outside_root: read also images whose file names lead out of root and of `images`.
        classes: names of the categories to keep, in the order of labels; objects of others are left out.
        with_masks: give instance masks, from polygons or run lengths.
        drop_invalid: leave out objects whose box has no area, lies outside the image or is not finite (COCO's train
            2017 has two), or whose mask cannot be read, instead of refusing the file.

    Raises:
        FileNotFoundError, ValueError: naming the file and the annotation's id.
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
        """dict(classes, palette, category_ids); of the JSON only the categories are read."""
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


_COCO_SOURCE = "https://cocodataset.org (train2017.zip, val2017.zip, annotations_trainval2017.zip)"


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
    """(A,) bytes: the `counts` of each mask; empty where the row is not valid or, if such are dropped, has no mask."""
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
