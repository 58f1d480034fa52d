"""Tables (CSV, TSV) of images with a class, several classes, or boxes."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

from xseg.data.formats.catalog import (
    BOXES,
    CLASSES,
    TAGS,
    Catalog,
    Evidence,
    Format,
    Item,
    Region,
    class_order,
    split_of,
)
from xseg.data.formats.tree import Tree, folders, stem
from xseg.data.read.images import IMAGE_SUFFIXES, read_size_hw

PATHS = ("path", "file", "filename", "file_name", "filepath", "image", "img", "image_path", "image_id", "id", "name")
LABELS = ("label", "labels", "class", "classes", "category", "tags", "target", "class_name")
EDGES = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("x_min", "y_min", "x_max", "y_max"))
SPLITS = ("split", "subset", "set", "partition")
_JOINED = re.compile(r"\s*[|;,]\s*")


class Table:
    """One file: its rows as dicts with lower-case keys, and which column is what."""

    def __init__(self, tree: Tree, name: str):
        self.name, self.path = name, tree.path(name)
        with open(self.path, encoding="utf-8-sig", newline="", errors="replace") as file:
            head = file.read(4096)
            file.seek(0)
            delimiter = "\t" if name.lower().endswith(".tsv") or head.count("\t") > head.count(",") else ","
            delimiter = ";" if head.split("\n")[0].count(";") > head.split("\n")[0].count(delimiter) else delimiter
            reader = csv.DictReader(file, delimiter=delimiter)
            self.columns = [(key or "").strip().lower() for key in reader.fieldnames or ()]
            self.rows = [dict(zip(self.columns, row.values(), strict=False)) for row in reader]
        self.file = next((key for key in PATHS if key in self.columns), None)
        self.label = next((key for key in LABELS if key in self.columns and key != self.file), None)
        self.edges = next((edges for edges in EDGES if set(edges) <= set(self.columns)), None)
        self.split = next((key for key in SPLITS if key in self.columns), None)
        self.one_hot = [] if self.label or self.edges else self._one_hot()

    @property
    def fits(self) -> bool:
        return bool(self.file and self.rows and (self.label or self.one_hot))

    def _one_hot(self) -> list[str]:
        """Columns of 0 and 1, one a class."""
        others = [key for key in self.columns if key not in (self.file, self.split) and key]
        sample = self.rows[:200]
        return [
            key
            for key in others
            if sample and all(str(row.get(key)).strip() in ("0", "1", "0.0", "1.0") for row in sample)
        ]


def find(tree: Tree) -> Evidence | None:
    tables, images = _tables(tree), _Images(tree)
    named = {str(row[table.file]) for table in tables for row in table.rows[:2000]}
    known = sum(images.find(name) is not None for name in named)
    if not known:
        return None
    rows = len({row[table.file] for table in tables for row in table.rows})
    return Evidence(rows, f"the table {tables[0].name} with the columns {', '.join(tables[0].columns[:6])}")


def read(tree: Tree) -> Catalog:
    tables = _tables(tree)
    if not tables:
        raise ValueError(f"{tree.root}: no CSV has a column of files ({', '.join(PATHS[:4])}) and one of labels")
    boxes = all(table.edges for table in tables)
    several = not boxes and any(table.one_hot or _has_several(table) for table in tables)
    kind = BOXES if boxes else TAGS if several else CLASSES
    rows = [(table, number, row) for table in tables for number, row in enumerate(table.rows, start=2)]
    names = {name for table, _, row in rows for name in _labels(table, row, several)}
    classes = class_order(tree, names)
    images, entries = _Images(tree), {}
    for table, number, row in rows:
        place = f"{table.path}: line {number}"
        path = images.find(str(row[table.file] or ""))
        if path is None:
            raise FileNotFoundError(f"{place}: there is no image {row[table.file]!r} below {tree.root}; add it")
        labels = tuple(classes.index(name) for name in _labels(table, row, several))
        entries.setdefault(path, []).append((table, row, labels, place))
    items, flat = [], 0
    for path, group in entries.items():
        item, dropped = _item(tree, path, group, kind)
        items.append(item)
        flat += dropped
    notes = [f"{flat} boxes without area are left out"] if flat else []
    used = [*(table.name for table in tables), *tree.names_of(entries)]
    return Catalog("table", tree.root, kind, classes, tuple(items), ignored=tree.unused(used), notes=tuple(notes))


def _item(tree: Tree, path: Path, group: list[tuple], kind: str) -> tuple[Item, int]:
    table, row, labels, place = group[0]
    split = split_of([str(row.get(table.split) or "")]) if table.split else None
    split = split or split_of([*folders(table.name), stem(table.name)])
    id = tree.names_of([path])
    made = Item(id[0].rpartition(".")[0] if id else path.stem, path, read_size_hw(path), split)
    if kind != BOXES:
        if kind == CLASSES and len({labels for _, _, labels, _ in group}) > 1:
            raise ValueError(f"{group[1][3]}: {path.name} has another class than in a line before; keep one of them")
        return made._replace(labels=tuple(sorted({label for _, _, labels, _ in group for label in labels}))), 0
    regions, dropped = [], 0
    for table, row, labels, place in group:
        values = [str(row[edge] or "").strip() for edge in table.edges]
        if not any(values):
            continue  # RetinaNet's CSV: an image without objects
        box = tuple(_number(value, place) for value in values)
        if box[2] > box[0] and box[3] > box[1]:
            regions.append(Region(labels[0], box))
        else:
            dropped += 1
    return made._replace(regions=tuple(regions)), dropped


def _labels(table: Table, row: dict, several: bool) -> list[str]:
    if table.one_hot:
        return [key for key in table.one_hot if float(row[key] or 0) == 1]
    text = str(row[table.label] or "").strip()
    if not text:
        return []
    return [name for name in _JOINED.split(text) if name] if several else [text]


def _has_several(table: Table) -> bool:
    values = [str(row[table.label] or "") for row in table.rows] if table.label else []
    return table.label in ("labels", "tags", "classes") or sum("|" in value or ";" in value for value in values) > 0


def _number(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > 1e6:
        raise ValueError(f"{place}: the edge of a box must be a number of pixels, got {text!r}")
    return value


def _tables(tree: Tree) -> list[Table]:
    made = (Table(tree, name) for name in tree.with_suffix(".csv", ".tsv"))
    return [table for table in made if table.fits]


class _Images:
    """The images of a tree by path, file name, and stem."""

    def __init__(self, tree: Tree):
        self.tree, self.by_name = tree, {}
        for name in tree.images:
            for key in (name, name.rpartition("/")[2], stem(name)):
                self.by_name.setdefault(key, name)

    def find(self, stated: str) -> Path | None:
        stated = stated.strip().replace("\\", "/")
        for key in (
            stated,
            stated.rpartition("/")[2],
            stem(stated) if stated.lower().endswith(IMAGE_SUFFIXES) else stated,
        ):
            if key in self.by_name:
                return self.tree.path(self.by_name[key])
        return None


FORMAT = Format("table", "CSV or TSV with a column of files and one of labels, perhaps with boxes", find, read)
