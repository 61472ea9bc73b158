"""How are the samples of one array read?"""

from __future__ import annotations

import hashlib
import math
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, overload

import numpy as np

from chunkstore import system
from chunkstore.errors import ChunkStoreError, CorruptionError
from chunkstore.store.array_reader import ArrayReader, allocate, logical_form
from chunkstore.store.gathering import (
    as_memory,
    gather_numbers_into,
    gather_range_into,
    rest_shape,
)
from chunkstore.store.indexing import select
from chunkstore.store.node import OWN_ATTRIBUTES
from chunkstore.store.striping import for_each
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from chunkstore.store.node import ArrayNode
    from chunkstore.store.open_file import OpenFile

# Below this a second thread costs more than it brings.
_PARALLEL_NBYTES = 4 << 20
_MAX_THREADS = 8
_FEW_CHUNKS = 1024


class Array:
    """One array of a store: lazy, read by index, never changed.

    Axis 0 is the sample axis. Indexing follows NumPy (integers, negative ones, slices with steps,
    lists, boolean masks, ``...``, ``None``) and returns new memory that the caller owns. Each
    chunk that is touched is read, checked and decoded once for an index, whatever its order.

    Notes
    -----
    Threads: all methods are safe in several threads and after a fork. An index that touches
    several MiB is decoded by a few threads that end with the call.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "a.zarr.zip")
    >>> cs.save(path, {"x": np.arange(20).reshape(10, 2)})
    >>> with cs.open(path) as store:
    ...     x = store["x"]
    ...     x.shape, x[[5, 1], 0].tolist(), x[-1].tolist()
    ((10, 2), [10, 2], [18, 19])
    """

    def __init__(self, file: OpenFile, node: ArrayNode) -> None:
        self._file = file
        self._node = node
        self._metadata = node.metadata
        try:
            self._dtype, self._trailing = logical_form(node.metadata)
        except ChunkStoreError as error:
            raise error.located(file.path, node.path) from None
        stored_shape = node.metadata.shape
        self._shape = stored_shape[: len(stored_shape) - len(self._trailing)]
        chunk_shape = node.metadata.chunk_shape
        self._chunk_length = chunk_shape[0] if chunk_shape else 1

    # ------------------------------------------------------------------ description

    @property
    def name(self) -> str:
        """Its name in the store: the path of its node, ``""`` for the root."""
        return self._node.path

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
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded array."""
        return self.size * self.dtype.itemsize

    @property
    def encoded_nbytes(self) -> int:
        """Bytes that its chunks take in the file."""
        return self._node.table.encoded_nbytes

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of a chunk; the last along axis 0 may hold fewer samples."""
        shape = self._metadata.chunk_shape
        return shape[: len(shape) - len(self._trailing)]

    @property
    def chunk_length(self) -> int:
        """Samples in a chunk."""
        return self._chunk_length

    @property
    def num_chunks(self) -> int:
        """Chunks along axis 0."""
        return self._metadata.grid.counts[0] if self.ndim else 1

    @property
    def codec(self) -> str:
        """The codec chain in short, such as ``"blosc zstd-1 bit"``."""
        return str(self._metadata.codecs)

    @property
    def attributes(self) -> dict[str, Any]:
        """The user's attributes of this array; a copy."""
        return {k: v for k, v in self._metadata.attributes.items() if k != OWN_ATTRIBUTES}

    @property
    def dimension_names(self) -> tuple[str | None, ...] | None:
        """Names of the axes, or None."""
        names = self._metadata.dimension_names
        return None if names is None else names[: self.ndim]

    @property
    def fill_value(self) -> Any:
        """Value of chunks that are not stored, in files of other writers."""
        return self._metadata.fill_value

    @property
    def fingerprint(self) -> str:
        """Digest of what an order of samples depends on: shape, data type, chunks, checksums."""
        index, places = self._node.table.stored()
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((self.shape, self.dtype.str, self.chunk_shape, self.codec)).encode())
        for column in (index, places.encoded_nbytes, places.crc):
            digest.update(column.astype("<i8").tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return (
            f"<chunkstore.Array {self.name!r} shape={self.shape} dtype={self.dtype} "
            f"chunk_length={self.chunk_length} codec={self.codec!r}>"
        )

    def _repr_html_(self) -> str:
        html: str = resolve("chunkstore.viewing.display", "array_html")(self)
        return html

    # ------------------------------------------------------------------ reading

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"array {self.name!r} has no axis 0, so it has no length")
        return self.shape[0]

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        """Refuse: stored samples are never changed in place."""
        raise TypeError(
            f"array {self.name!r} of {self._file.path} is not changed in place; chunkstore.append "
            "gives a writer, which appends samples and puts whole arrays"
        )

    def __getitem__(self, key: Any) -> Any:
        """Return the elements at an index, as new memory; a scalar where NumPy gives one.

        Raises
        ------
        IndexError
            Out of bounds, too many indices, or a mask of the wrong shape.
        CorruptionError
            A chunk is damaged or missing; names file, chunk and byte offset.
        """
        shape = self._shape
        if not shape:
            return self._read_scalar()[key]
        # The plainest indices need no taking apart.
        if type(key) is slice:
            start, stop, step = key.indices(shape[0])
            if step == 1:
                stop_of_chunk = start - start % self._chunk_length + self._chunk_length
                if start < stop <= stop_of_chunk:
                    return self._read_within(start, stop)
                return self._read_range(start, max(start, stop), ())
        elif type(key) is int and 0 <= key < shape[0]:
            return self._read_within(key, key + 1)[0]
        selection = select(key, self.shape, self.name)
        samples = selection.samples
        if isinstance(samples, slice):
            result = self._read_range(samples.start, samples.stop, selection.rest)
        else:
            result = self._read_numbers(samples, selection.rest)
        return result if selection.after is None else result[selection.after]

    def __iter__(self) -> Iterator[Any]:
        """Yield the samples one by one, decoding each chunk once."""
        if not self.shape:
            raise TypeError(f"array {self.name!r} has no axis 0 to iterate over")
        for chunk in self.iter_chunks():
            yield from chunk

    def iter_chunks(self) -> Iterator[NDArray[Any]]:
        """Yield the chunks in order, each a new array of up to ``chunk_length`` samples."""
        for chunk_index in range(self.num_chunks):
            start = chunk_index * self.chunk_length
            yield self._read_within(start, min(start + self.chunk_length, len(self)))

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

    def read_samples(self, start: int, stop: int, *, threads: int | None = None) -> NDArray[Any]:
        """Return the samples ``[start, stop)``, as ``array[start:stop]`` does.

        Parameters
        ----------
        start, stop
            In ``[0, len(array)]``.
        threads
            That decode; 1 reads in the caller's thread. None chooses.

        Returns
        -------
        samples
            A new array, shape ``(stop - start, *sample_shape)``.

        Raises
        ------
        IndexError
            If the range is not inside the array.

        Examples
        --------
        >>> import numpy as np, tempfile, os, chunkstore as cs
        >>> path = os.path.join(tempfile.mkdtemp(), "a.zarr.zip")
        >>> cs.save(path, {"y": np.arange(10)})
        >>> cs.open(path)["y"].read_samples(2, 5, threads=1).tolist()
        [2, 3, 4]
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(
                f"array {self.name!r}: start and stop must be in [0, {len(self)}] and ascend, got "
                f"{start}, {stop}"
            )
        return self._read_range(start, stop, (), threads=threads)

    def open_reader(self, *, direct: bool = False, check: bool = True) -> ArrayReader:
        """Return a reader of whole chunks, for one thread.

        Parameters
        ----------
        direct
            Read past the page cache, where the system can.
        check
            False leaves out the CRC-32 (for measuring its cost).
        """
        return ArrayReader(self._file, self._node, self._dtype, direct=direct, check=check)

    def _read_scalar(self) -> NDArray[Any]:
        out = allocate(self.shape, self.dtype, self.name)
        with self._file.array_reader(self) as reader:
            reader.read_chunk_into(0, out)
        return out

    def _read_range(
        self,
        start: int,
        stop: int,
        rest: tuple[Any, ...],
        *,
        threads: int | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> NDArray[Any]:
        """Return the samples ``[start, stop)``, each indexed by ``rest``.

        ``advance`` is told the bytes of each chunk that is done, by the thread that did it.
        """
        out = allocate((stop - start, *self._rest_shape(rest)), self.dtype, self.name)
        if out.size == 0:
            return out
        gather_range_into(
            out,
            start,
            stop,
            rest,
            chunk_length=self._chunk_length,
            run=partial(self._run, threads=threads),
            advance=advance,
        )
        return out

    def _read_within(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples ``[start, stop)`` of one chunk."""
        chunk_index, first = divmod(start, self._chunk_length)
        count = stop - start
        out = allocate((count, *self._shape[1:]), self._dtype, self._node.path)
        file = self._file
        file.check_open()
        # `OpenFile.array_reader` without its context manager, which takes as long as reading a
        # small chunk's bytes.
        entries = file._pool.borrow()
        try:
            reader = ArrayReader(file, self._node, self._dtype, direct=False, entries=entries)
            if count == self._chunk_length:
                reader.read_chunk_into(chunk_index, out)
            else:
                out[...] = reader.read_chunk(chunk_index)[first : first + count]
        finally:
            file._pool.give_back(entries)
        return out

    def _read_numbers(self, samples: NDArray[np.int64], rest: tuple[Any, ...]) -> NDArray[Any]:
        """Return the samples of these numbers, in this order, each chunk decoded once."""
        out = allocate((len(samples), *self._rest_shape(rest)), self.dtype, self.name)
        if out.size == 0:
            return out
        gather_numbers_into(out, samples, rest, chunk_length=self._chunk_length, run=self._run)
        return out

    def _rest_shape(self, rest: tuple[Any, ...]) -> tuple[int, ...]:
        return rest_shape(self.shape[1:], rest, self.name)

    def to_dask(self) -> Any:
        """Return the array as a dask array, its blocks whole chunks; nothing is read yet.

        Works under threads, processes and dask.distributed. Needs dask (``chunkstore[dask]``).

        Examples
        --------
        >>> import numpy as np, tempfile, os, chunkstore as cs
        >>> path = os.path.join(tempfile.mkdtemp(), "a.zarr.zip")
        >>> cs.save(path, {"y": np.arange(10)})
        >>> int(cs.open(path)["y"].to_dask().sum().compute())
        45
        """
        return resolve("chunkstore.adapters.dask", "to_dask")(self)

    def _run(self, task: Any, chunks: Sequence[int], threads: int | None = None) -> None:
        """Run a task for every chunk; by default in several threads when that pays."""
        if threads is None:
            nbytes = (
                len(chunks) * self.chunk_length * math.prod(self.shape[1:]) * self.dtype.itemsize
            )
            threads = min(len(chunks), _MAX_THREADS, 1 + nbytes // _PARALLEL_NBYTES)
            if threads > 1:
                threads = min(threads, system.calls.available_cores())
        for_each(
            chunks,
            task,
            open_tool=lambda: self._file.array_reader(self),
            threads=threads,
            name="chunkstore-read",
        )

    def stored_chunks(self) -> Sequence[int]:
        """Return the chunks along axis 0 of which something is stored, or all if that is few more.

        Other people's arrays may be a few chunks in a grid of billions.
        """
        table = self._node.table
        if self.num_chunks <= 2 * table.num_stored + _FEW_CHUNKS:
            return range(self.num_chunks)
        index, _ = table.stored()
        across = math.prod(self._metadata.grid.counts[1:])
        found: list[int] = np.unique(index // across).tolist()
        return found

    def stored_chunk_nbytes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which chunks along axis 0 are stored, ascending, and the bytes that each takes.

        The directory says it; nothing is read.

        Examples
        --------
        >>> import numpy as np, tempfile, os, chunkstore as cs
        >>> path = os.path.join(tempfile.mkdtemp(), "a.zarr.zip")
        >>> cs.save(path, {"y": np.arange(10)})
        >>> chunks, nbytes = cs.open(path)["y"].stored_chunk_nbytes()
        >>> chunks.tolist(), len(nbytes)
        ([0], 1)
        """
        index, places = self._node.table.stored()
        across = math.prod(self._metadata.grid.counts[1:])
        chunks, inverse = np.unique(index // max(across, 1), return_inverse=True)
        nbytes = np.zeros(len(chunks), np.int64)
        np.add.at(nbytes, inverse, places.encoded_nbytes)
        return chunks, nbytes

    def __reduce__(self) -> Any:
        return _reopen_array, (self._file.place, self.name, self.fingerprint)


def _reopen_array(path: str, name: str, fingerprint: str) -> Array:
    """Open an array again, in the process that unpickles it."""
    from chunkstore.store.store import open_store

    store = open_store(path)
    array = store.get(name)
    found = None if array is None else array.fingerprint
    if array is None or found != fingerprint:
        store.close()
        raise CorruptionError(
            f"array {name!r} has changed since it was pickled: its fingerprint is {found}, "
            f"expected {fingerprint}",
            path,
        )
    return array
