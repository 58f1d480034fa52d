"""What a check of data finds, and how it is shown; the checks themselves stand by task beside."""

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
    kind: str  # "missing file", "unreadable file", "RGB mask", "size mismatch", "label out of range", …
    dataset: str
    path: str
    message: str  # names file and remedy


class Statistics(Protocol):
    """What the readable files of one data set hold."""

    def print(self, console: "Console", name: str) -> None: ...


class Findings(NamedTuple):
    """What one data set showed."""

    faults: list[Fault]
    warnings: list[str]
    statistics: Statistics
    digests: dict[bytes, str]  # content of an image -> its path


@dataclass
class Report:
    """What `check` found; `ok` where there is no fault."""

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
    """What opening one image showed."""

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
    """The action's results in order. Decoding releases the GIL, so threads use all cores."""
    with ThreadPoolExecutor(num_threads or min(os.cpu_count() or 1, 16)) as pool:
        return list(pool.map(action, items))


def duplicate_ids(paths: Iterable[tuple[object, str]], name: str) -> list[Fault]:
    """Of (id, path) of every image."""
    path_of = dict(paths := list(paths))
    return [
        Fault("duplicate id", name, path_of[id], f"{path_of[id]}: id {id} is listed {count} times; list it once")
        for id, count in Counter(id for id, _ in paths).items()
        if count > 1
    ]


def overlaps(digests: Mapping[str, Mapping[bytes, str]]) -> list[Fault]:
    """Images whose content is also in the data set named train, under whatever name; val and test may be one set."""
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
    """One line about the sizes of the images, where there are any."""
    if sizes := sorted(sizes_hw):
        heights, widths = zip(*sizes, strict=True)
        console.print(
            f"sizes: {len(sizes)} different; width {min(widths)} to {max(widths)}, "
            f"height {min(heights)} to {max(heights)}"
        )
