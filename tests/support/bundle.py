"""A writer of TensorFlow checkpoints, so that tests need no TensorFlow. One test reads its files by TensorFlow."""

import struct
from itertools import takewhile
from pathlib import Path

import numpy as np

from xseg.weights.tf_checkpoint import MAGIC, TYPES, crc32c, masked

NUMBERS = {np.dtype(kind): number for number, kind in TYPES.items() if number != 14}


def write_bundle(prefix: Path, arrays: dict[str, np.ndarray], num_shards: int = 1) -> None:
    """Write `prefix`.index and its shards; the tensors go to the shards in turn."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    shards = [bytearray() for _ in range(num_shards)]
    rows = [(b"", field(1, num_shards) + field(3, field(1, 1)))]
    for index, (name, array) in enumerate(sorted(arrays.items())):
        shard, raw = shards[index % num_shards], array.tobytes()
        dims = b"".join(field(2, field(1, size)) for size in array.shape)
        entry = field(1, NUMBERS[array.dtype]) + field(2, dims) + field(3, index % num_shards)
        entry += field(4, len(shard)) + field(5, len(raw)) + checksum(raw)
        rows.append((name.encode(), entry))
        shard += raw
    for index, shard in enumerate(shards):
        Path(f"{prefix}.data-{index:05d}-of-{num_shards:05d}").write_bytes(shard)
    table = bytearray()
    chunks = [rows[start : start + 100] for start in range(0, len(rows), 100)]
    blocks = [(chunk[-1][0], append(table, block(chunk))) for chunk in chunks]
    meta = append(table, block([]))
    index = append(table, block(blocks))
    table += (meta + index).ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    Path(f"{prefix}.index").write_bytes(table)


def block(rows: list[tuple[bytes, bytes]]) -> bytes:
    """Rows without the prefix that a key shares with the key before; every sixteenth key is whole."""
    data, restarts, before = bytearray(), [], b""
    for index, (key, value) in enumerate(rows):
        if index % 16 == 0:
            restarts.append(len(data))
            before = b""
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(key, before, strict=False)))
        data += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    restarts = restarts or [0]
    return bytes(data) + struct.pack(f"<{len(restarts)}I", *restarts) + struct.pack("<I", len(restarts))


def append(table: bytearray, data: bytes) -> bytes:
    """Add a block with its trailer; returns its handle."""
    handle = varint(len(table)) + varint(len(data))
    table += data + b"\0" + struct.pack("<I", masked(crc32c(np.frombuffer(data + b"\0", np.uint8))))
    return handle


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value) if value else b""


def checksum(raw: bytes) -> bytes:
    return varint(6 << 3 | 5) + struct.pack("<I", masked(crc32c(np.frombuffer(raw, np.uint8))))


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
