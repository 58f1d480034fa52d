"""`xseg predict`: predict images on disk and write the files of their results."""

from __future__ import annotations

import glob
import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from torch import nn

from xseg.data.read.images import read_image
from xseg.engine import Threads, keep_freed_memory, may_choose
from xseg.run.annotations import Saving

AT_ONCE = 4  # limit of images read ahead, and of results that are still being written
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def find_images(inputs: Sequence[str | os.PathLike]) -> list[Path]:
    """Image files named by paths, folders (without subfolders) and glob patterns: in order, each once."""
    images: dict[str, Path] = {}
    for item in map(str, inputs):
        path = Path(item)
        if path.is_dir():
            matches = [p for p in sorted(path.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]
        elif path.is_file():
            matches = [path]
        else:
            matches = [Path(m) for m in sorted(glob.glob(item, recursive=True)) if Path(m).is_file()]
        if not matches:
            raise FileNotFoundError(
                f"{item}: neither an image, nor a folder with images, nor a pattern that matches any"
            )
        for match in matches:
            images.setdefault(os.path.abspath(match), match)
    return [*images.values()]


def image_files(images: Sequence[Path]) -> list[str]:
    """The path of each image below the images' common folder, with "/"."""
    paths = [Path(os.path.abspath(image)) for image in images]
    common = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(common).as_posix() for path in paths]


def output_names(images: Sequence[Path]) -> list[str]:
    """A unique name for each image: its path below the images' common folder, without the suffix.

    The suffix is kept if two images would otherwise have the same name.
    """
    whole = image_files(images)
    bare = [name.removesuffix(path.suffix) for name, path in zip(whole, images, strict=True)]
    counts, taken = Counter(bare), set(whole)
    return [b if counts[b] == 1 and b not in taken else w for b, w in zip(bare, whole, strict=True)]


def predict(
    model: nn.Module, inputs: Sequence[str | os.PathLike], out: str | os.PathLike, saving: Saving | None = None
) -> Iterator[str]:
    """Predict every image; yield one line per image with the seconds of `model.predict` and a summary.

    While the network computes, the next images are read and the files of the previous results are written (see the
    method `write` of results, and `output_names`). All files are complete at the end. An image that cannot be read gets
    a line with the error, and the others continue; a ValueError at the end tells how many failed.

    Args:
        saving: write files of an annotation tool in place of those of `write`.
    """
    images, out, failed = find_images(inputs), Path(out), 0
    keep_freed_memory()
    names, files = output_names(images), image_files(images)
    writing: deque[Future] = deque()
    written = []
    threads = Threads() if may_choose(model) else None
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for path, name, file, reading in zip(images, names, files, _read_ahead(pool, images), strict=True):
            try:
                image, start = reading.result(), time.perf_counter()
                result = model.predict(image)
            except (ValueError, OSError) as error:
                failed += 1
                yield f"{path}: failed: {error}"
                continue
            seconds = time.perf_counter() - start
            if threads:
                threads.done(image.shape[-2] * image.shape[-1])
            if saving:
                writing.append(pool.submit(saving.write_image, result, name, file, path, out))
            else:
                writing.append(pool.submit(result.write, out, name))
            if len(writing) > AT_ONCE:
                written.append(writing.popleft().result())
            yield f"{path}  {seconds:.2f} s  {result.summary()}"
        written += [future.result() for future in writing]
    if saving:
        saving.write_whole(written, out)
    if failed:
        raise ValueError(f"{failed} of {len(images)} images could not be read; they are named above")


def _read_ahead(pool: ThreadPoolExecutor, images: Sequence[Path]) -> Iterator[Future]:
    """Read every image in order, `AT_ONCE` images ahead."""
    reading: deque[Future] = deque()
    for path in images:
        reading.append(pool.submit(read_image, path))
        if len(reading) > AT_ONCE:
            yield reading.popleft()
    yield from reading
