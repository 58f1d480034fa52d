"""Data sets of one label an image: folders, and a list in a CSV file.

A sample is dict(image (3, H, W) uint8 RGB, label int, meta=dict(id, path, size_hw)), size_hw before the transforms; an
image that is cut out of a larger one has its `box_xyxy` in meta, too.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.registry import DATASETS, TRANSFORMS
from torch import Tensor
from torchvision import tv_tensors

from xseg.data.draw import DrawnDataset
from xseg.data.read.classes import distinct_names, few, read_names
from xseg.data.read.csv_list import read_csv
from xseg.data.read.images import IMAGE_SUFFIXES, compact, read_image
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
class ImageFolder(ClassificationDataset):
    """ImageNet's layout, {root}/{split}/CLASS/*.jpg, and any other image format.

    Args:
        split: a folder below root; "" where the classes' folders lie in root itself.
        classes: the folders' names in the order of labels, or the path of a text file with one a line; None is
            `{root}/classes.txt`, and without that file the sorted folders of `{root}/train`, or of the split.
    """

    @staticmethod
    def describe(root: Path_, split: str = "train", classes: Sequence[str] | Path_ | None = None, **_) -> dict:
        """dict(classes); lists folders when neither `classes` nor a classes.txt names the classes."""
        root, folder = Path(root), Path(root) / split

        def labels() -> list[str]:
            _require_split(root, split)
            return _subfolders(root / "train" if split and (root / "train").is_dir() else folder)

        return dict(classes=listed_classes(root, classes, folder, labels))

    def __init__(
        self,
        root: Path_,
        split: str = "train",
        classes: Sequence[str] | Path_ | None = None,
        transforms: Transforms = None,
    ):
        folder = Path(root) / split
        _require_split(Path(root), split)
        names = ImageFolder.describe(root, split, classes)["classes"]
        if unknown := set(_subfolders(folder)) - set(names):
            raise ValueError(
                f"{folder}: {few(sorted(unknown))} named like no class ({few(names)}); "
                "name the folder in classes.txt or remove it"
            )
        images = [
            Labelled(f"{name}/{Path(file).stem}", f"{folder}/{name}/{file}", label)
            for label, name in enumerate(names)
            for file in _files(folder / name)
        ]
        if not images:
            raise FileNotFoundError(f"{folder} holds no image CLASS/*({'|'.join(IMAGE_SUFFIXES)})")
        super().__init__(images, names, transforms)


@DATASETS.register_module()
class ImageList(ClassificationDataset):
    """A list {root}/{split}.csv with the columns `path` (below root, or absolute) and `label` (a class name).

    Args:
        classes: as for `ImageFolder`, but without classes.txt the sorted labels of train.csv, or of the split.
    """

    @staticmethod
    def describe(root: Path_, split: str = "train", classes: Sequence[str] | Path_ | None = None, **_) -> dict:
        """dict(classes); reads a list when neither `classes` nor a classes.txt names the classes."""
        return dict(classes=_csv_classes(Path(root), split, classes))

    def __init__(
        self,
        root: Path_,
        split: str = "train",
        classes: Sequence[str] | Path_ | None = None,
        transforms: Transforms = None,
    ):
        root = Path(root)
        rows = _read_csv(root / f"{split}.csv")
        names = _csv_classes(root, split, classes, rows)
        label_of = {name: label for label, name in enumerate(names)}
        for line, _, label in rows:
            if label not in label_of:
                raise ValueError(f"{root / split}.csv: line {line}: {label!r} is none of the classes {few(names)}")
        images = [Labelled(path, str(root / path), label_of[label]) for _, path, label in rows]
        super().__init__(images, names, transforms)


def class_names(classes: Sequence[str] | Path_, place: object) -> tuple[str, ...]:
    """Class names, or those of a text file, checked; unlike `check_classes` any number: labels are no 8-bit pixels."""
    if isinstance(classes, str | os.PathLike):
        return distinct_names(read_names(classes), classes)
    return distinct_names(classes, place)


def listed_classes(
    root: Path, classes: Sequence[str] | Path_ | None, place: object, labels: Callable[[], Iterable[str]]
) -> tuple[str, ...]:
    """The class names given, else those of {root}/classes.txt, else the sorted `labels()`."""
    if classes is None:
        classes = root / "classes.txt" if (root / "classes.txt").exists() else sorted(set(labels()))
    return class_names(classes, place)


def _csv_classes(
    root: Path, split: str, classes: Sequence[str] | Path_ | None, rows: list[tuple[int, str, str]] | None = None
) -> tuple[str, ...]:
    """Class names of an `ImageList`; `rows` of the split, where they have been read already."""

    def labels() -> list[str]:
        naming = "train" if (root / "train.csv").exists() else split
        named = rows if rows is not None and naming == split else _read_csv(root / f"{naming}.csv")
        return [label for _, _, label in named]

    return listed_classes(root, classes, root / f"{split}.csv", labels)


def _require_split(root: Path, split: str) -> None:
    if not (root / split).is_dir():
        raise FileNotFoundError(
            f"{root / split}: no such folder; expected there: CLASS/*.jpg, one folder a class, in {root}/train and "
            f"{root}/val. Say where it is with --data-root DIR"
        )


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _files(folder: Path) -> list[str]:
    """Names of the images in a folder; none where there is no folder, for a split may lack a class."""
    if not folder.is_dir():
        return []
    names = (name for name in os.listdir(folder) if not name.startswith("."))
    return sorted(name for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES)


def _read_csv(path: Path) -> list[tuple[int, str, str]]:
    """(line number, path, label) of every row."""
    rows = read_csv(path, "path", "label")
    for line, name, label in rows:
        if not name or not label:
            raise ValueError(f"{path}: line {line} has no path or no label")
    if not rows:
        raise ValueError(f"{path} lists no image")
    return rows
