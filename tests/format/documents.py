"""What does a sound metadata document look like, for tests to change?"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chunkstore.format.data_type import CORE_NAMES
from chunkstore.format.metadata import ArrayMetadata, parse_node

LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
BIG = {"name": "bytes", "configuration": {"endian": "big"}}
CRC32C = {"name": "crc32c"}
GZIP = {"name": "gzip", "configuration": {"level": 1}}
ZSTD = {"name": "zstd", "configuration": {"level": 1, "checksum": True}}
BLOSC = {
    "name": "blosc",
    "configuration": {
        "cname": "lz4",
        "clevel": 5,
        "shuffle": "shuffle",
        "typesize": 4,
        "blocksize": 0,
    },
}


def document(**changes: Any) -> dict[str, Any]:
    """Return the zarr.json of an array, with some keys changed."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [10, 3],
        "data_type": "float32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 3]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0,
        "codecs": [LITTLE, BLOSC],
        "attributes": {},
    } | changes


def without(*keys: str) -> dict[str, Any]:
    """Return the zarr.json of an array that lacks some keys."""
    return {key: value for key, value in document().items() if key not in keys}


def sharded(**changes: Any) -> dict[str, Any]:
    """Return a sharding codec for the array of `document`, with some options changed."""
    options = {
        "chunk_shape": [2, 3],
        "codecs": [LITTLE, BLOSC],
        "index_codecs": [LITTLE, CRC32C],
        "index_location": "end",
    }
    return {"name": "sharding_indexed", "configuration": options | changes}


def v2_document(**changes: Any) -> dict[str, Any]:
    """Return the .zarray of an array, with some keys changed."""
    return {
        "zarr_format": 2,
        "shape": [10, 3],
        "chunks": [4, 3],
        "dtype": "<f4",
        "compressor": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
        "fill_value": 0.0,
        "order": "C",
        "filters": None,
    } | changes


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def parse(**changes: Any) -> ArrayMetadata:
    """Parse the zarr.json of an array, with some keys changed."""
    node = parse_node(as_json(document(**changes)))
    assert isinstance(node, ArrayMetadata)
    return node


def any_bits(shape: tuple[int, ...], dtype: np.dtype[Any], seed: int) -> np.ndarray[Any, Any]:
    """Return an array whose bytes are random: NaN payloads, subnormal numbers and all."""
    rng = np.random.default_rng(seed)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    nbytes = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(rng.bytes(nbytes), dtype).reshape(shape).copy()


def core_dtypes() -> st.SearchStrategy[np.dtype[Any]]:
    return st.sampled_from([np.dtype(name) for name in CORE_NAMES])


@st.composite
def chunks(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Draw chunks: core dtype, up to four axes, any bits, often compressible."""
    dtype = draw(core_dtypes())
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=6))
    chunk = any_bits(shape, dtype, draw(st.integers(0, 99)))
    if draw(st.booleans()) and chunk.ndim:
        chunk[...] = chunk[:1]
    return chunk


def fill_values(dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    """Draw scalars of a dtype with any bits."""
    return st.integers(0, 1 << 32).map(lambda seed: any_bits((1,), dtype, seed)[0]) | (
        st.just(dtype.type(0))
    )
