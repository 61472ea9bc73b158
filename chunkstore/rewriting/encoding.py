"""How much memory does writing a shuffled file hold, and how many threads may encode in it?

A writer has chunks in work for each thread that encodes. On many cores, or with large chunks, that
is more than a declared memory has room for: then fewer threads encode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chunkstore import system
from chunkstore.store.spec import choose_chunk_lengths, storage_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chunkstore.store.spec import ArraySpec

# Blocks that are made, appended and encoded.
_BLOCKS_ALIVE: Final = 3
# Of the writer, see `chunkstore.store.encoding`: chunks in work for a thread. Memory for each is
# there decoded, as it is used again, and encoded at the same time; one chunk is being encoded.
_CHUNKS_A_THREAD: Final = 3
_CHUNKS_HELD_A_THREAD: Final = 2 * _CHUNKS_A_THREAD + 1
_MAX_THREADS: Final = 32
# What zstd works in, a thread, by Blosc's level: read off the peak of a process that encodes chunks
# of 1 to 8 MiB, and of shuffles in little memory. 1 MiB, which other codecs take, counts as none.
_ZSTD_MIB: Final = (0, 0, 1, 2, 3, 5, 7, 15, 21, 48)
# Of the memory, what writing may have beside the allowance.
_PARTS: Final = 4
# May be taken on top of the memory: the promise is 64 MiB more, of which the rest is left
# for what the interpreter and the allocator keep.
ALLOWANCE_NBYTES: Final = 20 << 20


class EncodingCost:
    """What writing takes, by the number of threads that encode.

    Parameters
    ----------
    specs
        Of the arrays of samples.
    block_nbytes
        Of a block that is appended.
    chunk_nbytes
        That chunks aim at where no length is given; None for the default.
    """

    def __init__(
        self, specs: Mapping[str, ArraySpec], *, block_nbytes: int, chunk_nbytes: int | None
    ) -> None:
        target = storage_options(None, None, None, chunk_nbytes).chunk_nbytes
        lengths = choose_chunk_lengths(dict(specs), target_nbytes=target)
        chunks = [lengths[name] * spec.sample_nbytes for name, spec in specs.items()]
        # Of each array a chunk is begun, whatever the threads.
        self._always = _BLOCKS_ALIVE * block_nbytes + sum(chunks)
        self._a_thread = _CHUNKS_HELD_A_THREAD * max(chunks, default=0)
        if chunks:
            self._a_thread += max(map(_encoder_nbytes, specs.values()))

    def nbytes(self, threads: int) -> int:
        """Return what is held at the same time."""
        return self._always + threads * self._a_thread

    def fits(self, memory: int) -> bool:
        """Return whether one thread at least can encode in the share of a memory."""
        return self.nbytes(1) <= _share(memory)

    def threads(self, memory: int) -> int:
        """Return how many threads encode in the share of a memory: one at least."""
        most = min(system.calls.available_cores(), _MAX_THREADS)
        if not self._a_thread:
            return most
        return max(1, min(most, (_share(memory) - self._always) // self._a_thread))


def _encoder_nbytes(spec: ArraySpec) -> int:
    storage = storage_options(spec.codec, None, None, None)
    level = storage.level if spec.level is None else spec.level
    return _ZSTD_MIB[level] << 20 if storage.codec == "zstd" else 0


def _share(memory: int) -> int:
    return memory // _PARTS + ALLOWANCE_NBYTES
