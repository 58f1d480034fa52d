"""The files below a folder, listed once, without what no data set consists of."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from xseg.data.read.images import IMAGE_SUFFIXES

SKIPPED_FOLDERS = {"__MACOSX", "__pycache__", "node_modules", "work_dirs", "runs", "wandb", "mlruns", "venv", "env"}
SKIPPED_SUFFIXES = {".pyc", ".pth", ".pt", ".ckpt", ".safetensors", ".onnx", ".ipynb", ".py", ".log", ".cache", ".zip"}
SKIPPED_NAMES = {"thumbs.db", "desktop.ini"}


class Tree:
    """All files below a folder, or one file.

    Hidden files and folders, caches, programs, notebooks and checkpoints are left out; `skipped` counts them.

    Attributes:
        root: the folder. file: the one file that was given instead of a folder, or None.
        files: paths relative to the root, sorted, "/" between folders.
        skipped: {suffix or folder name: number of files}.
    """

    def __init__(self, path: str | os.PathLike):
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"{path}: there is no such file or folder of data")
        self.file = None if path.is_dir() else path
        self.root = path if path.is_dir() else path.parent
        self.skipped: Counter = Counter()
        self.files: list[str] = []
        for folder, folders, names in os.walk(self.root, followlinks=False):
            kept = [name for name in folders if not name.startswith(".") and name not in SKIPPED_FOLDERS]
            for name in set(folders) - set(kept):
                self.skipped[f"{name}/"] += 1
            folders[:] = sorted(kept)
            for name in sorted(names):
                suffix = os.path.splitext(name)[1].lower()
                if name.startswith(".") or name.lower() in SKIPPED_NAMES or suffix in SKIPPED_SUFFIXES:
                    self.skipped[name if name.startswith(".") else suffix or name] += 1
                else:
                    self.files.append(os.path.relpath(os.path.join(folder, name), self.root).replace(os.sep, "/"))
        self.files.sort()

    @cached_property
    def stamp(self) -> int:
        """A number that changes with the names, sizes and times of the files."""
        facts = []
        for name in self.files:
            state = os.stat(self.path(name))
            facts.append((name, state.st_size, state.st_mtime_ns))
        return hash(tuple(facts))

    def path(self, name: str) -> Path:
        """The whole path of one of `files`."""
        return self.root / name

    def with_suffix(self, *suffixes: str) -> list[str]:
        """The files with one of these suffixes, lower case, with the dot."""
        return [name for suffix in suffixes for name in self._by_suffix.get(suffix, ())]

    @cached_property
    def images(self) -> list[str]:
        """All files with a suffix of images, masks included."""
        return sorted(self.with_suffix(*IMAGE_SUFFIXES))

    @cached_property
    def _by_suffix(self) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for name in self.files:
            groups.setdefault(os.path.splitext(name)[1].lower(), []).append(name)
        return groups

    def head(self, name: str, size: int = 4096) -> str:
        """The first characters of a text file, to tell formats apart without parsing."""
        with open(self.path(name), encoding="utf-8", errors="replace") as file:
            return file.read(size)

    def names_of(self, paths: Iterable[Path]) -> list[str]:
        """The entries of `files` for whole paths; paths outside of the root are left out."""
        names = (os.path.relpath(path, self.root).replace(os.sep, "/") for path in paths)
        return [name for name in names if not name.startswith("../")]

    def unused(self, used: Iterable[str]) -> dict[str, int]:
        """What a catalog passes over: `skipped`, and `files` outside of `used`, counted by suffix or name."""
        left = Counter(os.path.splitext(name)[1].lower() or name for name in set(self.files) - set(used))
        return dict((self.skipped + left).most_common())


def stem(name: str) -> str:
    """The file name without folders and suffix."""
    return os.path.splitext(name.rpartition("/")[2])[0]


def folders(name: str) -> tuple[str, ...]:
    """The folders of a relative path, from the root on."""
    return tuple(name.split("/")[:-1])
