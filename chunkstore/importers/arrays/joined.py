"""How are the parts of an array that lie in several files read as one?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.importers.arrays.column import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class JoinedColumn(Column):
    """Columns behind each other, with equal samples.

    Raises
    ------
    ValueError
        Samples of another shape or dtype; lists all columns that differ from the first.
    """

    def __init__(self, place: str, columns: Sequence[Column]) -> None:
        first = columns[0]
        _check_equal(columns)
        self._columns = list(columns)
        self._bounds = np.concatenate([[0], np.cumsum([column.shape[0] for column in columns])])
        super().__init__(
            place,
            (int(self._bounds[-1]), *first.shape[1:]),
            max((column.dtype for column in columns), key=lambda dtype: dtype.itemsize),
            chunk_length=_common_chunk_length(columns),
            attributes=first.attributes,
        )

    @property
    def identity(self) -> str:
        """Those of all columns, and their lengths."""
        return " ".join(f"{column.shape[0]} {column.identity}" for column in self._columns)

    @property
    def is_cheap_anywhere(self) -> bool:
        """Whether all are: chunks that do not line up are no less dear."""
        return all(column.is_cheap_anywhere for column in self._columns)

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read the parts from the columns that hold them."""
        i = int(np.searchsorted(self._bounds, start, side="right")) - 1
        position = start
        while position < stop:
            base, end = int(self._bounds[i]), int(self._bounds[i + 1])
            until = min(stop, end)
            if until > position:
                part = out[position - start : until - start]
                self._columns[i].read_into(position - base, until - base, part)
                position = until
            i += 1


def _check_equal(columns: Sequence[Column]) -> None:
    first = columns[0]
    wrong = [
        column
        for column in columns
        if column.shape[1:] != first.shape[1:]
        or (column.dtype != first.dtype and not (column.is_text and first.is_text))
    ]
    if wrong:
        shown = [f"{c.place}: {_described(c)}" for c in wrong[:10]]
        more = f"\n  and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise ValueError(
            f"all parts must hold samples like the first, {first.place}: {_described(first)}; "
            "these do not:\n  "
            + "\n  ".join(shown)
            + more
            + "\nArrays beside each other in one file are named, such as x=x.npy y=y.npy"
        )


def _described(column: Column) -> str:
    """Return shape and dtype of a column's samples, for errors."""
    return f"samples of shape {column.shape[1:]} and dtype {column.dtype}"


def _common_chunk_length(columns: Sequence[Column]) -> int:
    """Return the chunk length of all columns, or 1 where their chunks do not line up."""
    lengths = {column.chunk_length for column in columns[:-1]} or {columns[-1].chunk_length}
    if len(lengths) > 1:
        return 1
    (length,) = lengths
    is_whole = all(column.shape[0] % length == 0 for column in columns[:-1])
    return length if is_whole else 1
