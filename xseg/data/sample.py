"""The contract of data sets and samples, its check, and the batch.

A data set of your own needs a class like this one; `Sample` says what a sample holds.

    @DATASETS.register_module()
    class Mine(DrawnDataset):
        metainfo = dict(classes=("ground", "tree"))

        def __len__(self):
            return 100

        def sample(self, index):
            image, mask = ...  # (3, H, W) and (H, W), both uint8
            return dict(image=image, mask=mask, meta=dict(id=index, path=f"{index}.png", size_hw=mask.shape))
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NotRequired, Protocol, TypedDict

import torch
from mmengine.registry import DATASETS, FUNCTIONS
from torch import Tensor

from xseg.data.draw import Draw

Path_ = str | os.PathLike
Transforms = Sequence[Callable | dict] | None


class Meta(TypedDict):
    """Where a sample comes from."""

    id: int | str  # different for every sample of a data set; predictions are stored under it
    path: str  # of the image file
    size_hw: tuple[int, int]  # (height, width) in pixels of the image as read, before the transforms
    box_xyxy: NotRequired[tuple[int, int, int, int]]  # pixels of the file; the image is the square around this box


class Sample(TypedDict):
    """One image and its labels.

    A task needs some of the optional keys: segmentation `mask`, detection `boxes_xyxy` and `labels`, instance
    segmentation also `masks`, panoptic and joint models all four, classification `label`.
    """

    image: Tensor  # (3, H, W) uint8 RGB
    meta: Meta
    mask: NotRequired[Tensor]  # (H, W) uint8 class ids, 255 = ignore
    boxes_xyxy: NotRequired[Tensor]  # (M, 4) float32 pixels, inside the image
    labels: NotRequired[Tensor]  # (M,) int64 from 0, without a background
    masks: NotRequired[Tensor]  # (M, H, W) uint8, 0 or 1
    iscrowd: NotRequired[Tensor]  # (M,) bool: groups of objects, neither learned nor counted
    difficult: NotRequired[Tensor]  # (M,) bool: neither learned nor counted
    area: NotRequired[Tensor]  # (M,) float64 pixels as annotated, NaN = not stated; read by the evaluation only
    stated_xywh: NotRequired[Tensor]  # (M, 4) float64 pixels as annotated; read by the evaluation only
    label: NotRequired[int | Tensor]  # a class, or (num_classes,) float32 of 0 and 1 where an image has several


class Dataset(Protocol):
    """What a training or an evaluation asks of a data set."""

    @property
    def metainfo(self) -> dict:
        """dict(classes=names, palette=RGB per class, …); `classes` is needed.

        Detection adds `category_ids`, the ids of the classes in files of results; panoptic data adds `things`, the
        positions of the classes with instances.
        """

    @staticmethod
    def describe(**config) -> dict:
        """`metainfo` of the data set with these arguments, without building it. A class without it is built."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: int | Draw) -> Sample:
        """The training sampler gives a `Draw`, the evaluation an int; `DrawnDataset` takes both."""


SIDES = ("H", "W")  # of the image of the sample; M is the number of its objects
TENSORS = {  # key -> dtype, shape
    "image": (torch.uint8, (3, *SIDES)),
    "mask": (torch.uint8, SIDES),
    "boxes_xyxy": (torch.float32, ("M", 4)),
    "labels": (torch.int64, ("M",)),
    "masks": (torch.uint8, ("M", *SIDES)),
    "iscrowd": (torch.bool, ("M",)),
    "difficult": (torch.bool, ("M",)),
    "area": (torch.float64, ("M",)),
    "stated_xywh": (torch.float64, ("M", 4)),
}


def check_sample(sample: Sample) -> None:
    """Raise one ValueError that lists every missing key and every wrong dtype and shape."""
    if not isinstance(sample, dict):
        raise ValueError(f"a sample must be a dict (see xseg.data.sample.Sample), got {type(sample).__name__}")
    faults = [f"{key} is missing" for key in ("image", "meta") if key not in sample]
    if "boxes_xyxy" in sample and "labels" not in sample:
        faults.append("labels is missing, which boxes_xyxy needs")
    if "boxes_xyxy" not in sample and sample.keys() & {"labels", "masks"}:
        faults.append("boxes_xyxy is missing, which labels and masks need")
    sides = {**_sides(sample, "image", ("", *SIDES)), **_sides(sample, "boxes_xyxy", ("M", ""))}
    for key, (dtype, shape) in TENSORS.items():
        if key in sample and not _fits(sample[key], dtype, [sides.get(side, side) for side in shape]):
            symbols = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
            faults.append(f"{key} must be a {_short(dtype)} tensor ({symbols}), got {_kind(sample[key])}")
    if "label" in sample and not (type(sample["label"]) is int or _fits(sample["label"], torch.float32, ["C"])):
        faults.append(f"label must be an int or a float32 tensor (num_classes,), got {_kind(sample['label'])}")
    if "meta" in sample:
        faults += _meta_faults(sample["meta"])
    if faults:
        meta = sample.get("meta")
        name = meta.get("id", "without id") if isinstance(meta, dict) else "without id"
        raise ValueError(f"sample {name!r} breaks the contract of xseg.data.sample.Sample: {'; '.join(faults)}")


def _meta_faults(meta: object) -> list[str]:
    if not isinstance(meta, dict):
        return [f"meta must be a dict(id, path, size_hw), got {_kind(meta)}"]
    faults = [f"meta has no {key}" for key in ("id", "path", "size_hw") if key not in meta]
    size_hw = meta.get("size_hw", (1, 1))
    if not isinstance(size_hw, Sequence) or len(size_hw) != 2 or not all(isinstance(side, int) for side in size_hw):
        faults.append(f"meta size_hw must be (height, width), got {size_hw!r}")
    return faults


def _sides(sample: dict, key: str, names: Sequence[str]) -> dict[str, int]:
    """The sides of a tensor by name; {} where it is no tensor of that many dimensions."""
    value = sample.get(key)
    if not isinstance(value, Tensor) or value.ndim != len(names):
        return {}
    return {name: side for name, side in zip(names, value.shape, strict=True) if name}


def _fits(value: object, dtype: torch.dtype, shape: Sequence[int | str]) -> bool:
    """Whether a value is a tensor of the dtype and shape; a side with a name instead of a number fits any."""
    if not isinstance(value, Tensor) or value.dtype != dtype or value.ndim != len(shape):
        return False
    return all(isinstance(side, str) or side == given for side, given in zip(shape, value.shape, strict=True))


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{_short(value.dtype)} {tuple(value.shape)}"
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" {tuple(shape)}" if isinstance(shape, tuple) else "")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@FUNCTIONS.register_module()
def collate(samples: list[Sample]) -> dict:
    """dict(images=[(3, H, W) uint8, …], samples=[dict(mask, meta, …), …]), one entry per sample in both.

    Images keep their sizes: stacking, padding and normalisation happen on the device, in the model's preprocessor.

    Raises:
        ValueError: the first sample breaks the contract; see `check_sample`.
    """
    check_sample(samples[0])  # microseconds beside the reading of an image
    return dict(
        images=[sample["image"] for sample in samples],
        samples=[{key: value for key, value in sample.items() if key != "image"} for sample in samples],
    )


def describe(config: dict) -> dict:
    """`metainfo` (classes, palette, things, …) of the data set that a config names, if possible without building it.

    A class tells it by its `describe`. A class that redefines `__init__` or `metainfo` below the `describe` that it
    inherits is built instead.
    """
    settings = dict(config)
    kind = settings.pop("type")
    kind = kind if isinstance(kind, type) else DATASETS.get(kind)
    if isinstance(kind, type) and hasattr(kind, "describe"):
        owner = {name: _owner(kind, name) for name in ("describe", "__init__", "metainfo")}
        if issubclass(owner["describe"], owner["__init__"]) and issubclass(owner["describe"], owner["metainfo"]):
            return kind.describe(**settings)
    dataset = DATASETS.build(dict(config))
    metainfo = getattr(dataset, "metainfo", None)
    if not isinstance(metainfo, dict) or not metainfo.get("classes"):
        raise ValueError(
            f"{type(dataset).__name__}.metainfo must be a dict with the names of the classes under 'classes', "
            f"got {metainfo!r}"
        )
    return metainfo


def _owner(kind: type, name: str) -> type:
    """The class that defines an attribute; `object` where none does."""
    return next((cls for cls in kind.__mro__ if name in vars(cls)), object)
