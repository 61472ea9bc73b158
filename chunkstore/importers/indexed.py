"""How is foreign data that comes in chunks indexed as NumPy indexes an array?

An importer says how one chunk is read; this gives it the interface of `chunkstore.Array`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, overload

from chunkstore import system
from chunkstore.store.array_reader import allocate
from chunkstore.store.gathering import (
    as_memory,
    gather_numbers_into,
    gather_range_into,
    rest_shape,
)
from chunkstore.store.indexing import select
from chunkstore.store.striping import for_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import DTypeLike, NDArray

    from chunkstore.pipeline.source import ChunkReader

# Below this a second thread costs more than it brings.
_PARALLEL_NBYTES: Final = 4 << 20
_MAX_THREADS: Final = 8


class IndexedSource(ABC):
    """A `chunkstore.pipeline.source.ChunkSource` that is read by index, and never changed.

    Indexing follows NumPy and returns new memory. Each chunk that is touched is read and decoded
    once for an index, whatever its order.

    Parameters
    ----------
    name
        In its store.
    shape, dtype
        Of the whole array, samples first; native byte order.
    chunk_length
        Samples in a chunk, at least 1.

    Notes
    -----
    Threads: all methods are safe in several threads. An index that touches several MiB is decoded
    by a few threads that end with the call.
    """

    def __init__(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], chunk_length: int
    ) -> None:
        self._name = name
        self._shape = shape
        self._dtype = dtype
        self._chunk_length = chunk_length

    @abstractmethod
    def open_reader(self, *, direct: bool = False) -> ChunkReader:
        """Return a reader of whole chunks, for one thread."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Digest of what an order of samples depends on."""

    @property
    def name(self) -> str:
        """Its name in the store."""
        return self._name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape; axis 0 counts samples."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type, in native byte order."""
        return self._dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self._shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded array."""
        return self.size * self._dtype.itemsize

    @property
    def chunk_length(self) -> int:
        """Samples in a chunk."""
        return self._chunk_length

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of a chunk; the last may hold fewer samples."""
        return (self._chunk_length, *self._shape[1:])

    @property
    def num_chunks(self) -> int:
        """Chunks along axis 0."""
        return -(-self._shape[0] // self._chunk_length)

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Return the elements at an index, as new memory; a scalar where NumPy gives one.

        Raises
        ------
        IndexError
            Out of bounds, too many indices, or a mask of the wrong shape.
        CorruptionError
            A chunk is damaged or missing; names file, chunk and samples.
        """
        selection = select(key, self._shape, self._name)
        samples = selection.samples
        if isinstance(samples, slice):
            result = self._read_range(samples.start, samples.stop, selection.rest)
        else:
            result = self._read_numbers(samples, selection.rest)
        return result if selection.after is None else result[selection.after]

    def __iter__(self) -> Iterator[Any]:
        """Yield the samples one by one, decoding each chunk once."""
        for chunk in self.iter_chunks():
            yield from chunk

    def iter_chunks(self) -> Iterator[NDArray[Any]]:
        """Yield the chunks in order, each a new array of up to ``chunk_length`` samples."""
        reader = self._open_chunks()
        try:
            for chunk_index in range(self.num_chunks):
                out = allocate(self.chunk_shape, self._dtype, self._name)
                reader.read_chunk_into(chunk_index, out)
                yield out[: len(self) - chunk_index * self._chunk_length]
        finally:
            reader.close()

    @overload
    def __array__(self) -> NDArray[Any]: ...
    @overload
    def __array__(self, dtype: DTypeLike | None, copy: bool | None = None) -> NDArray[Any]: ...
    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the whole array, if it is small.

        Raises
        ------
        ValueError
            It is larger than the setting ``asarray_nbytes``, or ``copy=False`` was asked for.
        """
        return as_memory(self, dtype, copy)

    def _read_range(self, start: int, stop: int, rest: tuple[Any, ...]) -> NDArray[Any]:
        """Return the samples ``[start, stop)``, each indexed by ``rest``."""
        out = allocate((stop - start, *self._rest_shape(rest)), self._dtype, self._name)
        if out.size:
            gather_range_into(
                out, start, stop, rest, chunk_length=self._chunk_length, run=self._run
            )
        return out

    def _read_numbers(self, samples: NDArray[np.int64], rest: tuple[Any, ...]) -> NDArray[Any]:
        """Return the samples of these numbers, in this order, each chunk decoded once."""
        out = allocate((len(samples), *self._rest_shape(rest)), self._dtype, self._name)
        if out.size:
            gather_numbers_into(out, samples, rest, chunk_length=self._chunk_length, run=self._run)
        return out

    def _rest_shape(self, rest: tuple[Any, ...]) -> tuple[int, ...]:
        return rest_shape(self._shape[1:], rest, self._name)

    def _run(self, task: Callable[[ScratchReader, int], None], items: Sequence[int]) -> None:
        """Run a task for every item, in several threads when that pays."""
        chunk_nbytes = math.prod(self.chunk_shape) * self._dtype.itemsize
        threads = min(len(items), _MAX_THREADS, 1 + len(items) * chunk_nbytes // _PARALLEL_NBYTES)
        if threads > 1:
            threads = min(threads, system.calls.available_cores())
        for_each(
            items,
            task,
            open_tool=self.lent_reader,
            threads=threads,
            name="chunkstore-read",
        )

    def _open_chunks(self) -> ChunkReader:
        """Return the reader for what is read by index."""
        return self.open_reader()

    @contextmanager
    def lent_reader(self) -> Iterator[ScratchReader]:
        """Lend a reader for the time of a ``with`` block."""
        reader = self._open_chunks()
        try:
            yield ScratchReader(reader, self.chunk_shape, self._dtype, self._name)
        finally:
            reader.close()


class ScratchReader:
    """A reader, and memory for a chunk of which only a part is wanted."""

    def __init__(
        self, reader: ChunkReader, shape: tuple[int, ...], dtype: np.dtype[Any], name: str
    ) -> None:
        self.read_chunk_into = reader.read_chunk_into
        self._scratch_of = shape, dtype, name
        self._scratch: NDArray[Any] | None = None

    def read_chunk(self, chunk_index: int) -> NDArray[Any]:
        """Return a chunk, valid until the next call."""
        if self._scratch is None:
            self._scratch = allocate(*self._scratch_of)
        self.read_chunk_into(chunk_index, self._scratch)
        return self._scratch
