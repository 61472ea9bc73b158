"""How is one array of a view read?"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore import settings
from chunkstore.store.indexing import select as parse_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

    from chunkstore.plan.subset import Subset


class ViewArray:
    """One array of a view: lazy, read by index as NumPy does.

    Parameters
    ----------
    name
        Of the array.
    parts
        The arrays of the sources.
    subset
        Which of all their samples.
    """

    def __init__(self, name: str, parts: Sequence[Any], subset: Subset) -> None:
        first = parts[0]
        for part in parts[1:]:
            if part.shape[1:] != first.shape[1:] or part.dtype != first.dtype:
                raise ValueError(
                    f"sources seen as one must have equal samples: array {name!r} has "
                    f"{first.dtype} of shape {first.shape[1:]} in the first, {part.dtype} of shape "
                    f"{part.shape[1:]} in another"
                )
        self.name = name
        self._parts = parts
        self._subset = subset

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape; axis 0 counts the samples of the view."""
        return (len(self._subset), *self._parts[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type, in native byte order."""
        dtype: np.dtype[Any] = self._parts[0].dtype
        return dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the selected samples decoded."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def fingerprint(self) -> str:
        """Digest of which samples of which data these are."""
        digest = hashlib.blake2b(self._subset.digest.encode(), digest_size=16)
        for part in self._parts:
            if isinstance(part, np.ndarray):
                digest.update(f"{part.shape} {part.dtype.str} ".encode())
                digest.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
            else:
                digest.update(part.fingerprint.encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Return the elements at an index, as new memory; each chunk touched is decoded once."""
        selection = parse_index(key, self.shape, self.name)
        places = selection.samples
        if isinstance(places, slice):
            places = np.arange(places.start, places.stop, dtype=np.int64)
        result = self._read(places)[(slice(None), *selection.rest)]
        return result if selection.after is None else result[selection.after]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        limit = settings.current().asarray_nbytes
        if self.nbytes > limit:
            raise ValueError(
                f"array {self.name!r} of the view takes {self.nbytes} bytes; reading it whole by "
                f"np.asarray is allowed up to {limit} bytes. Use a Loader, or write array[...]"
            )
        if copy is False:
            raise ValueError(f"array {self.name!r} of a view has to be copied to be read")
        whole: NDArray[Any] = self[...]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"<chunkstore.ViewArray {self.name!r} shape={self.shape} dtype={self.dtype}>"

    def _read(self, places: NDArray[np.int64]) -> NDArray[Any]:
        out = np.empty((len(places), *self.shape[1:]), self.dtype)
        numbers = self._subset.numbers(places)
        first = 0
        for part in self._parts:
            wanted = (numbers >= first) & (numbers < first + part.shape[0])
            if wanted.any():
                out[wanted] = _read_samples(part, numbers[wanted] - first)
            first += part.shape[0]
        return out


def _read_samples(array: Any, numbers: NDArray[np.int64]) -> NDArray[Any]:
    """Return samples of an array of a store, a numpy array or another `ChunkSource`."""
    if hasattr(array, "__getitem__"):
        samples: NDArray[Any] = array[numbers]
        return samples
    out = np.empty((len(numbers), *array.shape[1:]), array.dtype)
    chunk = np.empty((array.chunk_length, *array.shape[1:]), array.dtype)
    reader = array.open_reader()
    try:
        for chunk_index in np.unique(numbers // array.chunk_length).tolist():
            reader.read_chunk_into(chunk_index, chunk)
            wanted = numbers // array.chunk_length == chunk_index
            out[wanted] = chunk[numbers[wanted] - chunk_index * array.chunk_length]
    finally:
        reader.close()
    return out
