"""The base of detection data sets: a list of image files and one table of all objects."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.registry import DATASETS, TRANSFORMS
from torch import Tensor
from torchvision import tv_tensors

from xseg.data.draw import DrawnDataset
from xseg.data.read.classes import distinct_names, voc_palette
from xseg.data.read.images import compact, read_image
from xseg.data.read.rle import RunLengths, decode_masks


class ImageFile(NamedTuple):
    """An image file and the size in its annotation."""

    id: int | str
    path: Path
    size_hw: tuple[int, int]


class Objects(NamedTuple):
    """All objects of a data set as flat arrays, which worker processes share without copies.

    The objects of an image are consecutive rows. `difficult` and `masks` are None if the data set has none.
    """

    spans: np.ndarray  # (N, 2) int64: image i has the rows spans[i, 0] to spans[i, 1] - 1
    boxes_xyxy: np.ndarray  # (A, 4) float64, pixels, inside the image; float32 in samples
    stated_xywh: np.ndarray  # (A, 4) float64, pixels: boxes as annotated, which may leave the image
    labels: np.ndarray  # (A,) int64
    iscrowd: np.ndarray  # (A,) bool
    area: np.ndarray  # (A,) float64, pixels, as annotated; NaN if not stated
    difficult: np.ndarray | None = None  # (A,) bool
    masks: np.ndarray | None = None  # (A,) bytes: `counts` of run-length masks


@DATASETS.register_module()
class DetectionDataset(DrawnDataset):
    """Images with boxes, and with instance masks if the table of objects has them.

    A sample is dict(image (3, H, W) uint8 RGB, boxes_xyxy (M, 4) float32 pixels, labels (M,) int64, iscrowd (M,) bool,
    area (M,) float64, stated_xywh (M, 4) float64, meta=dict(id, path, size_hw)), with `difficult` (M,) bool and `masks`
    (M, H, W) uint8 if the table has them. boxes_xyxy lies inside the image. area (NaN: not stated) and stated_xywh are
    as annotated and only used by the evaluation: transforms drop their entries together with the object, but do not
    change them. size_hw is (height, width) of the image as read, before the transforms.

    Args:
        images: with ids that differ.
        objects: table of all images; None for a class that defines `objects_of` and reads image by image.
        classes: names in the order of labels, without a background.
        palette: RGB per class; VOC's colours if None.
        category_ids: id of each class in files of results; 1, 2, … if None.
        transforms: callables on the sample, in which image, boxes_xyxy and masks are tv_tensors, or their configs. A
            transform with `takes_second` also gets a function that returns a second sample, drawn at random.
        keep_empty: keep images that have no object to learn: no objects, or only crowds and difficult ones.
    """

    @staticmethod
    def describe(
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        category_ids: Sequence[int] | None = None,
        **_,
    ) -> dict:
        """`metainfo` of a data set with these arguments, without building it: dict(classes, palette, category_ids)."""
        names = distinct_names(classes, "classes")
        colours = [tuple(colour) for colour in palette or voc_palette(len(names) + 1)[1:]]
        ids = list(category_ids or range(1, len(names) + 1))
        for name, values in (("palette", colours), ("category_ids", ids)):
            if len(values) != len(names):
                raise ValueError(f"{name} must have one entry per class, got {len(values)} for {len(names)}")
        return dict(classes=names, palette=colours, category_ids=ids)

    def __init__(
        self,
        images: Sequence[ImageFile],
        objects: Objects | None,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        category_ids: Sequence[int] | None = None,
        transforms: Sequence[Callable | dict] | None = None,
        keep_empty: bool = True,
    ):
        self.images, self.objects = list(images), objects
        if not keep_empty:
            self._drop_empty()
        if not self.images:
            reason = "no image has an object" if images else "the list of images is empty"
            raise ValueError(f"{type(self).__name__} has no images: {reason}")
        _check_ids(self.images)
        described = DetectionDataset.describe(classes, palette, category_ids)
        self.classes, self.palette = described["classes"], described["palette"]
        self.category_ids = described["category_ids"]
        self.transforms = [TRANSFORMS.build(item) if isinstance(item, dict) else item for item in transforms or ()]

    @property
    def metainfo(self) -> dict:
        """mmengine passes it to metrics and visualizers and stores it in checkpoints."""
        return dict(classes=self.classes, palette=self.palette, category_ids=self.category_ids)

    @property
    def sizes_hw(self) -> np.ndarray:
        """(N, 2) int64: (height, width) of every image from the annotations, for batches of similar shapes."""
        return np.array([image.size_hw for image in self.images], np.int64)

    @property
    def num_learnable(self) -> int | None:
        """Number of objects that are neither crowds nor difficult; None if objects are read with their images."""
        return None if self.objects is None else int((~_left_aside(self.objects)).sum())

    def labels_of(self, index: int) -> np.ndarray:
        """(M,) int64: the labels in an image, for balanced sampling; the image is not read."""
        if self.objects is None:
            return self.objects_of(index)["labels"].numpy()
        return self.objects.labels[slice(*self.objects.spans[index])]

    def objects_of(self, index: int) -> dict[str, Tensor]:
        """The entries of a sample about objects, before the transforms; the image is not read."""
        size_hw = self.images[index].size_hw
        rows, objects = slice(*self.objects.spans[index]), self.objects
        entries = dict(boxes_xyxy=torch.from_numpy(objects.boxes_xyxy[rows].astype(np.float32)))
        for key in ("stated_xywh", "labels", "iscrowd", "area", "difficult"):
            if (values := getattr(objects, key)) is not None:
                entries[key] = torch.from_numpy(values[rows].copy())
        if objects.masks is not None:
            codes = [RunLengths(size=list(size_hw), counts=counts) for counts in objects.masks[rows]]
            entries["masks"] = decode_masks(codes, size_hw)
        return entries

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, index: int) -> dict:
        sample = self._through(index, self.transforms)
        sample["image"] = compact(sample["image"].as_subclass(Tensor))
        for key in sample.keys() & {"boxes_xyxy", "mask", "masks"}:
            sample[key] = compact(sample[key].as_subclass(Tensor))
        return sample

    def _through(self, index: int, transforms: Sequence[Callable]) -> dict:
        sample = self._read(index)
        for position, transform in enumerate(transforms):
            if getattr(transform, "takes_second", False):
                sample = transform(sample, partial(self._second, transforms[:position]))
            else:
                sample = transform(sample)
        return sample

    def _second(self, transforms: Sequence[Callable]) -> dict:
        """Another sample, drawn at random, for a transform with `takes_second`."""
        return self._through(int(torch.randint(len(self), ())), transforms)

    def _read(self, index: int) -> dict:
        id, path, size_hw = self.images[index]
        image = tv_tensors.Image(read_image(path))
        _check_size(path, tuple(image.shape[1:]), size_hw)
        sample = dict(image=image, meta=dict(id=id, path=str(path), size_hw=size_hw), **self.objects_of(index))
        sample["boxes_xyxy"] = tv_tensors.BoundingBoxes(sample["boxes_xyxy"], format="XYXY", canvas_size=size_hw)
        for key in sample.keys() & {"mask", "masks"}:
            sample[key] = tv_tensors.Mask(sample[key])
        return sample

    def _drop_empty(self) -> None:
        left_out = _left_aside(self.objects)
        before = np.concatenate([[0], np.cumsum(~left_out)])  # number of objects to learn before each row
        first, end = self.objects.spans.T
        kept = np.flatnonzero(before[end] > before[first])
        self.images = [self.images[index] for index in kept]
        self.objects = self.objects._replace(spans=self.objects.spans[kept])


def clip_boxes(
    boxes_xyxy: np.ndarray, sizes_hw: np.ndarray, place: Callable[[int], str], drop_invalid: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Clip boxes to their images and find invalid boxes.

    Args:
        boxes_xyxy: (A, 4) float64, pixels.
        sizes_hw: (A, 2), size of the image of each box.
        place: names the file and the annotation of a row, for the error.
        drop_invalid: return which boxes are invalid (not finite, without area, outside the image) instead of raising.

    Returns: (A, 4) float64 inside the images, and (A,) bool, whether the box is valid; all True without `drop_invalid`.

    Raises:
        ValueError: the first invalid box.
    """
    boxes_xyxy = boxes_xyxy.astype(np.float64).reshape(-1, 4)
    finite = np.isfinite(boxes_xyxy).all(axis=1)
    has_area = finite & (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1)
    limits = sizes_hw.reshape(-1, 2)[:, [1, 0, 1, 0]]
    clipped = np.clip(np.where(finite[:, None], boxes_xyxy, 0), 0, limits)
    rounded = clipped.astype(np.float32)  # as in samples; a narrow box may lose its area
    valid = has_area & (rounded[:, 2:] > rounded[:, :2]).all(axis=1)
    if not valid.all() and not drop_invalid:
        row = int(valid.argmin())
        fault = "has no area inside the image" if finite[row] else "is not finite"
        corners = ", ".join(f"{value:g}" for value in boxes_xyxy[row])
        height, width = sizes_hw[row]
        raise ValueError(
            f"{place(row)}: the box ({corners}) in xyxy {fault} ({width}x{height} pixels, width x height); "
            "correct it, or leave such objects out with drop_invalid=True"
        )
    return clipped, valid


def report_dropped(valid: np.ndarray, place: Callable[[int], str]) -> None:
    """Log the number of objects that drop_invalid leaves out, and the place of the first.

    Args:
        valid: (A,) bool, which objects stay.
        place: names the file and the annotation of a row.

    Raises:
        ValueError: no object stays.
    """
    if valid.all():
        return
    first = place(int(valid.argmin()))
    if not valid.any():
        raise ValueError(
            f"{first}: the boxes of all {len(valid)} objects are not finite, have no area, or lie outside their images "
            "(or their masks cannot be read), so that no object is left; correct the annotations"
        )
    print_log(
        f"{np.sum(~valid)} of {len(valid)} objects are left out (drop_invalid): their boxes are not finite, have no "
        f"area, or lie outside their images, or their masks cannot be read. The first is {first}",
        logger="current",
        level=logging.WARNING,
    )


def to_xyxy(boxes_xywh: np.ndarray) -> np.ndarray:
    """(…, 4) x, y, width, height -> (…, 4) x1, y1, x2, y2."""
    return np.concatenate([boxes_xywh[..., :2], boxes_xywh[..., :2] + boxes_xywh[..., 2:]], axis=-1)


def to_xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    """The inverse of `to_xyxy`."""
    return np.concatenate([boxes_xyxy[..., :2], boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]], axis=-1)


def spans_of(image_of: np.ndarray, num_images: int) -> np.ndarray:
    """(N, 2): the rows of each image in a table sorted by `image_of` (A,)."""
    ends = np.cumsum(np.bincount(image_of, minlength=num_images))
    return np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1).astype(np.int64)


def _left_aside(objects: Objects) -> np.ndarray:
    """(A,) bool: crowds and difficult objects, which training ignores."""
    return objects.iscrowd if objects.difficult is None else objects.iscrowd | objects.difficult


def _check_ids(images: Sequence[ImageFile]) -> None:
    if twice := [id for id, count in Counter(image.id for image in images).items() if count > 1]:
        path = next(image.path for image in images if image.id == twice[0])
        raise ValueError(f"{path}: image id {twice[0]} occurs more than once; list each image once")


def _check_size(path: Path, size_hw: tuple[int, int], stated_hw: tuple[int, int]) -> None:
    if size_hw == stated_hw:
        return
    (height, width), (stated_height, stated_width) = size_hw, stated_hw
    hint = "; the image may carry an EXIF rotation that its boxes do not" if size_hw == stated_hw[::-1] else ""
    raise ValueError(
        f"{path} is {width}x{height} pixels (width x height), "
        f"but its annotation says {stated_width}x{stated_height}{hint}"
    )
