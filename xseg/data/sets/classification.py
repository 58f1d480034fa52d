"""The bases of classification data sets, for images with one label or with several labels.

A sample is dict(image (3, H, W) uint8 RGB, label, meta=dict(id, path, size_hw)), with size_hw before the transforms. If
the image is cut out of a larger one, meta also has its `box_xyxy`. The label is an int; in a `MultiLabelDataset` it is
(num_classes,) float32 with 1 for each class of the image and 0 for the others.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.registry import DATASETS, TRANSFORMS
from torch import Tensor
from torchvision import tv_tensors

from xseg.data.draw import DrawnDataset
from xseg.data.read.classes import distinct_names, read_names
from xseg.data.read.images import compact, read_image
from xseg.data.sample import Path_, Transforms
from xseg.data.transforms.labels import cut_square


class Labelled(NamedTuple):
    """One image of a classification data set."""

    id: str
    path: str
    label: int | tuple[int, ...]  # a tuple in a `MultiLabelDataset`
    box_xyxy: tuple[int, int, int, int] | None = None  # pixels; the sample is the square around it (None: all)


@DATASETS.register_module()
class ClassificationDataset(DrawnDataset):
    """Images with one label each; for the samples see the docstring of the module.

    Args:
        images: one row per image.
        classes: names in the order of labels; any number of them.
        transforms: callables on the sample, in which the image is a tv_tensor, or their configs.
    """

    @staticmethod
    def describe(classes: Sequence[str], **_) -> dict:
        """`metainfo` of a data set with these arguments, without building it: dict(classes)."""
        return dict(classes=class_names(classes, "classes"))

    def __init__(self, images: Sequence[Labelled], classes: Sequence[str], transforms: Transforms = None):
        if not images:
            raise ValueError(f"{type(self).__name__} has no images: the list is empty")
        self.images, self.classes = list(images), ClassificationDataset.describe(classes)["classes"]
        self.transforms = [TRANSFORMS.build(item) if isinstance(item, dict) else item for item in transforms or ()]
        for index, row in enumerate(self.images):
            for label in self.labels_of(index):
                if not 0 <= label < len(self.classes):
                    raise ValueError(f"{row.path}: label {label}, but the data set has {len(self.classes)} classes")

    @property
    def metainfo(self) -> dict:
        """dict(classes); mmengine passes it to metrics and stores it in checkpoints."""
        return dict(classes=self.classes)

    def labels_of(self, index: int) -> tuple[int, ...]:
        """The labels of an image; the image is not read."""
        return (self.images[index].label,)

    def _target(self, index: int) -> int | Tensor:
        """The value of `label` in the sample."""
        return self.images[index].label

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, index: int) -> dict:
        id, path, _, box_xyxy = self.images[index]
        image, meta = read_image(path), dict(id=id, path=path)
        if box_xyxy is not None:
            image, meta["box_xyxy"] = cut_square(image, box_xyxy), box_xyxy
        meta["size_hw"] = tuple(image.shape[1:])
        sample = dict(image=tv_tensors.Image(image), label=self._target(index), meta=meta)
        for transform in self.transforms:
            sample = transform(sample)
        sample["image"] = compact(sample["image"].as_subclass(Tensor))
        return sample


@DATASETS.register_module()
class MultiLabelDataset(ClassificationDataset):
    """Images with any number of labels each, which may be zero. The `label` of a row is a tuple of class indices."""

    def labels_of(self, index: int) -> tuple[int, ...]:
        return self.images[index].label

    def _target(self, index: int) -> Tensor:
        target = torch.zeros(len(self.classes))
        target[list(self.labels_of(index))] = 1
        return target


def class_names(classes: Sequence[str] | Path_, place: object) -> tuple[str, ...]:
    """Checked class names, given or from a text file. Any number is allowed, because labels are not 8-bit pixels."""
    if isinstance(classes, Path_):
        return distinct_names(read_names(classes), classes)
    return distinct_names(classes, place)


def listed_classes(
    root: Path, classes: Sequence[str] | Path_ | None, place: object, labels: Callable[[], Iterable[str]]
) -> tuple[str, ...]:
    """The given class names, or those of {root}/classes.txt, or without that file the sorted `labels()`."""
    if classes is None:
        classes = root / "classes.txt" if (root / "classes.txt").exists() else sorted(set(labels()))
    return class_names(classes, place)
