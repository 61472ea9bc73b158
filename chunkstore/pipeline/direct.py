"""Do reads go past the page cache?

While the stored data fit in memory beside everything else, the cache serves each epoch after the
first. Once they do not, every read evicts what will be needed next, and going past it costs less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chunkstore.pipeline.room import cache_room

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chunkstore.pipeline.source import ChunkSource

Io = Literal["auto", "buffered", "direct"]


def choose_direct(io: Io, sources: Iterable[ChunkSource], *, memory: int) -> bool:
    """Return whether to read past the page cache.

    Parameters
    ----------
    io
        What the caller wants; ``"auto"`` compares the stored bytes with the memory.
    sources
        What is read. One that has no ``encoded_nbytes`` is not a file.
    memory
        Bytes that the loader takes for itself.
    """
    if io != "auto":
        return io == "direct"
    stored = sum(getattr(source, "encoded_nbytes", 0) for source in sources)
    room = cache_room()
    return room is not None and stored > room - memory
