"""How is an array read in a random order that can only be decoded in chunks?

It is decoded once, from front to back, into a file without a name on the disk of the new file.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore import system
from chunkstore.errors import CorruptionError
from chunkstore.importers.arrays.column import Column

if TYPE_CHECKING:
    from contextlib import ExitStack
    from typing import IO

    from numpy.typing import NDArray

_STEP_NBYTES: Final = 8 << 20


class SpooledColumn(Column):
    """A column whose decoded samples lie in a temporary file."""

    def __init__(self, inner: Column, file: IO[bytes]) -> None:
        super().__init__(inner.place, inner.shape, inner.dtype, attributes=inner.attributes)
        self._identity = inner.identity
        self._file = file
        self._descriptor = file.fileno()

    @property
    def identity(self) -> str:
        """That of what was decoded."""
        return self._identity

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read where the samples belong."""
        raw = memoryview(out.reshape(-1).view(np.uint8).data)
        offset, done = start * self.sample_nbytes, 0
        while done < len(raw):
            count = system.calls.pread_into(self._descriptor, raw[done:], offset + done)
            if count <= 0:
                raise CorruptionError(f"{self.place}: the temporary file of its samples was cut")
            done += count


def spooled(column: Column, folder: str, resources: ExitStack) -> SpooledColumn:
    """Return a column whose samples are read in any order.

    Parameters
    ----------
    column
        Read once, in order.
    folder
        Of the temporary file, which takes the decoded bytes of the column.
    resources
        Gets the file, to be closed.
    """
    file = resources.enter_context(
        tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with the others
    )
    length = column.chunk_length
    step = max(1, _STEP_NBYTES // max(1, column.sample_nbytes * length)) * length
    for start in range(0, column.shape[0], step):
        samples: NDArray[Any] = column.read(start, min(start + step, column.shape[0]))
        file.write(memoryview(samples.reshape(-1).view(np.uint8).data))
    file.flush()
    return SpooledColumn(column, file)
