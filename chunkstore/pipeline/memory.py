"""How are numpy arrays read as if they were stored in chunks?"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.settings import DEFAULT_CHUNK_NBYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Samples whose bytes enter the fingerprint: enough to tell data sets apart, cheap for any length.
_FINGERPRINT_SAMPLES: Final = 16


class MemorySource:
    """A numpy array as a `ChunkSource`.

    Parameters
    ----------
    name
        How errors call the array.
    array
        At least one axis; the first is the sample axis. Kept, not copied: a change of it shows in
        what is read afterwards.
    chunk_length
        Samples in a chunk; by default as many as make about 1 MiB, or all if they are fewer.

    Raises
    ------
    TypeError
        If the array holds Python objects, or masked values.
    ValueError
        If the array has no sample axis, or the chunk length is not at least 1.

    Examples
    --------
    >>> source = MemorySource("x", np.arange(10), chunk_length=4)
    >>> source.num_chunks
    3
    """

    def __init__(self, name: str, array: NDArray[Any], *, chunk_length: int | None = None) -> None:
        if array.dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects; use a fixed-size dtype")
        if array.ndim == 0:
            raise ValueError(f"array {name!r} has shape (): it has no sample axis")
        if np.ma.is_masked(array):
            raise TypeError(
                f"array {name!r} has masked values, which a batch would show: give "
                ".filled(value), and the mask as an array of its own"
            )
        if chunk_length is None:
            sample_nbytes = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
            fitting = DEFAULT_CHUNK_NBYTES // max(sample_nbytes, 1)
            chunk_length = max(1, min(fitting, len(array)))
        if chunk_length < 1:
            raise ValueError(f"chunk_length must be at least 1, got {chunk_length}")
        self.name = name
        self.chunk_length = chunk_length
        self._array = array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements, in native byte order."""
        return self._array.dtype.newbyteorder("=")

    @property
    def num_chunks(self) -> int:
        """Chunks of the array."""
        return -(-len(self._array) // self.chunk_length)

    @property
    def fingerprint(self) -> str:
        """Digest of the layout and of some samples."""
        digest = hashlib.blake2b(digest_size=8)
        digest.update(f"{self.shape} {self.dtype.str} {self.chunk_length}".encode())
        if len(self._array):
            picked = np.linspace(0, len(self._array) - 1, _FINGERPRINT_SAMPLES).astype(np.int64)
            digest.update(np.ascontiguousarray(self._array[picked]).tobytes())
        return digest.hexdigest()

    def open_reader(self, *, direct: bool = False) -> MemoryReader:
        """Return a reader; ``direct`` changes nothing."""
        return MemoryReader(self._array, self.chunk_length)

    def __repr__(self) -> str:
        return (
            f"MemorySource({self.name!r}, shape={self.shape}, dtype={self.dtype}, "
            f"chunk_length={self.chunk_length})"
        )


class MemoryReader:
    """Copies chunks out of an array.

    Parameters
    ----------
    array
        What is read.
    chunk_length
        Samples in a chunk.
    """

    buffer_nbytes = 0
    fetch_seconds = 0.0

    def __init__(self, array: NDArray[Any], chunk_length: int) -> None:
        self._array = array
        self._chunk_length = chunk_length
        self.read_nbytes = 0
        self.decode_seconds = 0.0

    def read_chunk_into(self, chunk_index: int, out: NDArray[Any]) -> None:
        """Copy one chunk; see `ChunkReader.read_chunk_into`."""
        started = time.perf_counter()
        start = chunk_index * self._chunk_length
        chunk = self._array[start : start + self._chunk_length]
        out[: len(chunk)] = chunk
        self.read_nbytes += chunk.nbytes
        self.decode_seconds += time.perf_counter() - started

    def close(self) -> None:
        """Do nothing: the array belongs to the caller."""
