"""The lists of PASCAL VOC's layout: ImageSets/Main/train.txt and so on, one id a line."""

import posixpath
import re
from typing import NamedTuple

from xseg.data.formats.catalog import Item, split_of
from xseg.data.formats.images import without_image
from xseg.data.formats.tree import Tree, folders, stem
from xseg.data.read.images import IMAGE_SUFFIXES

_FOLDERS = ("main", "segmentation", "imagesets")  # the first that has lists


class _Lists(NamedTuple):
    """The lists below one folder ImageSets."""

    base: str  # the folder above, "" or ending with "/"
    split_of: dict[str, str]  # id -> split
    file_of: dict[str, str]  # id -> list


class VocLists:
    """The lists of a tree, which may hold several data sets such as VOC2007 and VOC2012.

    "trainval" is "train" for ids that no other list has. An id in the lists of val and of test belongs to val.

    Attributes:
        used: the lists, as entries of `tree.files`.

    Raises:
        ValueError: an image is in the list of train and in one of val or test.
    """

    def __init__(self, tree: Tree):
        self.tree = tree
        files = [name for name in tree.with_suffix(".txt") if _split(name) and "imagesets" in _lower(name)]
        bases = {re.split("imagesets/", name, flags=re.IGNORECASE)[0] for name in files}
        self._all = [self._read(base, [name for name in files if name.startswith(base)]) for base in sorted(bases)]
        self.used = sorted({file for lists in self._all for file in lists.file_of.values()})

    def split_of(self, image: str) -> str | None:
        """The split of an image, an entry of `tree.files`."""
        lists = self._lists(image)
        id = lists and _listed(image, lists)
        return lists.split_of[id] if id else None

    def kept(self, items: list[Item]) -> tuple[list[Item], list[str]]:
        """The items without those that no list of their data set has, and notes about them and about ids without image.

        Raises:
            FileNotFoundError: 1 in 20 listed ids or more have no image.
        """
        kept, matched = [], set()
        for item in items:
            (image,) = self.tree.names_of([item.path])
            lists = self._lists(image)
            id = lists and _listed(image, lists)
            matched.add((lists.base, id) if id else None)
            if id or lists is None:
                kept.append(item)
        ids = [(lists, id) for lists in self._all for id in lists.split_of]
        missing = [(lists.file_of[id], id) for lists, id in ids if (lists.base, id) not in matched]
        notes = without_image(missing, len(ids), self.tree, "listed ids")
        if unlisted := len(items) - len(kept):
            notes.append(f"{unlisted} images are in none of the lists ({self.used[0]}, …) and are left out")
        return kept, notes

    def _lists(self, image: str) -> _Lists | None:
        return next((lists for lists in reversed(self._all) if image.startswith(lists.base)), None)

    def _read(self, base: str, files: list[str]) -> _Lists:
        for folder in _FOLDERS:
            if chosen := [name for name in files if folder == folders(name)[-1].lower()]:
                break
        else:
            return _Lists(base, {}, {})
        splits: dict[str, str] = {}
        file_of: dict[str, str] = {}
        for name in sorted(chosen, key=lambda name: ("trainval", "test", "val", "train").index(_split(name))):
            split = _split(name)
            for id in self._ids(name):
                if split == "train" and splits.get(id) in ("val", "test") and _split(file_of[id]) != "trainval":
                    raise ValueError(
                        f"{self.tree.path(name)}: {id} is also in {file_of[id]}; an image must be in one split"
                    )
                splits[id] = "train" if split == "trainval" else split
                file_of[id] = name
        return _Lists(base, splits, file_of)

    def _ids(self, name: str) -> list[str]:
        text = self.tree.path(name).read_text(encoding="utf-8-sig", errors="replace")
        lines = (line.strip().replace("\\", "/") for line in text.splitlines())
        return [posixpath.splitext(id)[0] if id.lower().endswith(IMAGE_SUFFIXES) else id for id in lines if id]


def _split(name: str) -> str | None:
    return "trainval" if stem(name).lower() == "trainval" else split_of([stem(name)])


def _lower(name: str) -> list[str]:
    return [folder.lower() for folder in folders(name)]


def _listed(image: str, lists: _Lists) -> str | None:
    """The id in the lists that names the image: its path below the base, or an end of that path, without suffix."""
    parts = posixpath.splitext(image.removeprefix(lists.base))[0].split("/")
    ids = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((id for id in ids if id in lists.split_of), None)
