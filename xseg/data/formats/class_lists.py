"""Names of the values or colours of masks, as lists beside people's data state them."""

from __future__ import annotations

import csv
from collections.abc import Mapping

import yaml

from xseg.data.formats.masks import Colour
from xseg.data.formats.tree import Tree, folders, stem
from xseg.data.read.classes import read_names
from xseg.data.read.json_file import read_json

LISTS = {"classes", "class_dict", "labelmap", "labels", "class_names", "label_colors", "config", "data", "colors"}


def names_of_values(tree: Tree, near: str) -> tuple[Mapping[int, str] | Mapping[Colour, str], str] | None:
    """(value or RGB -> name, the file) of the list that is nearest to the file `near`; None where there is none.

    Read are classes.txt (a name a line), labelmap.txt of CVAT (name:r,g,b:parts:actions), CSV (name,r,g,b), and JSON
    and YAML with names or classes as a list, as {number: name} or as {name: [r, g, b]}.
    """
    lists = [name for name in tree.with_suffix(".txt", ".csv", ".json", ".yaml", ".yml") if stem(name).lower() in LISTS]
    lists = [name for name in lists if folders(near)[: len(folders(name))] == folders(name)]
    for name in sorted(lists, key=lambda name: -len(folders(name))):
        if names := _read(tree, name):
            return names, name
    return None


def _read(tree: Tree, name: str) -> dict | None:
    path, suffix = tree.path(name), name.rpartition(".")[2].lower()
    if suffix == "txt":
        lines = read_names(path)
        if any(line.count(":") >= 2 for line in lines):
            return {_rgb(parts[1].split(",")): parts[0] for parts in (line.split(":") for line in lines if ":" in line)}
        return dict(enumerate(lines))
    if suffix == "csv":
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = [{(key or "").strip().lower(): value for key, value in row.items()} for row in csv.DictReader(file)]
        if rows and {"name", "r", "g", "b"} <= rows[0].keys():
            return {_rgb((row["r"], row["g"], row["b"])): row["name"].strip() for row in rows}
        return None
    try:
        content = read_json(path) if suffix == "json" else yaml.safe_load(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError):
        return None
    return _from_content(content)


def _from_content(content: object) -> dict | None:
    if isinstance(content, dict):
        named = next((content[key] for key in ("classes", "names", "labels") if content.get(key)), content)
    else:
        named = content
    if isinstance(named, list) and named and all(isinstance(item, str) for item in named):
        return dict(enumerate(named))
    if isinstance(named, dict) and named and all(isinstance(item, str) for item in named.values()):
        if all(str(key).isdigit() for key in named):
            return {int(key): name for key, name in named.items()}
        return None
    if isinstance(named, dict) and named and all(isinstance(v, list) and len(v) == 3 for v in named.values()):
        return {_rgb(colour): str(name) for name, colour in named.items()}
    return None


def _rgb(parts) -> Colour:
    red, green, blue = (int(float(part)) for part in parts)
    return red, green, blue
