"""Decoded files kept as memory-mapped arrays, of which a crop reads its own pixels only."""

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

_RULE = 2  # raise it when decoding changes: entries written by another rule are written anew


class DecodedCache:
    """A folder with one entry for every file that was asked for: its array, then the file's size and time of change.

    Entries are written under another name and renamed. So several workers and ranks may write one at once, a process
    that is killed leaves no torn one, and what has been opened stays whole when it is replaced. An entry whose source
    has another size or time is written anew. It takes the decoded size: 25 GB for Cityscapes' training images.
    """

    def __init__(self, folder: Path_):
        self.folder = Path(folder)

    def get(self, path: Path_, kind: bytes, decode: Callable[[], Tensor]) -> Tensor:
        """What `decode()` gives for the file at `path`; changes of the tensor do not reach the entry.

        Args:
            kind: what is made of the file; an entry each.

        Raises:
            OSError: the entry cannot be written; the message names the folder. And what `decode` raises: then nothing
                is kept.
        """
        try:
            source = os.stat(path)
        except OSError:
            return decode()  # which says what is wrong
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
                "free space, name another folder, or leave cache out"
            ) from error


def _open(entry: Path, stamp: bytes) -> np.ndarray | None:
    """The array of an entry with this stamp behind it; None where it is missing, torn or of another source."""
    try:
        with open(entry, "rb") as file:
            file.seek(-len(stamp), os.SEEK_END)
            if file.read() != stamp:
                return None
        return np.load(entry, mmap_mode="c")  # pages are read when touched, and copied when changed
    except (OSError, ValueError):
        return None
