"""The report of a check of data, and the parts that the checks of all tasks use."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from xseg.data.read.images import MaskModeError, read_image

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 20  # faults printed per kind


class Fault(NamedTuple):
    """One fault of a data set."""

    kind: str  # "missing file", "unreadable file", "RGB mask", "size mismatch", "label out of range", …
    dataset: str
    path: str
    message: str  # with the file and the remedy


class Statistics(Protocol):
    """Counts of the readable files of one data set."""

    def print(self, console: "Console", name: str) -> None: ...


class Findings(NamedTuple):
    """Result of the check of one data set."""

    faults: list[Fault]
    warnings: list[str]
    statistics: Statistics
    digests: dict[bytes, str]  # digest of an image file -> its path


@dataclass
class Report:
    """Result of `check`; `ok` if there is no fault."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    statistics: dict[str, Statistics] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.faults

    def print(self, console: "Console | None" = None) -> None:
        from rich.console import Console
        from rich.markup import escape

        console = console or Console()
        for name, statistics in self.statistics.items():
            statistics.print(console, name)
        for warning in self.warnings:
            console.print(f"[yellow]warning[/] {escape(warning)}", soft_wrap=True)
        for kind, count in Counter(fault.kind for fault in self.faults).items():
            console.print(f"[bold red]{kind}: {count}[/]")
            for fault in [fault for fault in self.faults if fault.kind == kind][:SHOWN]:
                console.print(f"  {escape(f'[{fault.dataset}] {fault.message}')}", soft_wrap=True)
            if count > SHOWN:
                console.print(f"  … and {count - SHOWN} more")
        console.print("[green]no faults[/]" if self.ok else f"[bold red]{len(self.faults)} faults[/]")


class Look(NamedTuple):
    """Result of reading one image."""

    fault: Fault | None
    digest: bytes | None  # of the file
    size_hw: tuple[int, int] | None


def look_at(path: str | Path, name: str) -> Look:
    """Read an image of the data set `name`."""
    try:
        size_hw = tuple(read_image(path).shape[1:])
    except (OSError, ValueError) as error:
        return Look(Fault(kind_of(error), name, str(path), str(error)), None, None)
    return Look(None, hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest(), size_hw)


def kind_of(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing file"
    return "RGB mask" if isinstance(error, MaskModeError) else "unreadable file"


def in_threads(action: Callable, items: Iterable, num_threads: int | None) -> list:
    """Results of the action in order. Decoding releases the GIL, so threads use all cores."""
    with ThreadPoolExecutor(num_threads or min(os.cpu_count() or 1, 16)) as pool:
        return list(pool.map(action, items))


def duplicate_ids(paths: Iterable[tuple[object, str]], name: str) -> list[Fault]:
    """A fault for every id that occurs more than once; `paths` are (id, path) of all images."""
    path_of = dict(paths := list(paths))
    return [
        Fault("duplicate id", name, path_of[id], f"{path_of[id]}: id {id} is listed {count} times; list it once")
        for id, count in Counter(id for id, _ in paths).items()
        if count > 1
    ]


def overlaps(digests: Mapping[str, Mapping[bytes, str]]) -> list[Fault]:
    """A fault for every image whose content is also in the data set `train`; val and test may be the same data set."""
    trained = digests.get("train", {})
    return [
        Fault(
            f"train/{name} overlap",
            name,
            path,
            f"{path} is the same image as {trained[digest]} in train; remove it from one of the two",
        )
        for name, paths in digests.items()
        if name != "train"
        for digest, path in paths.items()
        if digest in trained
    ]


def print_sizes(console: "Console", sizes_hw: Iterable[tuple[int, int]]) -> None:
    """One line about the sizes of the images, if there are images."""
    if sizes := sorted(sizes_hw):
        heights, widths = zip(*sizes, strict=True)
        console.print(
            f"sizes: {len(sizes)} different; width {min(widths)} to {max(widths)}, "
            f"height {min(heights)} to {max(heights)}"
        )
