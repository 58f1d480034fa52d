"""Detection annotations as they are in the files, including wrong ones; faults are collected, not raised."""

import inspect
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xseg.data.check.report import Fault, kind_of
from xseg.data.read.coco import annotations_of, boxes_of, categories_of, images_of, place_of, read_coco
from xseg.data.read.rle import run_lengths
from xseg.data.read.voc_xml import read_labelled
from xseg.data.sets.coco import CocoDetection
from xseg.data.sets.detection import DetectionDataset, to_xyxy
from xseg.data.sets.voc import class_names, list_files


class SurveyedImage(NamedTuple):
    id: int | str
    path: Path
    size_hw: tuple[int, int] | None  # as annotated


class SurveyedObject(NamedTuple):
    image: int  # index into the images
    place: str  # the file and the number or id of the object
    label: int
    box_xyxy: tuple[float, float, float, float]  # pixels; may be invalid
    iscrowd: bool = False
    difficult: bool = False


class Survey(NamedTuple):
    """All annotations of one data set."""

    classes: tuple[str, ...]
    images: list[SurveyedImage]
    objects: list[SurveyedObject]
    faults: list[Fault]
    drop_invalid: bool  # the data set leaves out invalid boxes


def survey(source: DetectionDataset | dict, name: str) -> Survey:
    """Annotations of a data set, or of the config of a `CocoDetection` or `VOCDetection`, whose files may be wrong."""
    if isinstance(source, DetectionDataset):
        return _of_dataset(source)
    kind = source["type"]
    given = inspect.signature(kind).bind(**{key: value for key, value in source.items() if key != "type"})
    given.apply_defaults()
    return (_of_coco if kind is CocoDetection else _of_voc)(given.arguments, name)


def _of_coco(given: dict, name: str) -> Survey:
    root = Path(given["root"])
    file = root / given["annotations"]
    content = read_coco(file)
    names, category_ids = categories_of(content, file, given["classes"])
    label_of = {id: label for label, id in enumerate(category_ids)}
    faults: list[Fault] = []

    def note(kind: str, error: object) -> None:
        faults.append(Fault(kind, name, str(file), str(error)))

    base = None if given["outside_root"] else root
    images = [SurveyedImage(*image) for image in images_of(content, file, root / given["images"], base, note)]
    index_of = {image.id: index for index, image in enumerate(images)}
    objects = []
    for row in annotations_of(content, file, index_of, label_of, note):
        try:
            box = tuple(to_xyxy(boxes_of([row], file)[0]).tolist())
        except ValueError as error:
            note("no box", error)
            continue
        index = index_of[row["image_id"]]
        if given["with_masks"] and images[index].size_hw:
            try:
                run_lengths(row.get("segmentation"), images[index].size_hw)
            except ValueError as error:
                note("no mask", f"{place_of(file, row)}: {error}")
        label, crowd = label_of[row["category_id"]], bool(row.get("iscrowd"))
        objects.append(SurveyedObject(index, place_of(file, row), label, box, crowd))
    for id, count in Counter(row.get("id") for row in content["annotations"]).items():
        if count > 1:
            note("duplicate id", f"{file}: annotation id {id} occurs {count} times; other programs keep only one")
    return Survey(tuple(names), images, objects, faults, given["drop_invalid"])


def _of_voc(given: dict, name: str) -> Survey:
    root, splits = Path(given["root"]), given["split"]
    names = class_names(root, given["classes"])
    images, objects, faults = [], [], []
    for split in [splits] if isinstance(splits, str) else splits:
        folder, _, last = split.rpartition("/")
        for image, path in list_files(root / folder, last):

            def note(kind: str, error: Exception, path: Path = path) -> None:
                faults.append(Fault(kind, name, str(path), str(error)))

            try:
                size_hw, labelled = read_labelled(path, names, note)
            except (OSError, ValueError) as error:
                note(kind_of(error), error)
                continue
            for number, label, box_xyxy, difficult in labelled:
                place = f"{path}: object {number} ({names[label]})"
                objects.append(SurveyedObject(len(images), place, label, box_xyxy, difficult=difficult))
            images.append(SurveyedImage(path.stem, image, size_hw))
    return Survey(names, images, objects, faults, given["drop_invalid"])


def _of_dataset(dataset: DetectionDataset) -> Survey:
    images, objects, faults = [SurveyedImage(*image) for image in dataset.images], [], []
    for index, image in enumerate(dataset.images):
        entries = dataset.objects_of(index)
        marks = [entries.get(key, np.zeros(len(entries["labels"]), bool)) for key in ("iscrowd", "difficult")]
        columns = (entries["labels"], entries["boxes_xyxy"], *marks)
        for number, (label, box, crowd, difficult) in enumerate(zip(*columns, strict=True), start=1):
            place = f"{image.path}: object {number}"
            objects.append(SurveyedObject(index, place, int(label), tuple(box.tolist()), bool(crowd), bool(difficult)))
    return Survey(dataset.classes, images, objects, faults, False)
