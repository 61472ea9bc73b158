"""How are consecutive samples of several arrays read, each chunk decoded once?

The arrays of a file are cut into chunks of different lengths: a range that is whole chunks of one
array cuts those of another. Chunks that are cut are kept for the next range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chunkstore.pipeline.cache import ChunkCache
from chunkstore.rewriting.contents import sample_nbytes_of
from chunkstore.store.array_reader import allocate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from chunkstore.store.array import Array

# Of one array: a chunk that begins before a range and one that ends behind it.
_CUT_CHUNKS: Final = 2


class SampleReader:
    """Reads ranges of samples.

    Parameters
    ----------
    arrays
        By name, of one length.
    target_nbytes
        Decoded bytes that a range aims at.

    Attributes
    ----------
    length
        Samples of a range that is cheap to read: whole chunks of the widest array, if these are
        not much larger than the target.
    range_nbytes, cache_nbytes, chunk_nbytes
        Decoded bytes of such a range, of the chunks that are kept between ranges, and of the
        largest chunk.

    Notes
    -----
    Threads: `read` is safe in several.
    """

    def __init__(self, arrays: Mapping[str, Array], *, target_nbytes: int) -> None:
        self._arrays = dict(arrays)
        self._indices = {name: i for i, name in enumerate(arrays)}
        sample_nbytes = max(1, sum(sample_nbytes_of(array) for array in arrays.values()))
        wanted = max(1, target_nbytes // sample_nbytes)
        widest = max(arrays.values(), key=sample_nbytes_of, default=None)
        unit = 1 if widest is None else min(widest.chunk_length, max(1, len(widest)))
        if unit > wanted:
            # In equal parts: the chunk is decoded for the first one and kept for the others.
            self.length = -(-unit // -(-unit // wanted))
        else:
            self.length = wanted // unit * unit
        self.range_nbytes = self.length * sample_nbytes
        chunks = {name: _chunk_nbytes(array) for name, array in arrays.items()}
        self.chunk_nbytes = max(chunks.values(), default=0)
        self.cache_nbytes = _CUT_CHUNKS * sum(
            chunks[name] for name, array in arrays.items() if self.length % array.chunk_length
        )
        self._cache = ChunkCache(self.cache_nbytes)

    def ranges(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield ranges that are cheap to read, from a sample to another one."""
        while start < stop:
            until = min(start - start % self.length + self.length, stop)
            yield start, until
            start = until

    def read(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Return the samples ``[start, stop)`` of all arrays, as new memory.

        Raises
        ------
        CorruptionError
            A chunk is damaged; says which, and which samples are lost with it.
        """
        return {name: self._read(name, start, stop) for name in self._arrays}

    def forget(self) -> None:
        """Give up the chunks that are kept for the next range: there is none."""
        self._cache.clear()

    def _read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        array = self._arrays[name]
        length = array.chunk_length
        if start % length == 0 and (stop % length == 0 or stop == len(array)):
            return array.read_samples(start, stop, threads=1)
        out = allocate((stop - start, *array.shape[1:]), array.dtype, name)
        if out.size == 0:
            return out
        # Whole chunks: [first, last), none where a single chunk holds all that is wanted.
        first = min(-(-start // length) * length, stop)
        last = max(first, stop // length * length)
        for a, b in ((start, first), (last, stop)):
            if a < b:
                base = a // length * length
                out[a - start : b - start] = self._chunk(name, a // length)[a - base : b - base]
        if first < last:
            reader = array.open_reader()
            try:
                for a in range(first, last, length):
                    reader.read_chunk_into(a // length, out[a - start : a - start + length])
            finally:
                reader.close()
        return out

    def _chunk(self, name: str, chunk_index: int) -> NDArray[Any]:
        """Return a chunk that is kept for the next range."""
        array = self._arrays[name]

        def decode_into(chunk_index: int, out: NDArray[Any]) -> None:
            reader = array.open_reader()
            try:
                reader.read_chunk_into(chunk_index, out)
            finally:
                reader.close()

        return self._cache.chunk(
            self._indices[name],
            chunk_index,
            shape=(array.chunk_length, *array.shape[1:]),
            dtype=array.dtype,
            decode_into=decode_into,
        )


def _chunk_nbytes(array: Array) -> int:
    return array.chunk_length * sample_nbytes_of(array)
