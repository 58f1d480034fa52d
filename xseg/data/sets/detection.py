"""Data sets of images with boxes: a list of image files and one table of all objects; reading is the same for all."""

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
    """An image and the size that its annotation states."""

    id: int | str
    path: Path
    size_hw: tuple[int, int]


class Objects(NamedTuple):
    """All objects of a data set, those of one image together: flat arrays, which worker processes share uncopied.

    Where nothing says otherwise, `difficult` is None and so are `masks`.
    """

    spans: np.ndarray  # (N, 2) int64: image i has the objects from spans[i, 0] to before spans[i, 1]
    boxes_xyxy: np.ndarray  # (A, 4) float64, pixels, inside the image; float32 in samples
    stated_xywh: np.ndarray  # (A, 4) float64, pixels: boxes as the annotations state them, which may leave the image
    labels: np.ndarray  # (A,) int64
    iscrowd: np.ndarray  # (A,) bool
    area: np.ndarray  # (A,) float64, pixels, as the annotations state it; NaN where they do not
    difficult: np.ndarray | None = None  # (A,) bool
    masks: np.ndarray | None = None  # (A,) bytes: `counts` of run-length masks


@DATASETS.register_module()
class DetectionDataset(DrawnDataset):
    """Images with boxes, and with instance masks where the table of objects has them.

    A sample is dict(image (3, H, W) uint8 RGB, boxes_xyxy (M, 4) float32 pixels, labels (M,) int64, iscrowd (M,) bool,
    area (M,) float64, stated_xywh (M, 4) float64, meta=dict(id, path, size_hw)), with `difficult` (M,) bool and `masks`
    (M, H, W) uint8 where the table has them. boxes_xyxy lies inside the image. Only evaluation reads area (NaN: not
    stated) and stated_xywh, which are as the annotation has them: transforms drop their entries with their objects, but
    never change them. size_hw is (height, width) of the image as read, before the transforms.

    Args:
        images: ids must differ.
        objects: of all images; None for a class that reads them image by image and defines `objects_of`.
        classes: names in the order of labels, without a background.
        palette: RGB per class; VOC's colours if None.
        category_ids: what each class is called in files of results; 1, 2, … if None.
        transforms: callables on the sample (image, boxes_xyxy and masks are tv_tensors there), or their configs; one
            with `takes_second` is called with a function, too, that gives a second sample, drawn at random.
        keep_empty: also the images without an object to learn (none, or crowds and difficult ones alone).
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
        """Read by mmengine, which hands it to metrics and visualizers and stores it in checkpoints."""
        return dict(classes=self.classes, palette=self.palette, category_ids=self.category_ids)

    @property
    def sizes_hw(self) -> np.ndarray:
        """(N, 2) int64: of every image as read; without opening one, for batches of like shapes."""
        return np.array([image.size_hw for image in self.images], np.int64)

    @property
    def num_learnable(self) -> int | None:
        """Objects that are neither crowds nor difficult; None where they are read with their images."""
        return None if self.objects is None else int((~_left_aside(self.objects)).sum())

    def labels_of(self, index: int) -> np.ndarray:
        """(M,) int64: the labels in an image, without opening it, for balanced sampling."""
        if self.objects is None:
            return self.objects_of(index)["labels"].numpy()
        return self.objects.labels[slice(*self.objects.spans[index])]

    def objects_of(self, index: int) -> dict[str, Tensor]:
        """What a sample says of the objects in an image, before the transforms, without opening the image."""
        size_hw = self.images[index].size_hw
        rows, objects = slice(*self.objects.spans[index]), self.objects
        found = dict(boxes_xyxy=torch.from_numpy(objects.boxes_xyxy[rows].astype(np.float32)))
        for key in ("stated_xywh", "labels", "iscrowd", "area", "difficult"):
            if (values := getattr(objects, key)) is not None:
                found[key] = torch.from_numpy(values[rows].copy())
        if objects.masks is not None:
            codes = [RunLengths(size=list(size_hw), counts=counts) for counts in objects.masks[rows]]
            found["masks"] = decode_masks(codes, size_hw)
        return found

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
        """Another sample, drawn at random, for a transform that takes two."""
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
        before = np.concatenate([[0], np.cumsum(~left_out)])  # objects to learn before each row
        first, end = self.objects.spans.T
        kept = np.flatnonzero(before[end] > before[first])
        self.images = [self.images[index] for index in kept]
        self.objects = self.objects._replace(spans=self.objects.spans[kept])


def clip_boxes(
    boxes_xyxy: np.ndarray, sizes_hw: np.ndarray, place: Callable[[int], str], drop_invalid: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes cut at the borders of their images, and which of them are boxes at all.

    Args:
        boxes_xyxy: (A, 4) float64, pixels.
        sizes_hw: (A, 2), of the image of each.
        place: names the file and the annotation of a row, for the error.
        drop_invalid: report boxes that are not finite, have no area or lie outside the image, instead of refusing them.

    Returns: (A, 4) float64 inside the images, and (A,) bool, all True unless `drop_invalid`.

    Raises:
        ValueError: the first box that is none.
    """
    boxes_xyxy = boxes_xyxy.astype(np.float64).reshape(-1, 4)
    finite = np.isfinite(boxes_xyxy).all(axis=1)
    has_area = finite & (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1)
    limits = sizes_hw.reshape(-1, 2)[:, [1, 0, 1, 0]]
    clipped = np.clip(np.where(finite[:, None], boxes_xyxy, 0), 0, limits)
    seen = clipped.astype(np.float32)  # as in samples, where a sliver may have no area
    valid = has_area & (seen[:, 2:] > seen[:, :2]).all(axis=1)
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
    """Log how many objects a data set leaves out by drop_invalid, and the first.

    Args:
        valid: (A,) bool, which objects stay.
        place: names the file and the annotation of a row.

    Raises:
        ValueError: none stays.
    """
    if valid.all():
        return
    first = place(int(valid.argmin()))
    if not valid.any():
        raise ValueError(
            f"{first}: the boxes of this and of all other objects ({len(valid)}) are not finite, have no area, or lie "
            "outside their images (or their masks cannot be read), so that nothing is left; correct the annotations"
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
    """(A,) bool: crowds and difficult objects, which are not learned."""
    return objects.iscrowd if objects.difficult is None else objects.iscrowd | objects.difficult


def _check_ids(images: Sequence[ImageFile]) -> None:
    if twice := [id for id, count in Counter(image.id for image in images).items() if count > 1]:
        path = next(image.path for image in images if image.id == twice[0])
        raise ValueError(f"{path}: image id {twice[0]} stands more than once; list each image once, ids must differ")


def _check_size(path: Path, size_hw: tuple[int, int], stated_hw: tuple[int, int]) -> None:
    if size_hw == stated_hw:
        return
    (height, width), (stated_height, stated_width) = size_hw, stated_hw
    hint = "; the image may carry an EXIF rotation that its boxes do not" if size_hw == stated_hw[::-1] else ""
    raise ValueError(
        f"{path} is {width}x{height} pixels (width x height), "
        f"but its annotation says {stated_width}x{stated_height}{hint}"
    )
