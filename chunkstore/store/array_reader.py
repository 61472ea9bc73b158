"""How are whole chunks of one array fetched, checked and decoded, one after the other?"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore import system
from chunkstore.container.reader import EntryReader
from chunkstore.errors import ChunkStoreError, CorruptionError, SystemCallError
from chunkstore.format.stored_dtype import restored_dtype, stored_form
from chunkstore.store.node import OWN_ATTRIBUTES, chunk_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.format.metadata import ArrayMetadata
    from chunkstore.store.node import ArrayNode
    from chunkstore.store.open_file import OpenFile


class ArrayReader:
    """Reads whole chunks of one array, one after the other.

    Attributes
    ----------
    read_nbytes, fetch_seconds, decode_seconds
        Encoded bytes read so far, and the time that reading, and checking with decoding took.

    Notes
    -----
    Threads: one reader serves one thread.
    """

    def __init__(
        self,
        file: OpenFile,
        node: ArrayNode,
        dtype: np.dtype[Any],
        *,
        direct: bool,
        check: bool = True,
        entries: EntryReader | None = None,
    ) -> None:
        file.check_open()
        self._file = file
        self._node = node
        self._metadata = node.metadata
        self._dtype = dtype
        self._entries = entries or EntryReader(file.container, direct=direct, check=check)
        self._scratch: NDArray[Any] | None = None
        metadata = node.metadata
        # One cell spans the whole sample: the usual case, decoded straight to its place.
        self._one_cell = metadata.chunk_shape[1:] == metadata.shape[1:]
        self._codec_seconds = 0.0

    @property
    def read_nbytes(self) -> int:
        """Encoded bytes read so far."""
        return self._entries.read_nbytes

    @property
    def fetch_seconds(self) -> float:
        """Seconds spent reading."""
        return self._entries.fetch_seconds

    @property
    def decode_seconds(self) -> float:
        """Seconds spent checking and decoding."""
        return self._entries.check_seconds + self._codec_seconds

    @property
    def buffer_nbytes(self) -> int:
        """Bytes that its buffers may take: the largest encoded chunk, and a cell's scratch."""
        largest = self._node.table.largest_encoded_nbytes
        return (
            largest
            + 2 * system.DIRECT_ALIGNMENT
            + (0 if self._one_cell else self._node.cell_nbytes)
        )

    def read_chunk_into(self, chunk_index: int, out: NDArray[Any]) -> None:
        """Fill a caller's array with one chunk.

        Parameters
        ----------
        chunk_index
            Along axis 0.
        out
            Shape ``(chunk_length, *sample_shape)``, C-contiguous, writable, of the array's dtype.
            Samples behind the array's end are unspecified. Not kept.

        Raises
        ------
        CorruptionError
            The chunk is damaged or missing.
        ValueError
            The store was closed.
        """
        if out.size == 0:
            return
        try:
            self._read_into(chunk_index, out)
        except CorruptionError as error:
            self._file.check_open()
            raise self._with_samples(error, chunk_index) from error.__cause__
        except SystemCallError:
            # Who closes a store while another thread reads takes the descriptor from under it.
            self._file.check_open()
            raise

    def _read_into(self, chunk_index: int, out: NDArray[Any]) -> None:
        stored = out
        if self._dtype != self._metadata.dtype:
            stored = out.view(self._metadata.dtype).reshape(
                *out.shape, *self._metadata.shape[out.ndim :]
            )
        if self._one_cell:
            self._read_cell_into(chunk_index, stored)
        else:
            self._read_band_into(chunk_index, stored)

    def _with_samples(self, error: CorruptionError, chunk_index: int) -> CorruptionError:
        """Return an error that also says which samples are lost with the chunk."""
        if not self._metadata.shape:
            return error
        length = self._metadata.chunk_shape[0]
        start = chunk_index * length
        stop = min(start + length, self._metadata.shape[0])
        return CorruptionError(
            f"{error.message}; samples [{start}, {stop}) of array {self._node.path!r}",
            error.path,
            error.key,
            error.offset,
        )

    def read_chunk(self, chunk_index: int) -> NDArray[Any]:
        """Return one chunk in the reader's scratch: valid until the next call."""
        if self._scratch is None:
            self._scratch = self._make_scratch()
        self.read_chunk_into(chunk_index, self._scratch)
        return self._scratch

    def _make_scratch(self) -> NDArray[Any]:
        """Return a chunk's memory, taken from the entry reader, which keeps it for the next."""
        metadata = self._metadata
        if self._dtype == metadata.dtype:
            sample_shape = metadata.shape[1:]
        else:
            _, trailing = logical_form(metadata)
            sample_shape = metadata.shape[1 : len(metadata.shape) - len(trailing)]
        shape = (metadata.chunk_shape[0], *sample_shape) if metadata.shape else ()
        nbytes = math.prod(shape) * self._dtype.itemsize
        if nbytes == 0:
            return allocate(shape, self._dtype, self._node.path)
        spare = self._entries.spare
        if spare is None or spare.nbytes < nbytes:
            # The smaller one goes before the larger one comes.
            self._entries.spare = spare = None
            self._entries.spare = spare = allocate((nbytes,), np.dtype(np.uint8), self._node.path)
        return spare[:nbytes].view(self._dtype).reshape(shape)

    def _read_cell_into(self, flat: int, out: NDArray[Any]) -> None:
        node = self._node
        place = node.table.find(flat)
        if place is None:
            if self._file.nodes.own is not None:
                raise CorruptionError(
                    "the chunk is missing, though the file was written complete",
                    self._file.path,
                    chunk_key(node, flat),
                )
            out[...] = self._metadata.fill_value
            return
        key = chunk_key(node, flat)
        if place.nbytes > node.limit_nbytes:
            raise CorruptionError(
                f"the entry holds {place.nbytes} bytes; a chunk of {node.cell_nbytes} bytes takes "
                f"at most {node.limit_nbytes} encoded",
                self._file.path,
                key,
                place.offset,
            )
        encoded = self._entries.fetch(
            key.encode(),
            offset=place.offset,
            encoded_nbytes=place.encoded_nbytes,
            nbytes=place.nbytes,
            crc=place.crc,
        )
        started = time.perf_counter()
        try:
            self._metadata.codecs.decode_into(encoded, out)
        except ChunkStoreError as error:
            raise error.located(self._file.path, key, place.offset) from None
        self._codec_seconds += time.perf_counter() - started

    def _read_band_into(self, chunk_index: int, out: NDArray[Any]) -> None:
        """Put the cells together that lie side by side along the other axes."""
        metadata = self._metadata
        grid = metadata.grid
        per_band = math.prod(grid.counts[1:])
        cell = allocate(metadata.chunk_shape, metadata.dtype, self._node.path)
        for flat in range(chunk_index * per_band, (chunk_index + 1) * per_band):
            self._read_cell_into(flat, cell)
            place = tuple(
                slice(i * c, min((i + 1) * c, n))
                for i, c, n in zip(
                    grid.coords(flat)[1:], metadata.chunk_shape[1:], metadata.shape[1:], strict=True
                )
            )
            inner = tuple(slice(0, s.stop - s.start) for s in place)
            out[(slice(None), *place)] = cell[(slice(None), *inner)]

    def close(self) -> None:
        """Give the buffers back."""
        self._entries.close()
        self._scratch = None

    @property
    def entries(self) -> EntryReader:
        """The reader of the container's entries beneath."""
        return self._entries


def logical_form(metadata: ArrayMetadata) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the dtype that an array had before it was stored, and the axes that storing added.

    Raises
    ------
    CorruptionError
        What the attributes say does not fit what is stored.
    """
    own = metadata.attributes.get(OWN_ATTRIBUTES)
    descriptor = own.get("dtype") if isinstance(own, dict) else None
    if descriptor is None:
        return metadata.dtype, ()
    dtype = restored_dtype(descriptor)
    stored_dtype, axes, _ = stored_form(dtype)
    ndim = len(axes)
    fits = stored_dtype == metadata.dtype and len(metadata.shape) > ndim
    if ndim and fits:
        fits = metadata.shape[-ndim:] == axes and metadata.chunk_shape[-ndim:] == axes
    if not fits:
        raise CorruptionError(
            f"attributes.chunkstore.dtype says {dtype}, which a stored {metadata.dtype} array of "
            f"shape {metadata.shape} cannot hold"
        )
    return dtype, axes


def allocate(shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Return new memory for a result, or raise an error of ours that says how much was wanted."""
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError) as error:
        nbytes = math.prod(shape) * dtype.itemsize
        raise ChunkStoreError(
            f"array {name!r}: a result of shape {shape} and {nbytes} bytes cannot be allocated: "
            f"{error}"
        ) from None
