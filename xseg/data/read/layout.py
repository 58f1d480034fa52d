"""Folders and split lists of a data set's layout, and the error for missing ones."""

from collections.abc import Sequence
from pathlib import Path

from xseg.data.read.images import IMAGE_SUFFIXES


def read_split(path: Path) -> list[str]:
    """The ids of a list with one per line: file names without suffix, which may contain spaces.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: it is empty.
    """
    if not path.exists():
        there = ", ".join(sorted(other.stem for other in path.parent.glob("*.txt"))) or "none"
        raise FileNotFoundError(f"{path}: no such split; splits there: {there}")
    ids = [id for line in path.read_text(encoding="utf-8-sig").splitlines() if (id := line.strip())]
    if not ids:
        raise ValueError(f"{path} lists no image; write one id (file name without suffix) per line")
    return ids


def image_paths(folder: Path, ids: Sequence[str]) -> list[Path]:
    """The image of each id, with any suffix. An id without image gets {id}.jpg, which reading then reports as missing.

    Raises:
        ValueError: an id has two images, such as 1.jpg and 1.png.
    """
    paths: dict[str, Path] = {}
    listed = set(ids)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.stem not in listed:
            continue
        if path.stem in paths:
            raise ValueError(f"{paths[path.stem]} and {path.name} are both images of {path.stem}; keep one of them")
        paths[path.stem] = path
    return [paths.get(id, folder / f"{id}.jpg") for id in ids]


def require_folder(folder: Path, root: Path, layout: str, source: str) -> None:
    """FileNotFoundError with the expected layout of `root` and the source of the data if the folder is missing."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; {remedy(root, layout, source)}")


def remedy(root: Path, layout: str, source: str) -> str:
    """The part of an error message that says which files are expected and where to get them."""
    return f"expected in {root}: {layout}. Get it from {source}, or say where it is with --data-root DIR"
