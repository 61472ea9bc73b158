"""How do a sample's arrays stand in one record of bytes?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.peers.record import Task


class SampleRecords:
    """Records whose bytes are those of the arrays' samples, one behind the other.

    Parameters
    ----------
    task
        With the arrays.

    Attributes
    ----------
    nbytes
        Of a record.
    fields
        First byte, byte behind the last one, dtype and sample shape of each array.
    """

    def __init__(self, task: Task) -> None:
        self.fields = []
        start = 0
        for dtype, shape in task.arrays.values():
            nbytes = np.dtype(dtype).itemsize * int(np.prod(shape))
            self.fields.append((start, start + nbytes, np.dtype(dtype), tuple(shape)))
            start += nbytes
        self.nbytes = start

    def stack(self, records: Sequence[Any]) -> tuple[NDArray[Any], ...]:
        """Return a batch: one array for each field, with a copy of the records' bytes.

        Parameters
        ----------
        records
            Bytes or buffers, all of the same length.
        """
        # A bytearray: the batch may be written to, as every loader allows.
        rows = np.frombuffer(bytearray().join(records), np.uint8).reshape(len(records), self.nbytes)
        return tuple(
            np.ascontiguousarray(rows[:, start:stop]).view(dtype).reshape(len(records), *shape)
            for start, stop, dtype, shape in self.fields
        )

    def split(self, record: Any) -> tuple[NDArray[Any], ...]:
        """Return one sample's arrays, as views of a record."""
        whole = memoryview(record)
        return tuple(
            np.frombuffer(whole[start:stop], dtype).reshape(shape)
            for start, stop, dtype, shape in self.fields
        )
