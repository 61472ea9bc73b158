"""How is anything that can be sliced along its first axis read in chunks?"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import UnsupportedError
from chunkstore.settings import DEFAULT_CHUNK_NBYTES
from chunkstore.store.samples import as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray


class SlicedSource:
    """An array of another library as a `ChunkSource`.

    Parameters
    ----------
    name
        How errors call the array.
    array
        ``array.shape`` is a tuple of integers, ``numpy.dtype(array.dtype)`` works, and
        ``numpy.asarray(array[start:stop])`` gives the samples ``[start, stop)``. ``array.chunks``,
        if it is an integer or a tuple of them, says how many samples belong together; without it
        about 1 MiB is read at a time. ``array.fingerprint``, if it is a string, tells it from other
        arrays of equal layout. Kept, not copied.

    Notes
    -----
    Threads: the array is sliced by several threads at a time and must allow that. Reads past the
    page cache are not possible: the library that owns the array does the reading.

    Examples
    --------
    >>> source = SlicedSource("x", np.zeros((1000, 4096)))
    >>> source.chunk_length, source.num_chunks
    (32, 32)
    """

    def __init__(self, name: str, array: Any) -> None:
        self.name = name
        self.array = array
        self.shape = self._parse_shape()
        self.dtype = self._parse_dtype()
        self.chunk_length = max(1, min(self._wanted_length(), self.shape[0]))

    # ------------------------------------------------------------ what a library may know better

    def own_length(self) -> int | None:
        """Return the samples that the array itself keeps together; None if any slice is as good."""
        chunks = getattr(self.array, "chunks", None)
        first = chunks[0] if isinstance(chunks, tuple) and chunks else chunks
        return int(first) if isinstance(first, int | np.integer) and first > 0 else None

    def raw_dtype(self) -> Any:
        """Return the type of the elements as the array tells it."""
        return getattr(self.array, "dtype", None)

    def identity(self) -> str:
        """Return what tells this array from others of equal layout, as far as it is known."""
        fingerprint = getattr(self.array, "fingerprint", "")
        return fingerprint if isinstance(fingerprint, str) else ""

    def check_readable(self) -> None:
        """Raise if the array cannot be read any more, or is not what it was."""
        self._check_shape(tuple(self.array.shape))

    def temporary_nbytes(self) -> int:
        """Return the most bytes that reading a chunk takes beside the memory it is read into."""
        return self.chunk_length * self.sample_nbytes

    def read_samples_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Copy the samples ``[start, stop)`` to ``out``, which has just their shape."""
        self.copy_into(self.array[start:stop], start, stop, out)

    # --------------------------------------------------------------------------------- ChunkSource

    @property
    def num_chunks(self) -> int:
        """Chunks of the array."""
        return -(-self.shape[0] // self.chunk_length)

    @property
    def sample_nbytes(self) -> int:
        """Bytes of a decoded sample."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the layout, and of where the array stands as far as it tells; reads no data."""
        record = repr((self.shape, self.dtype.descr, self.chunk_length, self.identity()))
        return hashlib.blake2b(record.encode(), digest_size=16).hexdigest()

    def open_reader(self, *, direct: bool = False) -> SlicedReader:
        """Return a reader for one thread; ``direct`` changes nothing."""
        return SlicedReader(self)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.name!r}, shape={self.shape}, dtype={self.dtype}, "
            f"chunk_length={self.chunk_length})"
        )

    # -------------------------------------------------------------------------------------- inside

    def copy_into(self, block: Any, start: int, stop: int, out: NDArray[Any]) -> None:
        """Copy what the array gave for ``[start, stop)``; ValueError if it has another shape."""
        samples = as_array(self.name, block)
        if samples.shape != out.shape:
            raise ValueError(
                f"array {self.name!r} has shape {self.shape}, but gives shape {samples.shape} for "
                f"its samples [{start}, {stop}); was it changed meanwhile?"
            )
        if samples.dtype.newbyteorder("=") != self.dtype:
            raise TypeError(
                f"array {self.name!r} has dtype {self.dtype}, but gives {samples.dtype} for its "
                f"samples [{start}, {stop})"
            )
        out[...] = samples

    def _check_shape(self, shape: tuple[Any, ...]) -> None:
        if shape != self.shape:
            raise ValueError(
                f"array {self.name!r} had shape {self.shape} when it was given and has {shape} "
                "now; make a new Loader after a change"
            )

    def _parse_shape(self) -> tuple[int, ...]:
        shape = getattr(self.array, "shape", None)
        if (
            not isinstance(shape, tuple)
            or self.raw_dtype() is None
            or not hasattr(self.array, "__getitem__")
            or isinstance(self.array, Mapping)
        ):
            raise TypeError(
                f"array {self.name!r} must be an array of a store, of NumPy, h5py, zarr or dask, "
                "or have shape, dtype and slices along axis 0; "
                f"got {type(self.array).__name__}"
            )
        if not shape:
            raise ValueError(f"array {self.name!r} has shape (): it has no sample axis")
        # NaN is how dask says that a length is not known.
        if any(length != length for length in shape):
            raise ValueError(
                f"array {self.name!r}: its shape {shape} is not known before it is computed; call "
                "compute_chunk_sizes() first"
            )
        return tuple(int(length) for length in shape)

    def _parse_dtype(self) -> np.dtype[Any]:
        given = self.raw_dtype()
        try:
            dtype = np.dtype(given)
        except TypeError:
            raise TypeError(
                f"array {self.name!r} has elements of type {given!r}, which is no NumPy dtype; "
                "give it as a NumPy array"
            ) from None
        if dtype.hasobject or dtype.kind == "T":
            raise UnsupportedError(
                f"array {self.name!r} holds {dtype} values of no fixed size (strings of any "
                "length, or Python objects), which batches cannot hold; write them as a "
                "fixed-size dtype such as 'S32'"
            )
        # A dtype's metadata, such as the names of an HDF5 enumeration, changes no value.
        native: np.dtype[Any] = dtype if dtype.names else np.dtype(dtype.str)
        return native.newbyteorder("=")

    def _wanted_length(self) -> int:
        """Return as many of the array's own chunks as make about 1 MiB, at least one."""
        wanted = max(1, DEFAULT_CHUNK_NBYTES // max(self.sample_nbytes, 1))
        own = self.own_length()
        return wanted if own is None else own * max(1, wanted // own)


class SlicedReader:
    """Reads chunks of a `SlicedSource`. One for each thread.

    Parameters
    ----------
    source
        What is read.
    """

    fetch_seconds = 0.0

    def __init__(self, source: SlicedSource) -> None:
        self._source = source
        self.buffer_nbytes = source.temporary_nbytes()
        self.read_nbytes = 0
        self.decode_seconds = 0.0

    def read_chunk_into(self, chunk_index: int, out: NDArray[Any]) -> None:
        """Read one chunk; see `ChunkReader.read_chunk_into`.

        Raises
        ------
        ValueError, TypeError
            If the array has another shape or type than it had.
        Exception
            What the library raises, with a note that names the array and the samples.
        """
        started = time.perf_counter()
        source = self._source
        start = chunk_index * source.chunk_length
        stop = min(start + source.chunk_length, source.shape[0])
        samples = out[: stop - start]
        try:
            source.check_readable()
            source.read_samples_into(start, stop, samples)
        except Exception as error:
            error.add_note(f"while reading samples [{start}, {stop}) of array {source.name!r}")
            raise
        self.read_nbytes += samples.nbytes
        self.decode_seconds += time.perf_counter() - started

    def close(self) -> None:
        """Do nothing: the array belongs to the caller."""
