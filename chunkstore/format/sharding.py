"""How are the inner chunks of a shard found and decoded?

Source: zarr v3 codec "sharding_indexed" version 1.0. A shard is one entry: inner chunks in any
order, gaps allowed, and an index of ``(offset, nbytes)`` pairs with a CRC-32C. Shards are read,
never written: one entry a chunk serves a zip better.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import CorruptionError
from chunkstore.format.crc32c import CRC_NBYTES, Crc32cCodec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.format.chain import CodecChain, Endian
    from chunkstore.format.codec import Encoded
    from chunkstore.format.grid import ChunkGrid

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
        Value of inner chunks that are absent: the array's.
    """

    grid: ChunkGrid
    inner: CodecChain
    has_checksum: bool
    is_index_first: bool
    index_endian: Endian
    # NaN differs from itself: whether the arrays are equal is for them to say.
    fill_value: Any = field(compare=False)

    @property
    def _index_nbytes(self) -> int:
        return self.grid.num_chunks * _SLOT_NBYTES + (CRC_NBYTES if self.has_checksum else 0)

    def decode_into(self, shard: Encoded, out: NDArray[Any]) -> None:
        """Fill ``out`` from a shard's bytes.

        Parameters
        ----------
        shard
            All of it. Not kept.
        out
            C-contiguous, writable, of the shard's shape and the array's dtype.

        Raises
        ------
        CorruptionError
            The index does not fit the shard, or an inner chunk is damaged.
        """
        if out.shape != self.grid.shape:
            raise ValueError(f"out must have the shard's shape {self.grid.shape}, got {out.shape}")
        view = memoryview(shard)
        slots = self._read_index(view)
        self._check_slots(slots, len(view))
        scratch: NDArray[Any] | None = None
        for flat, (offset, nbytes) in enumerate(slots.tolist()):
            target = out[self._place(flat)]
            if offset == _ABSENT:
                target[...] = self.fill_value
                continue
            chunk = target
            if not target.flags.c_contiguous:
                if scratch is None:
                    scratch = np.zeros(self.grid.chunk_shape, out.dtype)
                chunk = scratch
            try:
                self.inner.decode_into(view[offset : offset + nbytes], chunk)
            except CorruptionError as error:
                raise CorruptionError(f"inner chunk {flat} of the shard: {error.message}") from None
            if chunk is not target:
                target[...] = chunk

    def _place(self, flat: int) -> tuple[Any, ...]:
        """Return where an inner chunk stands in the shard."""
        place = tuple(
            slice(i * n, (i + 1) * n)
            for i, n in zip(self.grid.coords(flat), self.grid.chunk_shape, strict=True)
        )
        # The ellipsis keeps the inner chunk of an array without axes an array.
        return (*place, ...)

    def _read_index(self, view: memoryview) -> NDArray[np.uint64]:
        """Return the slots, shape ``(inner chunks, 2)``: offset and nbytes."""
        size = self._index_nbytes
        if len(view) < size:
            raise CorruptionError(
                f"shard is cut short: {len(view)} bytes, its index alone takes {size}"
            )
        raw: Encoded = view[:size] if self.is_index_first else view[len(view) - size :]
        if self.has_checksum:
            try:
                raw = Crc32cCodec().decode(raw, limit=size)
            except CorruptionError as error:
                raise CorruptionError(f"index of the shard: {error.message}") from None
        order = "<" if self.index_endian == "little" else ">"
        return np.frombuffer(raw, f"{order}u8").astype(np.uint64).reshape(-1, 2)

    def _check_slots(self, slots: NDArray[np.uint64], shard_nbytes: int) -> None:
        """Raise unless each slot is absent or inside the shard's data."""
        start = self._index_nbytes if self.is_index_first else 0
        stop = shard_nbytes if self.is_index_first else shard_nbytes - self._index_nbytes
        offset, nbytes = slots[:, 0], slots[:, 1]
        is_absent = (offset == _ABSENT) & (nbytes == _ABSENT)
        # Compared from the far end, so that no sum can wrap.
        is_inside = (offset >= start) & (offset <= stop) & (nbytes <= np.uint64(stop) - offset)
        wrong = np.flatnonzero(~(is_absent | is_inside))
        if len(wrong):
            flat = int(wrong[0])
            raise CorruptionError(
                f"inner chunk {flat} of the shard has offset {offset[flat]} and {nbytes[flat]} "
                f"bytes, outside the shard's data, bytes [{start}, {stop})"
            )

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the largest shard that is read: full inner chunks, and gaps as large again."""
        one = nbytes // self.grid.num_chunks
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
