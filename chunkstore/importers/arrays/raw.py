"""How are samples read that lie in a file as they are in memory, one behind the other?

By reads at their offsets: a file that ends early is an error that names it, where a memory map
would kill the process.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import CorruptionError
from chunkstore.importers.arrays.column import Column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.importers.arrays.files import PlainFile
    from chunkstore.system import ReadFile


class RawColumn(Column):
    """An array in C order in a part of a file.

    Parameters
    ----------
    place, attributes
        See `Column`.
    file
        That holds it; closed by whoever opened it, if it has to be.
    offset
        Of its first byte.
    shape, dtype
        As the file has them, in any byte order.
    identity
        What tells the file from others.
    """

    def __init__(
        self,
        place: str,
        file: ReadFile | PlainFile,
        *,
        offset: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        identity: str = "",
        attributes: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(place, shape, dtype, attributes=attributes)
        self._file = file
        self._offset = offset
        self._stored_dtype = dtype
        self._identity = identity
        stop = offset + math.prod(shape) * dtype.itemsize
        if stop > file.size():
            raise CorruptionError(
                f"{place}: shape {shape} and dtype {dtype} need {stop} bytes, the file has "
                f"{file.size()}; it was cut off",
                file.path,
            )

    @property
    def identity(self) -> str:
        """What tells the file from others, where in it the array begins and how it is stored."""
        return f"{self._identity} {self._offset} {self._stored_dtype}"

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read where the samples belong; other byte orders are swapped there.

        Raises
        ------
        CorruptionError
            The file ends early.
        """
        raw = out.reshape(-1).view(np.uint8)
        done = self._file.read_into(memoryview(raw.data), self._offset + start * self.sample_nbytes)
        if done != raw.nbytes:
            raise CorruptionError(
                f"{self.place}: the file ends in samples [{start}, {stop}): {done} bytes of "
                f"{raw.nbytes}; it was cut off",
                self._file.path,
            )
        if self._stored_dtype != self.dtype:
            out[...] = out.view(self._stored_dtype)


class FortranColumn(Column):
    """An array in Fortran order in a file: samples are gathered from all over it."""

    def __init__(self, place: str, values: NDArray[Any], *, identity: str) -> None:
        # In slabs: each sample's bytes lie as far apart as the array has samples.
        nbytes = max(1, values.nbytes // max(1, len(values)))
        super().__init__(
            place, values.shape, values.dtype, chunk_length=max(1, (4 << 20) // nbytes)
        )
        self._values = values
        self._identity = identity

    @property
    def identity(self) -> str:
        """What tells the file from others."""
        return self._identity

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Copy from the mapped file."""
        out[...] = self._values[start:stop]
