"""How are the chunks of an HDF5 dataset read past HDF5's lock?

HDF5 says where a chunk stands in the file; it is read from there and decoded by the thread that
wants it. h5py reads what is not stored just so: other filters, other types, other files, and an
index that does not say which chunk is which.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np

from chunkstore.errors import CorruptionError
from chunkstore.format.grid import ChunkGrid
from chunkstore.importers.arrays.column import ForeignColumn
from chunkstore.importers.arrays.grid import GridColumn
from chunkstore.importers.hdf5_filters import filter_chain
from chunkstore.importers.hdf5_index import read_index, says_which_is_which

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.importers.arrays.column import Column
    from chunkstore.importers.hdf5_filters import FilterChain
    from chunkstore.importers.hdf5_index import ChunkIndex
    from chunkstore.system import ReadFile

# Below, finding a chunk takes longer than decoding it: HDF5's own loop is the faster one.
_LEAST_CHUNK_NBYTES: Final = 16 << 10


def chunk_column(column: Column, dataset: Any, file: ReadFile) -> Column:
    """Return a column that decodes a dataset's chunks itself, or the one given where HDF5 has to.

    Parameters
    ----------
    column
        The dataset, read by h5py.
    dataset
        Of h5py, in the file that is read; its elements lie in memory as they are stored.
    file
        The same file.
    """
    if dataset.chunks is None or dataset.is_virtual or not says_which_is_which(dataset):
        return column
    grid = ChunkGrid(dataset.shape, dataset.chunks)
    nbytes = math.prod(grid.chunk_shape) * dataset.dtype.itemsize
    properties = dataset.id.get_create_plist()
    described = [properties.get_filter(i) for i in range(properties.get_nfilters())]
    chain = filter_chain([(number, tuple(values)) for number, _, values, _ in described])
    # A chunk may be longer than what was written so far, by any factor.
    is_sound_size = _LEAST_CHUNK_NBYTES <= nbytes <= dataset.nbytes
    if chain is None or not is_filled(dataset) or not is_sound_size:
        return column
    return GridColumn(column, grid, _Chunks(column, dataset, file, grid, chain).read_into)


def is_filled(dataset: Any) -> bool:
    """Return whether HDF5 gives a value to what was never written.

    Where it does not, it leaves the memory that it was to read into as it is.
    """
    properties = dataset.id.get_create_plist()
    return bool(
        properties.fill_value_defined() != h5py.h5d.FILL_VALUE_UNDEFINED
        and properties.get_fill_time() != h5py.h5d.FILL_TIME_NEVER
    )


class UnfilledColumn(ForeignColumn):
    """A dataset of which HDF5 leaves out what was never written: zeros, as h5py has them."""

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read over zeros."""
        out[...] = np.zeros((), out.dtype)
        super().read_into(start, stop, out)


class _Chunks:
    """The chunks of one dataset.

    Notes
    -----
    Threads: safe. HDF5's lock is held only to list the chunks, once.
    """

    def __init__(
        self, column: Column, dataset: Any, file: ReadFile, grid: ChunkGrid, chain: FilterChain
    ) -> None:
        self._column = column
        self._dataset_name = column.place.removeprefix(f"{file.path}: ")
        self._dataset = dataset
        self._file = file
        self._grid = grid
        self._chain = chain
        self._stored_dtype: np.dtype[Any] = dataset.dtype
        self._fill_value = dataset.fillvalue
        self._index: ChunkIndex | None = None
        self._listing = threading.Lock()

    def read_into(self, places: tuple[int, ...], out: NDArray[Any]) -> None:
        """Fill an array of a chunk's shape, as far as it is inside the dataset.

        Raises
        ------
        CorruptionError
            The chunk is damaged; says which, and which samples.
        """
        grid = self._grid
        start = tuple(i * n for i, n in zip(places, grid.chunk_shape, strict=True))
        inside = tuple(
            slice(0, min(length, size - base))
            for base, length, size in zip(start, grid.chunk_shape, grid.shape, strict=True)
        )
        chunk = self._listed().find(grid.flat(places))
        if chunk is None:
            out[inside] = self._fill_value
            return
        is_edge = out[inside].shape != out.shape
        if is_edge and chunk.encoded_nbytes == out.nbytes and self._chain.filters:
            # A dataset may leave the filters out for these, and nothing here would say so.
            self._read_edge_into(start, out)
            return
        try:
            self._decode_into(chunk.offset, chunk.encoded_nbytes, chunk.mask, out)
        except CorruptionError as error:
            raise CorruptionError(
                f"{self._named(start)} at byte {chunk.offset}: {error.message}",
                self._file.path,
            ) from error

    def _listed(self) -> ChunkIndex:
        """Return where all chunks stand, listed by whoever asks first."""
        with self._listing:
            if self._index is None:
                try:
                    self._index = read_index(self._dataset, self._grid)
                except CorruptionError as error:
                    raise CorruptionError(
                        f"{self._dataset_name}: {error.message}", self._file.path
                    ) from error
            return self._index

    def _decode_into(self, offset: int, nbytes: int, mask: int, out: NDArray[Any]) -> None:
        left = self._file.size() - offset
        if nbytes > left:
            raise CorruptionError(
                f"it takes {nbytes} bytes, the file has {max(0, left)} from there on; it was cut "
                "off"
            )
        raw = out.reshape(-1).view(np.uint8)
        # Straight to its place where nothing is to be undone.
        is_plain = not self._chain.filters and nbytes == raw.nbytes
        encoded = raw if is_plain else np.empty(nbytes, np.uint8)
        done = self._file.read_into(memoryview(encoded.data), offset)
        if done != nbytes:
            raise CorruptionError(f"the file ends in it, behind {done} bytes of {nbytes}")
        if not is_plain:
            self._chain.decode_into(encoded, mask, raw)
        if self._stored_dtype != out.dtype:
            out[...] = out.view(self._stored_dtype)

    def _read_edge_into(self, start: tuple[int, ...], out: NDArray[Any]) -> None:
        """Let h5py read the part of a chunk that is inside the dataset."""
        shape, length = self._grid.shape, self._grid.chunk_shape
        wanted = tuple(
            slice(base, min(base + n, size))
            for base, n, size in zip(start, length, shape, strict=True)
        )
        inside = tuple(slice(0, s.stop - s.start) for s in wanted)
        try:
            out[inside] = self._dataset[wanted]
        except (OSError, RuntimeError) as error:
            raise CorruptionError(
                f"{self._named(start)} cannot be read: {error}", self._file.path
            ) from error

    def _named(self, start: tuple[int, ...]) -> str:
        first, last = start[0], min(start[0] + self._grid.chunk_shape[0], self._grid.shape[0])
        return f"{self._dataset_name}: samples [{first}, {last}): the chunk at {start}"
