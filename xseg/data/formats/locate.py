"""Images by the names that label files state, whose folders are often those of another machine."""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from xseg.data.formats.catalog import split_of
from xseg.data.formats.tree import Tree, folders
from xseg.data.read.images import IMAGE_SUFFIXES

LABEL_FOLDERS = {"annotations", "annotation", "labels", "label", "json", "xml", "masks", "mask", "gt", "segmentations"}
LABEL_FOLDERS |= {"segmentationclass", "segmentationobject"}
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # Label Studio's


class Images:
    """The images of a tree, looked up by stated names.

    Beyond the tree, a folder `images` beside its root is searched, and the parent of a root that is named annotations
    or labels.

    Args:
        without: images that are not looked up, such as masks.
    """

    def __init__(self, tree: Tree, without: Collection[Path] = ()):
        self.tree, self._without = tree, without
        self._files = set(tree.images).difference(tree.names_of(without))

    def find(self, stated: str, folder: str = "", split: str | None = None) -> Path | None:
        """The path of the image, or None.

        Looked up relative to `folder`, to the root, and to `images` in both. Otherwise by file name: the image that
        agrees with most of the stated folders, then the one in a folder of the split, then the nearest to `folder`.

        Args:
            stated: path or name as the label file has it, of any machine.
            folder: of the label file, relative to the root.
            split: of the label file.

        Raises:
            ValueError: several images fit equally.
        """
        name = stated.rpartition("?d=")[2].replace("\\", "/")
        for base in (folder, posixpath.join(folder, "images"), "", "images"):
            if (path := posixpath.normpath(posixpath.join(base, name))) in self._files:
                return self.tree.path(path)
        rivals = self._named(name)
        if not rivals:
            return self._beyond.find(stated, "", split) if self._beyond else None
        if len(rivals) > 1:
            ranks = {rival: _rank(rival, name, folder, split) for rival in rivals}
            rivals = [rival for rival in rivals if ranks[rival] == max(ranks.values())]
        if len(rivals) > 1:
            raise ValueError(f"{stated} may be {rivals[0]} or {rivals[1]}; write its folder into the label file")
        return self.tree.path(rivals[0])

    def _named(self, name: str) -> list[str]:
        base = posixpath.basename(name)
        for variant in (base, unquote(base), _UPLOAD_PREFIX.sub("", base)):
            if rivals := self._by_name.get(variant.lower()):
                return [rival for rival in rivals if posixpath.basename(rival) == variant] or rivals
        return []

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """File name in lower case -> paths relative to the root."""
        names: dict[str, list[str]] = {}
        for path in sorted(self._files):
            names.setdefault(posixpath.basename(path).lower(), []).append(path)
        return names

    @cached_property
    def _beyond(self) -> Images | None:
        root = Path(os.path.abspath(self.tree.root))
        if root.name != "images" and (root.parent / "images").is_dir():
            return Images(Tree(os.path.normpath(self.tree.root / ".." / "images")), self._without)
        if root.name.lower() in LABEL_FOLDERS:
            return Images(Tree(os.path.normpath(self.tree.root / "..")), self._without)
        return None


def _rank(path: str, stated: str, folder: str, split: str | None) -> tuple:
    """How well an image fits, the higher the better."""
    agreeing = 0
    for ours, theirs in zip(reversed(path.split("/")), reversed(stated.split("/")), strict=False):
        if ours.lower() != theirs.lower():
            break
        agreeing += 1
    parts = folders(path)
    near = len(posixpath.commonprefix([parts, tuple(folder.split("/"))]))
    is_label = any(part.lower() in LABEL_FOLDERS for part in parts)
    return agreeing, split is not None and split_of(parts) == split, not is_label, near


def item_ids(root: Path, paths: Sequence[Path]) -> list[str]:
    """An id for each image: its path below the root without suffix; with suffix where two images differ in it alone."""
    names = [os.path.relpath(path, root).replace(os.sep, "/") for path in paths]
    names = [re.sub(r"^(\.\./)+", "", name) for name in names]
    stems = [os.path.splitext(name)[0] for name in names]
    count = Counter(stems)
    return [name if count[stem] > 1 else stem for name, stem in zip(names, stems, strict=True)]


def check_missing(
    missing: Sequence[str], total: int, what: str = "images that labels name", then: str = ""
) -> list[str]:
    """Notes about files that are not there; FileNotFoundError if they are 1 in 20 or more.

    Args:
        missing: descriptions, each with the label file. total: number of files with the missing ones.
        then: what is done about them, for the note.
    """
    if not missing:
        return []
    text = f"{len(missing)} of {total} {what} are missing, first {missing[0]}"
    if len(missing) * 20 >= total:
        raise FileNotFoundError(f"{text}; copy them below the folder of the data, or correct the names")
    return [f"{text}{then}"]


def beside(tree: Tree, used: Sequence[str]) -> int:
    """The number of images in the folders of the used ones that are not among them."""
    places = {posixpath.dirname(name) for name in used}
    return sum(posixpath.dirname(name) in places for name in set(tree.images) - set(used))


def is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
