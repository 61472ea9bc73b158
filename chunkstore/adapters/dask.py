"""How does a stored array become a dask array?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

try:
    import dask.array
except ImportError as error:
    raise ImportError("to_dask() needs dask: pip install 'chunkstore[dask]'") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.store.array import Array

# A task costs dask some 0.2 ms: blocks of many chunks, still several for each core.
_BLOCK_NBYTES: Final = 16 << 20


def to_dask(array: Array, *, block_nbytes: int = _BLOCK_NBYTES) -> Any:
    """Return a dask array of a stored array; nothing is read yet.

    Parameters
    ----------
    array
        With at least one axis.
    block_nbytes
        Decoded bytes of a dask block: as many whole chunks as fit, at least one.

    Notes
    -----
    Works under threads, processes and dask.distributed: the array is pickled as its path and
    opened again where the blocks are read, which fails if the file has changed since.
    """
    if not array.shape:
        raise TypeError(f"array {array.name!r} is a scalar: it has no blocks")
    chunk_nbytes = array.chunk_length * math.prod(array.shape[1:]) * array.dtype.itemsize
    length = array.chunk_length * max(1, block_nbytes // max(1, chunk_nbytes))
    return dask.array.from_array(
        _Blocks(array),
        chunks=(length, *array.shape[1:]),
        name=f"chunkstore-{array.fingerprint}-{length}",
        meta=np.empty((0,) * array.ndim, array.dtype),
        lock=False,
    )


class _Blocks:
    """An array whose samples are read in the caller's thread: dask has threads of its own."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self.shape = array.shape
        self.dtype = array.dtype
        self.ndim = array.ndim

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        first, *rest = key
        start, stop, step = first.indices(self.shape[0]) if isinstance(first, slice) else (0, 0, 0)
        if step != 1:
            # Dask has moved an index into the reading of its blocks.
            chosen: NDArray[Any] = self._array[key]
            return chosen
        samples = self._array.read_samples(start, max(start, stop), threads=1)
        return samples[(slice(None), *rest)]
