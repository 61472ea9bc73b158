"""How do Python objects of unequal size become one array of bytes and a range for each sample?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chunkstore.errors import ChunkStoreError, CorruptionError, SystemCallError
from chunkstore.importers.json_values import JsonTextError, to_json_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.importers.bcolz.objects import BcolzObjectArray


class RaggedJson:
    """The elements of an array of objects as JSON text, one behind the other.

    All are read once to know their lengths; the text is made again when it is read.

    Parameters
    ----------
    array
        Of objects.
    num_samples
        Of the file; samples beyond the array's end are empty.

    Attributes
    ----------
    place
        Folder or archive of the array.
    shape, dtype
        Of all text together, bytes.
    valid
        Which samples could be read, shape ``(num_samples,)``.
    errors
        Why the others of the array could not, by sample; their text is empty.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, array: BcolzObjectArray, num_samples: int) -> None:
        self._array = array
        self.place = array.place
        self.valid = np.zeros(num_samples, np.bool_)
        self.errors: dict[int, ChunkStoreError] = {}
        # Where the text of each sample begins, and the end of the last one.
        self._bounds = np.zeros(num_samples + 1, np.int64)
        for i in range(min(len(array), num_samples)):
            try:
                self._bounds[i + 1] = len(self._text(i))
            except SystemCallError:
                raise
            except ChunkStoreError as error:
                self.errors[i] = error
            else:
                self.valid[i] = True
        np.cumsum(self._bounds, out=self._bounds)
        self.shape = (int(self._bounds[-1]),)

    def ranges(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return where the text of some samples begins and ends, shape ``(n, 2)``."""
        return np.stack([self._bounds[start:stop], self._bounds[start + 1 : stop + 1]], axis=1)

    def __getitem__(self, key: slice) -> NDArray[np.uint8]:
        start, stop, _ = key.indices(self.shape[0])
        # The samples whose text reaches into the slice.
        first = max(0, int(np.searchsorted(self._bounds, start, side="right")) - 1)
        last = int(np.searchsorted(self._bounds, stop, side="left"))
        text = b"".join(self._text(i) for i in range(first, last) if self.valid[i])
        base = int(self._bounds[first])
        return np.frombuffer(text, np.uint8)[start - base : stop - base]

    def _text(self, i: int) -> bytes:
        try:
            return to_json_text(self._array[i])
        except (TypeError, JsonTextError) as error:
            raise CorruptionError(f"array {self._array.name!r}, sample {i}: {error}") from None
