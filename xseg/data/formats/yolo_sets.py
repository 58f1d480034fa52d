"""Which images and label files belong to a data set of YOLO: by its YAML, by lists, or by names of files."""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from xseg.data.formats.catalog import CLASS_FILES, split_in, split_of
from xseg.data.formats.locate import Images, check_missing, is_image
from xseg.data.formats.tree import Tree, folders, stem
from xseg.data.read.yolo import YoloConfig, read_config

_CONFIGS = ("data.yaml", "data.yml", "dataset.yaml", "config.yaml", "obj.data")  # the likelier of several first
_LINE = re.compile(r"\s*\d+(\.0*)?(\s+-?[\d.]+([eE][-+]?\d+)?){4,}\s*(\n|$)")


class YoloSet(NamedTuple):
    """One data set."""

    config: YoloConfig | None
    splits: dict[Path, str | None]  # image -> split
    labels: dict[Path, Path]  # image -> label file, where there is one
    notes: list[str]


def sets_of(tree: Tree) -> list[YoloSet]:
    """The data sets in a tree, the likeliest first: those of configs that have labels, otherwise one without a config.

    A config whose label files another one has too is left out.
    """
    found: list[YoloSet] = []
    for config in _configs(tree):
        new = _with_config(tree, config)
        if new.labels and not any(set(new.labels.values()) <= set(other.labels.values()) for other in found):
            found.append(new)
    if found or tree.file:
        return found
    bare = _without_config(tree)
    return [bare] if bare.labels else []


def _configs(tree: Tree) -> Iterator[YoloConfig]:
    names = [tree.file.name] if tree.file else tree.with_suffix(".yaml", ".yml", ".data")
    names = [name for name in names if name.lower().endswith((".yaml", ".yml", ".data"))]
    rank = {name: at for at, name in enumerate(_CONFIGS)}
    for name in sorted(names, key=lambda name: (name.count("/"), rank.get(name.rpartition("/")[2].lower(), 9), name)):
        if (config := read_config(tree.path(name))) is not None:
            yield config


def _with_config(tree: Tree, config: YoloConfig) -> YoloSet:
    folder, lookup = config.path.parent, Images(tree)
    splits, notes, absent, missing = {}, [], [], []
    for split, entries in config.splits.items():
        images: list[Path] = []
        for entry in entries:
            place = _place(entry, _bases(tree, config))
            if place is None:
                absent.append(f"{split}: {entry}")
            elif place.is_dir():
                images += _images_in(tree, place)
            elif place.suffix.lower() == ".txt":
                images += _listed(place, folder, lookup, split, missing)
        twice = sum(image in splits for image in images)
        for image in images:
            splits.setdefault(image, split)
        if twice:
            notes.append(f"{twice} images of {split} are in an earlier split too, and count there alone")
    if absent and not splits:
        raise FileNotFoundError(f"{config.path}: there is no {', no '.join(absent)}; correct path, train and val")
    notes += [f"{config.path.name} names {entry}, which is not there" for entry in absent]
    notes += check_missing(missing, len(missing) + len(splits), then="; left out")
    if not config.splits:
        splits = {image: split_of(_parts(tree, image)) for image in _images_in(tree, folder)}
    labels = _labels(tree, list(splits), folder)
    return YoloSet(config, splits, labels, notes)


def _without_config(tree: Tree) -> YoloSet:
    """Images with a label file, and the others in their folders."""
    images = [tree.path(name) for name in tree.images]
    labels = {image: label for image, label in _labels(tree, images, tree.root).items() if looks_like_labels(label)}
    places = {image.parent for image in labels}
    lookup, splits = Images(tree), {}
    for name in tree.with_suffix(".txt"):
        if (split := split_in(stem(name))) and name.rpartition("/")[2].lower() not in CLASS_FILES:
            lines = tree.head(name).splitlines()
            if lines and is_image(lines[0].strip()):
                splits |= dict.fromkeys(_listed(tree.path(name), tree.root, lookup, split, []), split)
    has_lists = bool(splits)
    for image in images:
        if image.parent in places and image not in splits:
            splits[image] = None if has_lists else split_of(_parts(tree, image))
    return YoloSet(None, splits, labels, [])


def _parts(tree: Tree, image: Path) -> tuple[str, ...]:
    return folders(os.path.relpath(image, tree.root).replace(os.sep, "/"))


def _bases(tree: Tree, config: YoloConfig) -> list[Path]:
    """Folders that the splits may be relative to."""
    folder = config.path.parent
    bases = [folder / config.base.replace("\\", "/"), folder, tree.root]
    if (folder / "labels").is_dir():
        bases.append(folder / "..")  # labels of several kinds beside one folder of images
    return bases


def _place(entry: str, bases: Sequence[Path]) -> Path | None:
    """The folder or file of an entry; one of another machine, or with `../` too much, is found by its last parts."""
    text = entry.replace("\\", "/")
    inner = re.sub(r"^(\.{1,2}/)+", "", text)
    parts = inner.strip("/").split("/")
    tails = ["/".join(parts[at:]) for at in range(1, len(parts))]
    tails = [tail for tail in tails if "/" in tail or split_of([stem(tail)])]
    for name in (text, inner, *tails):
        for base in bases:
            if os.path.exists(path := base / name):
                return Path(os.path.normpath(path))
    return None


def _images_in(tree: Tree, folder: Path) -> list[Path]:
    name = os.path.relpath(folder, tree.root).replace(os.sep, "/")
    if name.startswith(".."):
        outside = Tree(folder)
        return [outside.path(name) for name in outside.images]
    prefix = "" if name == "." else f"{name}/"
    return [tree.path(name) for name in tree.images if name.startswith(prefix)]


def _listed(file: Path, folder: Path, lookup: Images, split: str, missing: list[str]) -> list[Path]:
    """The images that a text file lists, one a line; those that are not there go to `missing`."""
    images = []
    near = os.path.relpath(file.parent, lookup.tree.root).replace(os.sep, "/")
    for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        name = line.strip()
        if not name:
            continue
        direct = Path(os.path.normpath(folder / name))
        try:
            image = direct if is_image(name) and direct.is_file() else lookup.find(name, near, split)
        except (ValueError, OSError) as error:
            raise ValueError(f"{file}: line {number}: {error}") from error
        if image is None:
            missing.append(f"{name[:80]} ({file}: line {number})")
        else:
            images.append(image)
    return images


def _labels(tree: Tree, images: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """The label file of each image that has one."""
    listing, places = functools.cache(_txt_names), functools.cache(_label_folders)
    labels = {}
    for image in images:
        name = f"{image.stem}.txt"
        for place in places(image.parent, folder):
            if name in listing(place):
                labels[image] = place / name
                break
    taken = set(labels.values())
    free = [path for name in tree.with_suffix(".txt") if (path := tree.path(name)) not in taken]
    bare = [image for image in images if image not in labels]
    count = Counter(path.stem for path in free) + Counter(image.stem for image in bare)
    by_stem = {path.stem: path for path in free if looks_like_labels(path)} if bare else {}
    return labels | {image: by_stem[image.stem] for image in bare if image.stem in by_stem and count[image.stem] == 2}


def _label_folders(images: Path, folder: Path) -> tuple[Path, ...]:
    """Where the labels of a folder of images may be, the usual place first. folder: of the config, or the root."""
    parts = [part.lower() for part in images.parts]
    places = []
    if "images" in parts:
        at = len(parts) - 1 - parts[::-1].index("images")
        before, after = Path(*images.parts[:at]), images.parts[at + 1 :]
        places += [Path(before, "labels", *after), Path(folder, "labels", *after)]
        if not os.path.abspath(images).startswith(os.path.abspath(folder) + os.sep):
            places.reverse()
    places += [images, images / "labels", images.parent / "labels", images.parent / "labels" / images.name]
    return (*places, folder / "labels" / images.name, folder / "labels")


def _txt_names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(name for name in os.listdir(folder) if name.endswith(".txt"))
    except OSError:
        return frozenset()


def looks_like_labels(path: Path) -> bool:
    """Whether the first line of a text file is a class and coordinates; an empty file may be one of labels."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            head = file.read(1 << 16).lstrip()
    except (OSError, UnicodeDecodeError):
        return False
    return not head or _LINE.match(head) is not None
