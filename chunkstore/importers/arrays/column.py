"""How are the samples of one foreign array read, whatever library owns it?"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import ChunkStoreError, CorruptionError
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray


class Column(ABC):
    """One foreign array; its axis 0 counts samples.

    Parameters
    ----------
    place
        How errors call it, such as ``"train.h5: dataset '/input'"``.
    shape
        Of the whole array.
    dtype
        Of what `read_into` gives, in native byte order.
    chunk_length
        Samples that are decoded together; 1 where any sample is as cheap as any other.
    attributes
        What the new array shall be described by, JSON values.

    Notes
    -----
    Threads: `read_into` is safe in several.
    """

    # Whether texts may be read into memory for longer ones.
    is_text = False

    def __init__(
        self,
        place: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        *,
        chunk_length: int = 1,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        if not shape:
            raise ValueError(f"{place} is a single value: it has no axis that counts samples")
        self.place = place
        self.shape = shape
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.chunk_length = max(1, min(chunk_length, shape[0] or 1))
        self.attributes = attributes or {}

    @property
    def identity(self) -> str:
        """What tells it from others of equal layout, as far as it is known."""
        return ""

    @property
    def is_cheap_anywhere(self) -> bool:
        """Whether samples in a random order cost about what they cost in theirs."""
        return self.chunk_length == 1

    @property
    def sample_nbytes(self) -> int:
        """Decoded bytes of a sample."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Decoded bytes of all samples."""
        return self.shape[0] * self.sample_nbytes

    @abstractmethod
    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Copy the samples ``[start, stop)`` to ``out``, which has just their shape."""

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples ``[start, stop)`` as a new array."""
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        if out.size:
            self.read_into(start, stop, out)
        return out

    def __getitem__(self, key: slice) -> NDArray[Any]:
        """Return the samples of a slice without a step, as the writer asks for them."""
        start, stop, _ = key.indices(self.shape[0])
        return self.read(start, max(start, stop))


class MemoryColumn(Column):
    """An array in memory."""

    def __init__(
        self, place: str, values: NDArray[Any], *, attributes: dict[str, Any] | None = None
    ) -> None:
        super().__init__(place, values.shape, values.dtype, attributes=attributes)
        self._values = values

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Copy from memory."""
        out[...] = self._values[start:stop]


class ForeignColumn(Column):
    """An array of h5py or zarr, read by the source that also trains from it.

    Parameters
    ----------
    place, attributes
        See `Column`.
    array
        The library's own, which stays open as long as this is read.

    Raises
    ------
    TypeError, ValueError, UnsupportedError
        It has no sample axis, or elements of no fixed size.
    """

    def __init__(self, place: str, array: Any, *, attributes: dict[str, Any] | None = None) -> None:
        source = resolve("chunkstore.sources.recognise", "foreign_source")(place, array)
        own_length = source.own_length()
        super().__init__(
            place,
            source.shape,
            source.dtype,
            chunk_length=own_length or 1,
            attributes=attributes,
        )
        self._source = source

    @property
    def identity(self) -> str:
        """What the library knows about where the array stands."""
        return str(self._source.identity())

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read by the library.

        Raises
        ------
        CorruptionError
            The library cannot decode the samples; says which.
        """
        with decoding(self.place, start, stop):
            self._source.read_samples_into(start, stop, out)


@contextmanager
def decoding(place: str, start: int, stop: int) -> Iterator[None]:
    """Turn what another library raises in a ``with`` block into an error that names the samples.

    Raises
    ------
    CorruptionError
        The library cannot decode the samples ``[start, stop)`` of what is called ``place``.
    """
    try:
        yield
    except (ChunkStoreError, MemoryError):
        raise
    except Exception as error:
        raise CorruptionError(
            f"{place}: samples [{start}, {stop}) cannot be read: {type(error).__name__}: {error}"
        ) from error


class MappedColumn(Column):
    """Another column whose samples are changed as they are read.

    Parameters
    ----------
    inner
        What is read.
    sample_shape, dtype
        Of the changed samples.
    change
        Takes samples of ``inner`` and the number of the first, returns as many of the new ones.
    attributes
        In place of those of ``inner``.
    """

    def __init__(
        self,
        inner: Column,
        change: Callable[[NDArray[Any], int], NDArray[Any]],
        *,
        sample_shape: tuple[int, ...],
        dtype: np.dtype[Any],
        attributes: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            inner.place,
            (inner.shape[0], *sample_shape),
            dtype,
            chunk_length=inner.chunk_length,
            attributes=inner.attributes if attributes is None else attributes,
        )
        self._inner = inner
        self._change = change

    @property
    def identity(self) -> str:
        """That of the inner one, and the shape that is made of it."""
        return f"{self._inner.identity} {self.shape} {self.dtype.str}"

    @property
    def is_cheap_anywhere(self) -> bool:
        """As the inner one."""
        return self._inner.is_cheap_anywhere

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read, then change."""
        out[...] = self._change(self._inner.read(start, stop), start)


class ReshapedColumn(Column):
    """Another column with samples of another shape and as many elements; nothing is copied."""

    def __init__(
        self,
        inner: Column,
        sample_shape: tuple[int, ...],
        *,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            inner.place,
            (inner.shape[0], *sample_shape),
            inner.dtype,
            chunk_length=inner.chunk_length,
            attributes=inner.attributes if attributes is None else attributes,
        )
        self._inner = inner

    @property
    def identity(self) -> str:
        """That of the inner one."""
        return self._inner.identity

    @property
    def is_cheap_anywhere(self) -> bool:
        """As the inner one."""
        return self._inner.is_cheap_anywhere

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read into the same memory under the other shape."""
        # out is new memory, so this is a view: (stop - start, *inner sample shape)
        self._inner.read_into(start, stop, out.reshape((stop - start, *self._inner.shape[1:])))
