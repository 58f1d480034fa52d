"""Lists of images with one label (CSV) or several labels (CSV or JSON) each."""

from collections.abc import Sequence
from pathlib import Path

from mmengine.registry import DATASETS

from xseg.data.read.classes import few
from xseg.data.read.csv_list import read_csv
from xseg.data.read.json_file import read_json
from xseg.data.sample import Path_, Transforms
from xseg.data.sets.classification import (
    ClassificationDataset,
    Labelled,
    MultiLabelDataset,
    listed_classes,
)

SEPARATOR = "|"
_REMEDY = f"write a CSV file with the columns path,labels (names joined by {SEPARATOR}) or a JSON list of them"
Row = tuple[str, str, tuple[str, ...]]  # place in the list, path of the image, names of its labels


@DATASETS.register_module()
class ImageList(ClassificationDataset):
    """A list {root}/{split}.csv with the columns `path` (relative to root, or absolute) and `label` (a class name).

    Args:
        classes: as for `ImageFolder`, but without classes.txt they are the sorted labels of train.csv, or of the split.
    """

    @staticmethod
    def describe(root: Path_, split: str = "train", classes: Sequence[str] | Path_ | None = None, **_) -> dict:
        """dict(classes); a list is read if neither `classes` nor a classes.txt gives the names."""
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
                raise ValueError(f"{root / split}.csv: line {line}: {label!r} is not one of the classes {few(names)}")
        images = [Labelled(path, str(root / path), label_of[label]) for _, path, label in rows]
        super().__init__(images, names, transforms)


@DATASETS.register_module()
class MultiLabelList(MultiLabelDataset):
    """A list {root}/{split}.csv with the columns `path` (relative to root, or absolute) and `labels` (joined by |).

    Or {root}/{split}.json: [{"path": …, "labels": [name, …]}, …]. An image without labels has none of the classes.

    Args:
        classes: names in the order of labels, or the path of a text file with one name per line. None reads
            `{root}/classes.txt`; without that file, the classes are the sorted labels of the list `train`, or of the
            split.
    """

    @staticmethod
    def describe(root: Path_, split: str = "train", classes: Sequence[str] | Path_ | None = None, **_) -> dict:
        """dict(classes); a list is read if neither `classes` nor a classes.txt gives the names."""
        return dict(classes=_list_classes(Path(root), split, classes))

    def __init__(
        self,
        root: Path_,
        split: str = "train",
        classes: Sequence[str] | Path_ | None = None,
        transforms: Transforms = None,
    ):
        root = Path(root)
        path = _find(root, split)
        rows = read_list(path)
        names = _list_classes(root, split, classes, rows)
        label_of = {name: label for label, name in enumerate(names)}
        for place, _, labels in rows:
            if unknown := [label for label in labels if label not in label_of]:
                raise ValueError(f"{path}: {place}: {unknown[0]!r} is not one of the classes {few(names)}")
        images = [Labelled(name, str(root / name), tuple(map(label_of.get, labels))) for _, name, labels in rows]
        super().__init__(images, names, transforms)


def _csv_classes(
    root: Path, split: str, classes: Sequence[str] | Path_ | None, rows: list[tuple[int, str, str]] | None = None
) -> tuple[str, ...]:
    """Class names of an `ImageList`; `rows` are those of the split if they have already been read."""

    def labels() -> list[str]:
        naming = "train" if (root / "train.csv").exists() else split
        named = rows if rows is not None and naming == split else _read_csv(root / f"{naming}.csv")
        return [label for _, _, label in named]

    return listed_classes(root, classes, root / f"{split}.csv", labels)


def _list_classes(
    root: Path, split: str, classes: Sequence[str] | Path_ | None, rows: list[Row] | None = None
) -> tuple[str, ...]:
    """Class names of a `MultiLabelList`; `rows` are those of the split if they have already been read."""

    def labels() -> list[str]:
        naming = "train" if _lists(root, "train") else split
        named = rows if rows is not None and naming == split else read_list(_find(root, naming))
        return [label for *_, names in named for label in names]

    return listed_classes(root, classes, root / split, labels)


def _read_csv(path: Path) -> list[tuple[int, str, str]]:
    """(line number, path, label) of every row."""
    rows = read_csv(path, "path", "label")
    for line, name, label in rows:
        if not name or not label:
            raise ValueError(f"{path}: line {line} has no path or no label")
    if not rows:
        raise ValueError(f"{path} lists no image")
    return rows


def read_list(path: Path) -> list[Row]:
    """The rows of a list; ValueError with the file, the place and the fault."""
    rows = _json_rows(path) if path.suffix == ".json" else _csv_rows(path)
    if not rows:
        raise ValueError(f"{path} lists no image")
    for place, name, labels in rows:
        if not name:
            raise ValueError(f"{path}: {place} has no path")
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(f"{path}: {place} has the label {min(twice)!r} more than once")
    return rows


def _csv_rows(path: Path) -> list[Row]:
    return [(f"line {line}", name, _split(labels or "")) for line, name, labels in read_csv(path, "path", "labels")]


def _split(labels: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in labels.split(SEPARATOR) if name.strip())


def _json_rows(path: Path) -> list[Row]:
    content = read_json(path, _REMEDY)
    if not isinstance(content, list):
        raise ValueError(f"{path} holds no list but a {type(content).__name__}; {_REMEDY}")
    rows = []
    for number, item in enumerate(content):
        labels = item.get("labels") if isinstance(item, dict) else None
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise ValueError(f'{path}: entry {number} must be {{"path": …, "labels": [names]}}, got {item!r:.80}')
        rows.append((f"entry {number}", item.get("path"), tuple(labels)))
    return rows


def _lists(root: Path, split: str) -> list[Path]:
    return [path for suffix in (".csv", ".json") if (path := root / f"{split}{suffix}").exists()]


def _find(root: Path, split: str) -> Path:
    lists = _lists(root, split)
    if not lists:
        raise FileNotFoundError(f"{root / split}.csv or .json: no such list; {_REMEDY}")
    if len(lists) > 1:
        raise ValueError(f"{lists[0]} and {lists[1].name} both exist; keep one of them")
    return lists[0]
