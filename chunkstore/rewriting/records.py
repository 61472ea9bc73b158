"""How does one sample of all arrays stand in one piece of memory?

A record is the sample's key and then its values, array after array, so that moving a sample is one
copy and a pile is one run of bytes, whatever the number of arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.pipeline.scatter import row_view
from chunkstore.rewriting.contents import sample_nbytes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from chunkstore.store.array import Array

_KEY: Final = np.dtype(np.uint64)


class RecordLayout:
    """Where the values of a sample stand in its record.

    Parameters
    ----------
    arrays
        By name.

    Attributes
    ----------
    nbytes
        Of a record, a multiple of 8.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._forms = {name: (array.dtype, array.shape[1:]) for name, array in arrays.items()}
        self._offsets: dict[str, tuple[int, int]] = {}
        position = _KEY.itemsize
        for name, array in arrays.items():
            nbytes = sample_nbytes_of(array)
            # Samples without elements take no place.
            if nbytes:
                self._offsets[name] = position, nbytes
            position += nbytes
        self.nbytes = -(-position // _KEY.itemsize) * _KEY.itemsize

    def describe(self) -> list[list[Any]]:
        """Return what memory of records means, JSON values."""
        return [[name, *place, self._forms[name][0].str] for name, place in self._offsets.items()]

    def keys(self, memory: memoryview, count: int) -> NDArray[np.uint64]:
        """Return the keys of records, a view of shape ``(count,)``."""
        return np.ndarray((count,), _KEY, memory, 0, (self.nbytes,))

    def place_into(
        self,
        memory: memoryview,
        count: int,
        arrays: Mapping[str, NDArray[Any]],
        dest: slice | NDArray[np.int64],
    ) -> None:
        """Copy samples to their places among records.

        Parameters
        ----------
        memory
            Of ``count`` records.
        count
            How many there are.
        arrays
            Samples by name.
        dest
            Their places.

        Notes
        -----
        Threads: safe while no other call has an equal place.
        """
        for name in self._offsets:
            self._rows(memory, count, name)[dest] = row_view(arrays[name])

    def gather(
        self, memory: memoryview, count: int, places: NDArray[np.int64]
    ) -> dict[str, NDArray[Any]]:
        """Return samples of records in the order of their places, as new memory.

        Parameters
        ----------
        memory
            Of ``count`` records.
        count
            How many there are.
        places
            Shape ``(n,)``.
        """
        arrays: dict[str, NDArray[Any]] = {}
        for name, (dtype, sample_shape) in self._forms.items():
            shape = (len(places), *sample_shape)
            if name in self._offsets:
                rows = self._rows(memory, count, name)[places]
                arrays[name] = rows.view(np.uint8).view(dtype).reshape(shape)
            else:
                arrays[name] = np.empty(shape, dtype)
        return arrays

    def _rows(self, memory: memoryview, count: int, name: str) -> NDArray[np.void]:
        """Return the values of one array in records as opaque items, shape ``(count,)``."""
        offset, nbytes = self._offsets[name]
        return np.ndarray((count,), np.dtype((np.void, nbytes)), memory, offset, (self.nbytes,))
