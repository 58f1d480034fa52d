"""A cache of decoded files as memory-mapped arrays. A crop reads only its own pixels."""

import contextlib
import hashlib
import os
import struct
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xseg.data.sample import Path_

_RULE = 2  # increase it when decoding changes: entries with another rule are written again


class DecodedCache:
    """A folder with one entry per requested file: the array, then the size and the modification time of the file.

    An entry is written under another name and then renamed. Several workers and ranks may therefore write an entry at
    the same time, a killed process leaves no incomplete entry, and an open entry stays valid when it is replaced. An
    entry is written again if the size or time of its source differs. The cache needs the decoded size on disk, 25 GB
    for the training images of Cityscapes.
    """

    def __init__(self, folder: Path_):
        self.folder = Path(folder)

    def get(self, path: Path_, kind: bytes, decode: Callable[[], Tensor]) -> Tensor:
        """The result of `decode()` for the file at `path`. Changes of the tensor do not change the entry.

        Args:
            kind: names the result; each kind of result of a file has its own entry.

        Raises:
            OSError: the entry cannot be written; the message names the folder.

        Errors of `decode` are passed on, and no entry is written.
        """
        try:
            source = os.stat(path)
        except OSError:
            return decode()  # raises the error about the file
        name = hashlib.blake2b(os.fsencode(os.path.abspath(path)) + b"\0" + kind, digest_size=16).hexdigest()
        entry, stamp = self.folder / f"{name}.npy", struct.pack("<qqq", _RULE, source.st_size, source.st_mtime_ns)
        values = _open(entry, stamp)
        if values is None:
            decoded = decode()
            self._write(entry, decoded.numpy(), stamp)
            return decoded
        return torch.from_numpy(values)

    def _write(self, entry: Path, values: np.ndarray, stamp: bytes) -> None:
        part = entry.with_suffix(f".{uuid.uuid4().hex}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(part, "xb") as file:
                np.save(file, values)
                file.write(stamp)
            os.replace(part, entry)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise OSError(
                f"cache {self.folder}: {values.nbytes / 2**20:.1f} MiB cannot be written ({error}); "
                "free space, choose another folder, or leave cache out"
            ) from error


def _open(entry: Path, stamp: bytes) -> np.ndarray | None:
    """The array of an entry that ends with this stamp; None if it is missing, incomplete or of another source."""
    try:
        with open(entry, "rb") as file:
            file.seek(-len(stamp), os.SEEK_END)
            if file.read() != stamp:
                return None
        return np.load(entry, mmap_mode="c")  # copy on write: pages are read on access and copied when changed
    except (OSError, ValueError):
        return None
