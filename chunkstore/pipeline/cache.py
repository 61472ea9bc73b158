"""Which decoded chunks are kept because several units need them?

Labels are cut into longer chunks than images: one chunk of theirs covers many units. It is decoded
once and kept while the memory lasts.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class _Entry:
    __slots__ = ("chunk", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.chunk: NDArray[Any] | None = None


class ChunkCache:
    """Decoded chunks, the least recently used given up first.

    Parameters
    ----------
    nbytes
        What the kept chunks may take together. The one that was decoded last is kept in any case.

    Notes
    -----
    Threads: safe. Two threads that want the same chunk decode it once: the second waits for the
    first.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self._entries: OrderedDict[tuple[int, int], _Entry] = OrderedDict()
        self._kept_nbytes = 0
        self._lock = threading.Lock()

    @property
    def kept_nbytes(self) -> int:
        """Bytes of the chunks kept."""
        return self._kept_nbytes

    def chunk(
        self,
        array_index: int,
        chunk_index: int,
        *,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        decode_into: Callable[[int, NDArray[Any]], None],
    ) -> NDArray[Any]:
        """Return a decoded chunk, decoding it if it is not kept.

        Parameters
        ----------
        array_index, chunk_index
            Which chunk of which array.
        shape, dtype
            Of a decoded chunk.
        decode_into
            Called with the chunk's index and the array to fill.

        Returns
        -------
        chunk
            Shared: not to be written to.
        """
        key = (array_index, chunk_index)
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = _Entry()
            else:
                self._entries.move_to_end(key)
        with entry.lock:
            if entry.chunk is None:
                chunk = np.empty(shape, dtype)
                decode_into(chunk_index, chunk)
                entry.chunk = chunk
                self._count(chunk.nbytes)
            return entry.chunk

    def clear(self) -> None:
        """Give up everything."""
        with self._lock:
            self._entries.clear()
            self._kept_nbytes = 0

    def _count(self, nbytes: int) -> None:
        with self._lock:
            self._kept_nbytes += nbytes
            for key, entry in list(self._entries.items())[:-1]:
                if self._kept_nbytes <= self.nbytes:
                    break
                # One that is being decoded counts when it is done.
                if entry.chunk is not None:
                    del self._entries[key]
                    self._kept_nbytes -= entry.chunk.nbytes
