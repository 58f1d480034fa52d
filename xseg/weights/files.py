"""Read weight files of all supported formats into a dict of tensors. The content decides the format, not the suffix."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xseg.engine import read_checkpoint
from xseg.weights.keras_h5 import read_keras_h5
from xseg.weights.tf_checkpoint import read_tf_checkpoint

MAX_UNPACKED = 8 << 30  # bytes; the largest published archive unpacks to half a gigabyte
SHARD = re.compile(r"(.*)\.(index|data-\d{5}-of-\d{5})")


def read_tensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict]:
    """Read a weight file: (name -> tensor on the CPU, meta). No code in the file is executed.

    Args:
        path: .pth, .safetensors, a Keras .h5, or a TensorFlow checkpoint: its prefix, folder or .tar.gz.

    Raises FileNotFoundError, or ValueError for a damaged, foreign or unsafe file.
    """
    path = Path(path)
    if path.is_dir():
        return _torch(read_tf_checkpoint(_prefix_in(path))), {}
    if Path(f"{path}.index").is_file() or SHARD.fullmatch(path.name):
        return _torch(read_tf_checkpoint(path)), {}
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weight file")
    with open(path, "rb") as file:
        head = file.read(8)
    if head.startswith(b"\x1f\x8b"):
        return _torch(_read_archive(path)), {}
    if head == b"\x89HDF\r\n\x1a\n":
        return _torch(read_keras_h5(path)), {}
    checkpoint = read_checkpoint(path)
    return checkpoint["state_dict"], checkpoint["meta"]


def is_tf_folder(path: Path) -> bool:
    """Whether a folder holds the index of a TensorFlow checkpoint."""
    return path.is_dir() and any(path.glob("*.index"))


def _prefix_in(folder: Path) -> Path:
    indices = sorted(folder.glob("*.index"))
    if not indices:
        raise FileNotFoundError(f"{folder}: holds no TensorFlow checkpoint (no .index file)")
    if len(indices) > 1:
        names = ", ".join(index.stem for index in indices[:8])
        raise ValueError(
            f"{folder}: holds {len(indices)} checkpoints ({names}); give one, as {indices[0].with_suffix('')}"
        )
    return indices[0].with_suffix("")


def _read_archive(path: Path) -> dict[str, np.ndarray]:
    """Read the checkpoint in a .tar.gz. Only index and shards are unpacked, into a temporary folder."""
    unpacked_names: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="xseg-") as folder:
        try:
            with gzip.open(path) as unpacked, tarfile.open(fileobj=_Bounded(unpacked, path), mode="r|") as archive:
                for member in archive:
                    name = Path(member.name).name
                    if member.isfile() and SHARD.fullmatch(name):
                        with open(Path(folder) / name, "wb") as file:
                            shutil.copyfileobj(archive.extractfile(member), file)
                        unpacked_names.add(name)
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, OSError) as error:
            raise ValueError(f"{path}: is cut off or not a .tar.gz file ({error}); fetch it again") from None
        if not any(name.endswith(".index") for name in unpacked_names):
            raise ValueError(f"{path}: holds no TensorFlow checkpoint (no .index file in the archive)")
        try:
            return read_tf_checkpoint(_prefix_in(Path(folder)))
        except FileNotFoundError as error:
            raise ValueError(f"{path}: is incomplete: {Path(str(error)).name}") from None
        except ValueError as error:
            raise ValueError(f"{path}: {str(error).replace(f'{folder}/', '')}") from None


class _Bounded(io.RawIOBase):
    """A stream that raises ValueError once it has given more than MAX_UNPACKED bytes."""

    def __init__(self, stream, path: Path):
        self.stream, self.path, self.left = stream, path, MAX_UNPACKED

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise ValueError(
                f"{self.path}: {os.path.getsize(self.path)} bytes unpack to more than {MAX_UNPACKED >> 30} GB; "
                "refused, because no published weights are that large"
            )
        return data


def _torch(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape)) for name, array in arrays.items()}
