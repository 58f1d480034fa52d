"""Read TensorFlow checkpoints (format 2, "tensor bundles") without TensorFlow.

A checkpoint consists of an index, `PREFIX.index`, and shards, `PREFIX.data-00000-of-0000N`. The index is a LevelDB
table. Its values are protocol buffers with the shard, offset, type, shape and checksum of each tensor. Format:
`tensorflow/core/util/tensor_bundle`, `core/protobuf/tensor_bundle.proto` and LevelDB's `doc/table_format.md`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

MAGIC = 0xDB4775248B80FB57  # the last eight bytes of a table
FOOTER_SIZE = 48  # bytes
FIXED_SIZES = {1: 8, 5: 4}  # wire type of a protocol buffer field -> bytes
BFLOAT16 = 14
TYPES = {  # tensorflow/core/framework/types.proto; other types, such as strings and resources, hold no weights
    1: np.float32,
    2: np.float64,
    3: np.int32,
    9: np.int64,
    10: np.bool_,
    BFLOAT16: np.uint16,
    19: np.float16,
}


class Entry(NamedTuple):
    """Location, type and shape of a tensor."""

    type: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int  # bytes
    checksum: int  # CRC-32C of the bytes, masked


def read_tf_checkpoint(prefix: str | Path) -> dict[str, np.ndarray]:
    """Read all numeric tensors of a checkpoint as name -> values, and verify their checksums.

    Args:
        prefix: TensorFlow's name of the checkpoint, "folder/model.ckpt", or the path of its index or of a shard.

    Raises FileNotFoundError for a missing index or shard, ValueError for a damaged file or one of another format.
    """
    prefix = Path(re.sub(r"\.(index|data-\d{5}-of-\d{5})$", "", str(prefix)))
    index = Path(f"{prefix}.index")
    if not index.is_file():
        raise FileNotFoundError(f"{index}: no such file; a TensorFlow checkpoint is {prefix.name}.index and its shards")
    num_shards, entries = read_index(index)
    shards = [Path(f"{prefix}.data-{k:05d}-of-{num_shards:05d}") for k in range(num_shards)]
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise FileNotFoundError(f"{prefix}: shard {', '.join(missing)} is missing beside {index.name}")
    data = [np.memmap(shard, np.uint8, "r") if shard.stat().st_size else np.empty(0, np.uint8) for shard in shards]
    return {
        name: _tensor(name, entry, data[entry.shard], shards[entry.shard])
        for name, entry in entries.items()
        if entry.type in TYPES
    }


def read_index(path: Path) -> tuple[int, dict[str, Entry]]:
    """Number of shards, and tensor name -> entry."""
    table = path.read_bytes()
    if len(table) < FOOTER_SIZE or struct.unpack("<Q", table[-8:])[0] != MAGIC:
        raise ValueError(f"{path}: is not the index of a TensorFlow checkpoint, or is cut off; fetch it again")
    try:
        return _entries(table, path)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is damaged ({error}); fetch it again") from None


def _entries(table: bytes, path: Path) -> tuple[int, dict[str, Entry]]:
    footer = Cursor(table[-FOOTER_SIZE:-8])
    _ = dict(_block(table, footer, path))  # skip the meta index, which is empty in bundles
    num_shards, entries = 0, {}
    for _, handle in _block(table, footer, path):
        for key, value in _block(table, Cursor(handle), path):
            fields = dict(_fields(value))
            if key == b"":  # BundleHeaderProto
                num_shards = fields.get(1, 0)
                if fields.get(2, 0) != 0:
                    raise ValueError(f"{path}: was written on a big-endian machine, which xseg does not read")
            elif 7 in fields:
                raise ValueError(f"{path}: tensor {key.decode()} is stored in slices, which xseg does not read")
            else:
                entries[key.decode()] = _entry(fields)
    if not 0 < num_shards < 100_000 or any(entry.shard >= num_shards for entry in entries.values()):
        raise ValueError(f"{path}: is damaged (it claims {num_shards} shards); fetch it again")
    return num_shards, entries


def _entry(fields: dict) -> Entry:
    """Decode a BundleEntryProto from its fields."""
    dims = [dict(_fields(value)) for tag, value in _fields(fields.get(2, b"")) if tag == 2]
    shape = tuple(dim.get(1, 0) for dim in dims)
    return Entry(*(fields.get(1, 0), shape, fields.get(3, 0), fields.get(4, 0), fields.get(5, 0), fields.get(6, 0)))


def _tensor(name: str, entry: Entry, shard: np.ndarray, path: Path) -> np.ndarray:
    dtype = np.dtype(TYPES[entry.type])
    count = 1
    for size in entry.shape:
        count *= size  # Python's integers do not overflow
    if count * dtype.itemsize != entry.size:
        raise ValueError(f"{path}: tensor {name} {entry.shape} should take {count * dtype.itemsize} bytes, the index "
                         f"says {entry.size}; the checkpoint is damaged")  # fmt: skip
    if entry.offset + entry.size > len(shard):
        raise ValueError(f"{path}: is cut off (tensor {name} ends at byte {entry.offset + entry.size}, the file at "
                         f"{len(shard)}); fetch it again")  # fmt: skip
    raw = np.array(shard[entry.offset : entry.offset + entry.size])
    if masked(crc32c(raw)) != entry.checksum:
        raise ValueError(f"{path}: tensor {name} is damaged (its checksum differs); fetch the file again")
    values = raw.view(dtype).reshape(entry.shape)
    if entry.type == BFLOAT16:  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values


def _block(table: bytes, handle: Cursor, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the block at (offset, size). A stored key omits the prefix it shares with the key before."""
    offset, size = handle.varint(), handle.varint()
    block, trailer = table[offset : offset + size], table[offset + size : offset + size + 5]
    if len(block) < size or len(trailer) < 5:
        raise ValueError(f"{path}: is damaged (a block ends after the end of the file); fetch it again")
    if trailer[0] != 0:
        raise ValueError(f"{path}: its index is compressed (type {trailer[0]}), which TensorFlow itself never writes")
    if masked(crc32c(np.frombuffer(block + trailer[:1], np.uint8))) != struct.unpack("<I", trailer[1:])[0]:
        raise ValueError(f"{path}: is damaged (a block's checksum differs); fetch it again")
    num_restarts = struct.unpack("<I", block[-4:])[0]
    cursor, key = Cursor(block[: size - 4 * (num_restarts + 1)]), b""
    while not cursor.done:
        shared, fresh, length = cursor.varint(), cursor.varint(), cursor.varint()
        key = key[:shared] + cursor.take(fresh)
        yield key, cursor.take(length)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field of a protocol buffer."""
    cursor = Cursor(message)
    while not cursor.done:
        number, kind = divmod(cursor.varint(), 8)
        if kind == 0:
            yield number, cursor.varint()
        elif kind in FIXED_SIZES:
            yield number, int.from_bytes(cursor.take(FIXED_SIZES[kind]), "little")
        else:
            yield number, cursor.take(cursor.varint())


class Cursor:
    """Read bytes from front to back. Raises IndexError at the end."""

    def __init__(self, data: bytes):
        self.data, self.position = data, 0

    @property
    def done(self) -> bool:
        return self.position >= len(self.data)

    def take(self, count: int) -> bytes:
        self.position += count
        if self.position > len(self.data):
            raise IndexError("a record ends after the end of its block")
        return self.data[self.position - count : self.position]

    def varint(self) -> int:
        """Read an integer stored in groups of seven bits, lowest group first."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise IndexError("an integer has more than ten bytes")


def masked(crc: int) -> int:
    """Mask a CRC as TensorFlow and LevelDB store it: rotate it and add a constant, so that a CRC over CRCs is safe."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: np.ndarray) -> int:
    """CRC-32C (Castagnoli) of bytes. Long data is split into equal lanes, which are processed together and joined."""
    lanes = 1 << max(0, min(14, len(data).bit_length() - 6))
    length = len(data) // lanes
    grid = data[: lanes * length].reshape(lanes, length)
    state = np.zeros(lanes, np.uint32)
    state[0] = 0xFFFFFFFF  # initial value of the CRC; the other lanes start at 0 because CRCs are joined linearly
    columns = np.ascontiguousarray(grid.T)
    for column in columns:
        state = TABLE[(state ^ column) & 255] ^ (state >> np.uint32(8))
    shift = length  # bytes of the right lane of a pair
    while len(state) > 1:
        state = _append_zeros(state[::2], shift) ^ state[1::2]
        shift *= 2
    crc = int(state[0])
    for byte in data[lanes * length :]:
        crc = int(TABLE[(crc ^ int(byte)) & 255]) ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _append_zeros(states: np.ndarray, count: int) -> np.ndarray:
    """CRC states after `count` further zero bytes: a linear map of 32 bits, applied by repeated squaring."""
    matrix = np.uint32(1) << np.arange(32, dtype=np.uint32)  # row k: image of bit k
    matrix = TABLE[matrix & 255] ^ (matrix >> np.uint32(8))  # one zero byte
    while count:
        if count & 1:
            states = _apply(matrix, states)
        matrix = _apply(matrix, matrix)
        count >>= 1
    return states


def _apply(matrix: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Product of a 32 x 32 bit matrix and each state, modulo 2."""
    bits = (states[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    return np.bitwise_xor.reduce(np.where(bits.astype(bool), matrix, np.uint32(0)), axis=1)


def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> np.uint32(1)) ^ np.uint32(0x82F63B78), table >> np.uint32(1))
    return table.astype(np.uint32)


TABLE = _crc_table()
