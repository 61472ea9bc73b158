"""How are the chunks of a zarr folder read without zarr-python?

zarr-python decodes behind one event loop and copies what it decoded. Arrays whose metadata and
codecs are our own to read are decoded by the thread that wants a chunk, straight to its place.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from chunkstore.errors import (
    CorruptionError,
    FormatError,
    MissingFileError,
    UnsupportedError,
)
from chunkstore.format.metadata import ArrayMetadata, parse_node, parse_v2_array
from chunkstore.importers.arrays.grid import GridColumn
from chunkstore.store.node import METADATA_LIMIT_NBYTES
from chunkstore.system import ReadFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.importers.arrays.column import Column

# Below, opening a file takes longer than decoding it; zarr-python opens several at a time.
_LEAST_CHUNK_NBYTES = 16 << 10


def chunk_column(column: Column, array: Any) -> Column:
    """Return a column that decodes an array's chunks itself, or the one given where it cannot.

    Parameters
    ----------
    column
        The array, read by zarr-python.
    array
        Of zarr-python.
    """
    if not isinstance(array.store, zarr.storage.LocalStore):
        return column
    folder = Path(array.store.root) / array.path
    metadata = _metadata(folder)
    if (
        metadata is None
        # A shard may be as large as the array; zarr-python reads what is in it one by one.
        or metadata.codecs.sharding is not None
        or metadata.dtype != column.dtype
        or metadata.shape != column.shape
        or _cell_nbytes(metadata) < _LEAST_CHUNK_NBYTES
    ):
        return column
    return GridColumn(column, metadata.grid, _Chunks(column.place, str(folder), metadata).read_into)


def _metadata(folder: Path) -> ArrayMetadata | None:
    """Return the metadata of an array, or None where they are zarr-python's to read."""
    try:
        if (raw := _read(folder / "zarr.json")) is not None:
            node = parse_node(raw)
            return node if isinstance(node, ArrayMetadata) else None
        zarray = _read(folder / ".zarray")
        return None if zarray is None else parse_v2_array(zarray, _read(folder / ".zattrs"))
    except (FormatError, UnsupportedError):
        return None


def _read(path: Path) -> bytes | None:
    """Return a metadata file's bytes; None where it is not there, or larger than one can be."""
    try:
        with closing(ReadFile(str(path))) as file:
            size = file.size()
            return None if size > METADATA_LIMIT_NBYTES else file.read(size, 0)
    except MissingFileError:
        return None


def _cell_nbytes(metadata: ArrayMetadata) -> int:
    count = 1
    for length in metadata.chunk_shape:
        count *= length
    return count * metadata.dtype.itemsize


class _Chunks:
    """The chunks of one array, a file each.

    Notes
    -----
    Threads: safe.
    """

    def __init__(self, place: str, folder: str, metadata: ArrayMetadata) -> None:
        self._place = place
        self._folder = folder
        self._metadata = metadata
        self._most_nbytes = metadata.codecs.max_encoded_nbytes(_cell_nbytes(metadata))

    def read_into(self, places: tuple[int, ...], out: NDArray[Any]) -> None:
        """Fill an array of a chunk's shape.

        Raises
        ------
        CorruptionError
            The chunk is damaged; says which, and which samples.
        """
        metadata = self._metadata
        key = metadata.chunk_keys.key(places)
        path = os.path.join(self._folder, *key.split("/"))
        try:
            file = ReadFile(path)
        except MissingFileError:
            out[...] = metadata.fill_value
            return
        with closing(file):
            try:
                metadata.codecs.decode_into(self._encoded(file, out.nbytes), out)
            except CorruptionError as error:
                first = places[0] * metadata.chunk_shape[0]
                last = min(first + metadata.chunk_shape[0], metadata.shape[0])
                raise CorruptionError(
                    f"{self._place}: samples [{first}, {last}): the chunk {key!r} is damaged: "
                    f"{error.message}"
                ) from error

    def _encoded(self, file: ReadFile, decoded_nbytes: int) -> memoryview:
        nbytes = file.size()
        if nbytes > self._most_nbytes:
            raise CorruptionError(
                f"it takes {nbytes} bytes; a chunk of {decoded_nbytes} bytes takes at most "
                f"{self._most_nbytes} encoded"
            )
        encoded = np.empty(nbytes, np.uint8)
        return memoryview(encoded.data)[: file.read_into(memoryview(encoded.data), 0)]
