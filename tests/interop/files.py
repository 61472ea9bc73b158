"""Which files do other programs read, and what do they hold?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chunkstore as cs
from tests.store.stores import random_array

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CORE_DTYPES = ("bool", "uint8", "int16", "int64", "float16", "float32", "float64", "complex64")


def plain(count: int) -> dict[str, NDArray[Any]]:
    """Return aligned arrays of several types, one of them in a group."""
    return {
        "x": random_array((200, 4, 3), "uint8", seed=1)[:count],
        "f": random_array((200, 5), "float32", seed=2)[:count],
        "deep/y": np.arange(200)[:count],
    }


SPECS = {
    "x": cs.ArraySpec("uint8", (4, 3), chunk_length=16, codec="lz4", level=5),
    "f": cs.ArraySpec("float32", (5,), chunk_length=32, codec="zstd", shuffle="bit"),
    "deep/y": cs.ArraySpec("int64", chunk_length=64, codec="blosclz"),
}


def created(path: Path) -> dict[str, NDArray[Any]]:
    with cs.create(path, arrays=SPECS, attributes={"classes": ["a", "b"]}) as writer:
        writer.append_mapping(plain(100))
    return plain(100)


def appended(path: Path) -> dict[str, NDArray[Any]]:
    with cs.create(path, arrays=SPECS) as writer:
        writer.append_mapping(plain(30))
        writer.flush()
    for start in range(30, 200, 17):
        with cs.append(path) as writer:
            writer.append_mapping({k: v[start : start + 17] for k, v in plain(200).items()})
            writer.attributes["start"] = start
    return plain(200)


def replaced(path: Path) -> dict[str, NDArray[Any]]:
    arrays = appended(path)
    arrays["f"] = random_array((200, 2), "float64", seed=3)
    arrays["mean"] = np.ones((4, 3))
    with cs.append(path) as writer:
        writer.put("f", arrays["f"], codec="zlib")
        writer.put("mean", arrays["mean"], aligned=False, codec="gzip")
    return arrays


def compacted(path: Path) -> dict[str, NDArray[Any]]:
    arrays = replaced(path)
    cs.compact(path)
    return arrays


def partial_flush(path: Path) -> dict[str, NDArray[Any]]:
    """A file that was flushed several times before it was closed."""
    with cs.create(path, arrays=SPECS) as writer:
        for start in range(0, 200, 40):
            writer.append_mapping({k: v[start : start + 40] for k, v in plain(200).items()})
            writer.flush()
    return plain(200)


def every_dtype(path: Path) -> dict[str, NDArray[Any]]:
    arrays = {dtype: random_array((50, 2), dtype, seed=4) for dtype in CORE_DTYPES}
    cs.save(path, arrays, chunk_nbytes=256)
    return arrays


FILES = {
    f.__name__: f for f in (created, appended, replaced, compacted, partial_flush, every_dtype)
}
