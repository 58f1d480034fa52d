"""`xseg predict`: masks, coloured masks and overlays of images on disk, or their classes."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import nn

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def find_images(inputs: Sequence[str | os.PathLike]) -> list[Path]:
    """Image files behind files, folders (not their subfolders) and glob patterns, each once, in order."""
    found: dict[Path, None] = {}
    for item in map(str, inputs):
        path = Path(item)
        if path.is_dir():
            matches = [p for p in sorted(path.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]
        elif path.is_file():
            matches = [path]
        else:
            matches = [Path(m) for m in sorted(glob.glob(item, recursive=True)) if Path(m).is_file()]
        if not matches:
            raise FileNotFoundError(f"{item}: no such image, no folder with images, and no pattern that matches any")
        found |= dict.fromkeys(matches)
    return [*found]


def predict(model: nn.Module, inputs: Sequence[str | os.PathLike], out: str | os.PathLike) -> Iterator[str]:
    """Predict every image; yields a line of summary an image, after its files are written (see `write` of results).

    An image that cannot be read is named in its line and does not stop the others; a ValueError at the end tells how
    many there were. Two images of one name in different folders keep their folder's name in front.
    """
    images, out, failed = find_images(inputs), Path(out), 0
    stems = [path.stem for path in images]
    for path in images:
        name = path.stem if stems.count(path.stem) == 1 else f"{path.parent.name}_{path.name.replace('.', '_')}"
        start = time.perf_counter()
        try:
            result = model.predict(path)
        except (ValueError, OSError) as error:
            failed += 1
            yield f"{path}: failed: {error}"
            continue
        result.write(out, name)
        yield f"{path}  {time.perf_counter() - start:.2f} s  {result.summary()}"
    if failed:
        raise ValueError(f"{failed} of {len(images)} images could not be read; they are named above")
