"""How is an array of zarr-python read as it is, of any format version and store?

An array in a plain `*.zarr.zip` of ours is better opened with `chunkstore.open`: then chunks are
checked, and a missing one is an error, where zarr-python gives the fill value.
"""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import Any

from chunkstore.settings import DEFAULT_CHUNK_NBYTES
from chunkstore.sources.sliced import SlicedSource


class ZarrSource(SlicedSource):
    """A zarr-python Array as a `ChunkSource`; see `SlicedSource`.

    Notes
    -----
    Of a sharded array, inner chunks are read, as many as make about 1 MiB; none lies in two shards
    that are larger than that. The base name of the store and the path in it are part of the
    fingerprint.
    """

    def own_length(self) -> int | None:
        """Return the length of an inner chunk, or of those of a shard that are read together."""
        length = max(1, int(self.array.chunks[0]))
        shards = getattr(self.array, "shards", None)
        if shards is None:
            return length
        in_shard = int(shards[0]) // length
        wanted = DEFAULT_CHUNK_NBYTES // max(self.sample_nbytes * length, 1)
        fitting = (n for n in range(min(wanted, in_shard), 0, -1) if in_shard % n == 0)
        return length * next(fitting, 1)

    def identity(self) -> str:
        """Return the base name of the store, the path in it and the grid."""
        return repr(
            (
                _store_name(self.array.store),
                self.array.path,
                self.array.chunks,
                getattr(self.array, "shards", None),
            )
        )

    def temporary_nbytes(self) -> int:
        """Return the bytes of the slice, and of the chunks that zarr decodes at a time."""
        import zarr

        chunks: tuple[int, ...] = self.array.chunks
        inside = math.prod(-(-n // c) for n, c in zip(self.shape[1:], chunks[1:], strict=True))
        num_chunks = max(1, self.chunk_length // max(1, int(chunks[0]))) * inside
        at_a_time = min(num_chunks, int(zarr.config.get("async.concurrency", 10) or num_chunks))
        chunk_nbytes = math.prod(chunks) * self.dtype.itemsize
        # Each of them encoded and decoded.
        return self.chunk_length * self.sample_nbytes + 2 * at_a_time * chunk_nbytes


def _store_name(store: Any) -> str:
    """Return the base name of a store's file, folder or address; "" for one in memory."""
    for attribute in ("root", "path"):
        place = getattr(store, attribute, None)
        if isinstance(place, str | PurePath):
            return PurePath(place).name
    return ""
