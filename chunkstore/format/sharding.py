"""How are the inner chunks of a shard found and decoded?

Source: zarr v3 codec "sharding_indexed" version 1.0. A shard is one entry: inner chunks in any
order, gaps allowed, and an index of ``(offset, nbytes)`` pairs with a CRC-32C. Shards are read,
never written: one entry a chunk serves a zip better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import CorruptionError, FormatError, UnsupportedError
from chunkstore.format.codecs import CodecChain, check_options, parse_codecs
from chunkstore.format.grid import ChunkGrid
from chunkstore.format.stream import Crc32cCodec

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ABSENT = (1 << 64) - 1
_SLOT_NBYTES = 16


@dataclass(frozen=True)
class ShardingCodec:
    """Inner chunks and their index.

    Attributes
    ----------
    grid
        Of the inner chunks in a shard.
    inner
        Codecs of an inner chunk.
    has_checksum
        Whether a CRC-32C follows the index.
    is_index_first
        Whether the index stands in front of the chunks.
    index_endian
        Byte order of the index.
    fill_value
        Value of inner chunks that are absent.
    """

    grid: ChunkGrid
    inner: CodecChain
    has_checksum: bool
    is_index_first: bool
    index_endian: str
    fill_value: Any

    @property
    def _index_nbytes(self) -> int:
        return self.grid.num_chunks * _SLOT_NBYTES + (4 if self.has_checksum else 0)

    def decode_into(self, shard: bytes | memoryview, out: NDArray[Any]) -> None:
        """Fill ``out``, shape of the shard, from the shard's bytes.

        Raises
        ------
        CorruptionError
            The index does not fit the shard, or an inner chunk is damaged.
        """
        view = memoryview(shard).cast("B")
        slots = self._read_index(view)
        chunk = np.zeros(self.grid.chunk_shape, out.dtype)
        for flat, (offset, nbytes) in enumerate(slots.tolist()):
            place = tuple(
                slice(i * c, (i + 1) * c)
                for i, c in zip(self.grid.coords(flat), self.grid.chunk_shape, strict=True)
            )
            if offset == _ABSENT and nbytes == _ABSENT:
                out[place] = self.fill_value
                continue
            self._check_slot(flat, offset, nbytes, len(view))
            try:
                self.inner.decode_into(view[offset : offset + nbytes], chunk)
            except CorruptionError as error:
                raise CorruptionError(f"inner chunk {flat} of the shard: {error.message}") from None
            out[place] = chunk

    def _read_index(self, view: memoryview) -> NDArray[np.uint64]:
        size = self._index_nbytes
        if len(view) < size:
            raise CorruptionError(f"the shard has {len(view)} bytes, its index alone takes {size}")
        raw: Any = view[:size] if self.is_index_first else view[len(view) - size :]
        if self.has_checksum:
            raw = Crc32cCodec().decode(raw, size)
        order = "<" if self.index_endian == "little" else ">"
        return np.frombuffer(bytes(raw), f"{order}u8").reshape(-1, 2)

    def _check_slot(self, flat: int, offset: int, nbytes: int, shard_nbytes: int) -> None:
        first = self._index_nbytes if self.is_index_first else 0
        last = shard_nbytes if self.is_index_first else shard_nbytes - self._index_nbytes
        if not first <= offset <= offset + nbytes <= last:
            raise CorruptionError(
                f"inner chunk {flat} of the shard takes bytes {offset} to {offset + nbytes}, "
                f"outside its data, {first} to {last}"
            )

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the largest shard that is read: full inner chunks, and gaps as large again."""
        one = nbytes // max(1, self.grid.num_chunks)
        return 2 * self.grid.num_chunks * self.inner.max_encoded_nbytes(one) + self._index_nbytes

    def to_json(self) -> dict[str, Any]:
        """Return the codec as zarr v3 JSON."""
        index: list[dict[str, Any]] = [
            {"name": "bytes", "configuration": {"endian": self.index_endian}}
        ]
        if self.has_checksum:
            index.append({"name": "crc32c"})
        return {
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": list(self.grid.chunk_shape),
                "codecs": self.inner.to_json(),
                "index_codecs": index,
                "index_location": "start" if self.is_index_first else "end",
            },
        }


def parse_sharding(
    options: dict[str, Any],
    *,
    dtype: np.dtype[Any],
    shard_shape: tuple[int, ...],
    fill_value: Any,
) -> ShardingCodec:
    """Return the codec of a ``sharding_indexed`` configuration.

    Raises
    ------
    FormatError, UnsupportedError
        As `chunkstore.format.codecs.parse_codecs`.
    """
    check_options(
        "sharding_indexed", options, ("chunk_shape", "codecs", "index_codecs", "index_location")
    )
    shape = options.get("chunk_shape")
    if (
        not isinstance(shape, list)
        or len(shape) != len(shard_shape)
        or any(type(n) is not int or n < 1 for n in shape)
        or any(whole % part for whole, part in zip(shard_shape, shape, strict=True))
    ):
        raise FormatError(
            f"sharding_indexed has chunk_shape {shape!r}; each must divide {shard_shape}"
        )
    location = options.get("index_location", "end")
    if location not in ("start", "end"):
        raise FormatError(f"index_location is {location!r}, allowed are 'start' and 'end'")
    inner = parse_codecs(
        options.get("codecs"), dtype=dtype, chunk_shape=tuple(shape), fill_value=fill_value
    )
    if inner.sharding is not None:
        raise UnsupportedError("shards inside shards (sharding_indexed) are not read")
    index = parse_codecs(
        options.get("index_codecs"),
        dtype=np.dtype(np.uint64),
        chunk_shape=(math.prod(w // p for w, p in zip(shard_shape, shape, strict=True)), 2),
        fill_value=0,
    )
    if index.compressor is not None or index.others not in ((), (Crc32cCodec(),)):
        raise UnsupportedError(f"a compressed shard index ({index}) is not read")
    return ShardingCodec(
        ChunkGrid(shard_shape, tuple(shape)),
        inner,
        bool(index.others),
        location == "start",
        index.endian or "little",
        fill_value,
    )
