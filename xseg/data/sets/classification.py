"""What all classification data sets share: images with one label, or with several.

A sample is dict(image (3, H, W) uint8 RGB, label, meta=dict(id, path, size_hw)), size_hw before the transforms; an
image that is cut out of a larger one has its `box_xyxy` in meta, too. The label is an int, or in a `MultiLabelDataset`
(num_classes,) float32: 1 for each class the image has, else 0.
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
    """One image of a classification set."""

    id: str
    path: str
    label: int | tuple[int, ...]  # a tuple in a `MultiLabelDataset`
    box_xyxy: tuple[int, int, int, int] | None = None  # pixels; the square around it is the image, None: all of it


@DATASETS.register_module()
class ClassificationDataset(DrawnDataset):
    """Images with one label each; the module's docstring says what a sample is.

    Args:
        images: rows of what there is.
        classes: names in the order of labels; any number of them.
        transforms: callables on the sample (its image is a tv_tensor there), or their configs.
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
        """Read by mmengine, which hands it to metrics and stores it in checkpoints."""
        return dict(classes=self.classes)

    def labels_of(self, index: int) -> tuple[int, ...]:
        """The labels of an image, without opening it."""
        return (self.images[index].label,)

    def _target(self, index: int) -> int | Tensor:
        """What stands under `label` in the sample."""
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
    """Images with any number of labels each, also none: the `label` of a row is a tuple of class indices."""

    def labels_of(self, index: int) -> tuple[int, ...]:
        return self.images[index].label

    def _target(self, index: int) -> Tensor:
        target = torch.zeros(len(self.classes))
        target[list(self.labels_of(index))] = 1
        return target


def class_names(classes: Sequence[str] | Path_, place: object) -> tuple[str, ...]:
    """Class names, or those of a text file, checked; unlike `check_classes` any number: labels are no 8-bit pixels."""
    if isinstance(classes, Path_):
        return distinct_names(read_names(classes), classes)
    return distinct_names(classes, place)


def listed_classes(
    root: Path, classes: Sequence[str] | Path_ | None, place: object, labels: Callable[[], Iterable[str]]
) -> tuple[str, ...]:
    """The class names given, else those of {root}/classes.txt, else the sorted `labels()`."""
    if classes is None:
        classes = root / "classes.txt" if (root / "classes.txt").exists() else sorted(set(labels()))
    return class_names(classes, place)
