"""Folders as bcolz writes them, made by hand: every byte is the test's own."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np
from numcodecs import blosc

if TYPE_CHECKING:
    from pathlib import Path

CODEC_NUMBERS = {"blosclz": 0, "lz4": 1, "snappy": 2, "zlib": 3, "zstd": 4}
SHUFFLES = {"none": 0, "byte": 1, "bit": 2}


def chunk_file(frame: bytes) -> bytes:
    """Return a frame behind the header of a chunk file."""
    return struct.pack("<4sB3xq", b"blpk", 1, 1) + frame


def blosc_frame(data: np.ndarray, *, codec="lz4", level=5, shuffle="byte", block_nbytes=0) -> bytes:
    """Return a frame as c-blosc makes it."""
    return blosc.compress(data, codec.encode(), level, SHUFFLES[shuffle], block_nbytes)


def shuffled(block: bytes, typesize: int, shuffle: str) -> bytes:
    """Return a block as Blosc orders its bytes or bits before compressing."""
    num = len(block) // typesize
    body, tail = block[: num * typesize], block[num * typesize :]
    elements = np.frombuffer(body, np.uint8).reshape(num, typesize)
    if shuffle == "byte":
        return elements.T.tobytes() + tail
    if shuffle == "bit" and num % 8 == 0:
        bits = np.unpackbits(elements, axis=1, bitorder="little")
        return np.packbits(bits.T, axis=1, bitorder="little").tobytes() + tail
    return block


def built_frame(
    data: bytes, *, typesize: int, block_nbytes: int, codec="snappy", shuffle="byte", split=True
) -> bytes:
    """Return a frame put together stream by stream, as no library here can for snappy."""
    streams = []
    for start in range(0, len(data), block_nbytes):
        block = shuffled(data[start : start + block_nbytes], typesize, shuffle)
        is_whole = len(block) == block_nbytes
        is_split = split and typesize <= 16 and block_nbytes // typesize >= 128 and is_whole
        size = len(block) // (typesize if is_split else 1)
        parts = [block[i : i + size] for i in range(0, len(block), size)]
        streams.append([_stored(part, codec) for part in parts])
    position = 16 + 4 * len(streams)
    starts, body = [], b""
    for parts in streams:
        starts.append(position + len(body))
        body += b"".join(struct.pack("<i", len(part)) + part for part in parts)
    flags = CODEC_NUMBERS[codec] << 5 | {"none": 0, "byte": 1, "bit": 4}[shuffle]
    flags |= 0 if split else 0x10
    total = position + len(body)
    if total > len(data) + 16:
        # Blosc gives up and copies.
        return (
            struct.pack("<BBBBIII", 2, 1, 2, typesize, len(data), block_nbytes, len(data) + 16)
            + data
        )
    head = struct.pack("<BBBBIII", 2, 1, flags, typesize, len(data), block_nbytes, total)
    return head + struct.pack(f"<{len(starts)}i", *starts) + body


def _stored(part: bytes, codec: str) -> bytes:
    packed = {
        "snappy": lambda: bytes(cramjam.snappy.compress_raw(part)),
        "lz4": lambda: bytes(cramjam.lz4.compress_block(part, store_size=False)),
    }[codec]()
    return packed if len(packed) < len(part) else part


def write_carray(
    folder: Path,
    array: np.ndarray,
    *,
    chunk_length: int = 10,
    attributes: dict[str, Any] | None = None,
    frame=blosc_frame,
    storage: dict[str, Any] | None = None,
) -> Path:
    """Write a folder with a carray and return it."""
    (folder / "meta").mkdir(parents=True)
    (folder / "data").mkdir()
    sizes = {"shape": list(array.shape), "nbytes": array.nbytes, "cbytes": 16384}
    (folder / "meta" / "sizes").write_text(json.dumps(sizes) + "\n")
    document = {
        "dtype": str(array.dtype),
        "cparams": {"clevel": 5, "shuffle": 1, "cname": "lz4", "quantize": 0},
        "chunklen": chunk_length,
        "expectedlen": len(array),
        "dflt": 0,
    }
    (folder / "meta" / "storage").write_text(json.dumps(document | (storage or {})) + "\n")
    (folder / "__attrs__").write_text(json.dumps(attributes or {}) + "\n")
    for i in range(0, len(array), chunk_length):
        part = np.ascontiguousarray(array[i : i + chunk_length])
        raw = chunk_file(frame(part))
        (folder / "data" / f"__{i // chunk_length}.blp").write_bytes(raw)
    return folder


def write_ctable(folder: Path, columns: dict[str, np.ndarray], **options: Any) -> Path:
    """Write a folder with a ctable and return it."""
    folder.mkdir(parents=True)
    (folder / "__rootdirs__").write_text(json.dumps({"names": list(columns)}) + "\n")
    (folder / "__attrs__").write_text("{}\n")
    for name, array in columns.items():
        write_carray(folder / name, array, **options)
    return folder


def images(num_samples: int, shape=(3, 4), seed=0, dtype=np.uint8) -> np.ndarray:
    """Return small integers, which compress."""
    rng = np.random.Generator(np.random.Philox(seed))
    return rng.integers(0, 4, (num_samples, *shape)).astype(dtype)
