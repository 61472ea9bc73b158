"""Where in the file does each chunk of an array stand?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A table with a row for every chunk of the grid, stored or not, may have so many rows more than
# the file has entries; beyond that only the stored chunks get a row.
_DENSE_SLACK = 1024


class ChunkPlace(NamedTuple):
    """One stored chunk: its entry's header offset, stored and inflated size, and CRC-32."""

    offset: int
    encoded_nbytes: int
    nbytes: int
    crc: int


class ChunkPlaces(NamedTuple):
    """Stored chunks as columns, shape ``(n,)`` each: header offset, stored size, CRC-32."""

    offset: NDArray[np.int64]
    encoded_nbytes: NDArray[np.int64]
    crc: NDArray[np.uint32]


class ChunkTable:
    """Places of an array's chunks, by flat chunk index.

    Parameters
    ----------
    num_chunks
        Chunks of the grid.
    num_entries
        At most so many of them are stored.

    Notes
    -----
    20 bytes a chunk: offset and size as int64, the CRC as uint32. In an array of which few chunks
    are stored (other people's files), rows exist for the stored ones only.
    """

    def __init__(self, num_chunks: int, *, num_entries: int) -> None:
        self.num_chunks = num_chunks
        self.num_stored = 0
        self._dense = num_chunks <= 2 * num_entries + _DENSE_SLACK
        rows = num_chunks if self._dense else 0
        self._index = np.zeros(0, np.int64)
        self._offset = np.full(rows, -1, np.int64)
        self._encoded_nbytes = np.zeros(rows, np.int64)
        self._crc = np.zeros(rows, np.uint32)
        # Only for files with deflated entries.
        self._nbytes: NDArray[np.int64] | None = None

    def place(
        self,
        index: NDArray[np.int64],
        offset: NDArray[np.int64],
        encoded_nbytes: NDArray[np.int64],
        nbytes: NDArray[np.int64],
        crc: NDArray[np.uint32],
    ) -> bool:
        """Enter chunks and return whether one of them was there already; the later one counts.

        Parameters
        ----------
        index
            Flat chunk index, shape ``(n,)``.
        offset, encoded_nbytes, nbytes, crc
            Shape ``(n,)`` each.
        """
        rows = index if self._dense else self._rows_for(index)
        repeated = bool((self._offset[rows] >= 0).any())
        self._offset[rows] = offset
        self._encoded_nbytes[rows] = encoded_nbytes
        self._crc[rows] = crc
        # A chunk listed twice in one call keeps its last offset.
        repeated |= bool((self._offset[rows] != offset).any())
        if self._nbytes is not None or bool((nbytes != encoded_nbytes).any()):
            if self._nbytes is None:
                self._nbytes = self._encoded_nbytes.copy()
            self._nbytes[rows] = nbytes
        self.num_stored = (
            self.num_stored + len(index)
            if not repeated
            else int(np.count_nonzero(self._offset >= 0))
        )
        return repeated

    def _rows_for(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of chunks in a sparse table, making those that are missing."""
        fresh = np.setdiff1d(index, self._index)
        if len(fresh):
            place = np.searchsorted(self._index, fresh)
            self._index = np.insert(self._index, place, fresh)
            self._offset = np.insert(self._offset, place, -1)
            self._encoded_nbytes = np.insert(self._encoded_nbytes, place, 0)
            self._crc = np.insert(self._crc, place, np.uint32(0))
            if self._nbytes is not None:
                self._nbytes = np.insert(self._nbytes, place, 0)
        return np.searchsorted(self._index, index)

    def find(self, chunk_index: int) -> ChunkPlace | None:
        """Return a chunk's place, or None if it is not stored."""
        row = chunk_index
        if not self._dense:
            row = int(np.searchsorted(self._index, chunk_index))
            if row == len(self._index) or self._index[row] != chunk_index:
                return None
        offset = self._offset.item(row)
        if offset < 0:
            return None
        encoded_nbytes = self._encoded_nbytes.item(row)
        nbytes = encoded_nbytes if self._nbytes is None else self._nbytes.item(row)
        return ChunkPlace(offset, encoded_nbytes, nbytes, self._crc.item(row))

    def first_missing(self) -> int | None:
        """Return the first chunk that is not stored, or None if all are."""
        if self.num_stored == self.num_chunks:
            return None
        if self._dense:
            return int((self._offset < 0).argmax())
        missing = np.flatnonzero(self._index != np.arange(len(self._index)))
        return int(missing[0]) if len(missing) else len(self._index)

    @property
    def encoded_nbytes(self) -> int:
        """Stored bytes of all chunks together."""
        return int(self._encoded_nbytes.sum())

    @property
    def largest_encoded_nbytes(self) -> int:
        """Stored bytes of the largest chunk, 0 if there is none."""
        return int(self._encoded_nbytes.max(initial=0))

    def stored(self) -> tuple[NDArray[np.int64], ChunkPlaces]:
        """Return the indices of the stored chunks, ascending, and their places."""
        rows = np.flatnonzero(self._offset >= 0)
        index = rows if self._dense else self._index[rows]
        return index, ChunkPlaces(self._offset[rows], self._encoded_nbytes[rows], self._crc[rows])
