"""Which chunks does an array have, and which entry names stand for them?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# 10^18 - 1 fits an int64, so that digits are plain arithmetic.
_MAX_DIGITS = 18
_ZERO = ord("0")
_MAX_DIGIT = 9


@dataclass(frozen=True)
class ChunkGrid:
    """A regular grid: every chunk has the same shape, those at the edge hang over.

    Parameters
    ----------
    shape
        Of the array.
    chunk_shape
        Of a chunk, each at least 1.
    """

    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Chunks along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunk_shape, strict=True))

    @cached_property
    def num_chunks(self) -> int:
        """Chunks of the array."""
        return math.prod(self.counts)

    def coords(self, flat: int) -> tuple[int, ...]:
        """Return the place of a chunk along each axis, in C order."""
        coords = []
        for count in reversed(self.counts):
            flat, place = divmod(flat, count)
            coords.append(place)
        return tuple(reversed(coords))

    def flat(self, coords: tuple[int, ...]) -> int:
        """Return the flat index of a chunk, in C order."""
        flat = 0
        for place, count in zip(coords, self.counts, strict=True):
            flat = flat * count + place
        return flat


@dataclass(frozen=True)
class ChunkKeyEncoding:
    """How a chunk's place becomes the name of its entry.

    Source: zarr v3 core specification, "Chunk key encoding".

    Parameters
    ----------
    name
        ``"default"``: ``c/12/0``. ``"v2"``: ``12/0``.
    separator
        ``"/"`` or ``"."``.
    """

    name: Literal["default", "v2"] = "default"
    separator: Literal["/", "."] = "/"

    def key(self, coords: tuple[int, ...]) -> str:
        """Return the name of a chunk, relative to its array."""
        numbers = self.separator.join(map(str, coords))
        if self.name == "default":
            return f"c{self.separator}{numbers}" if coords else "c"
        return numbers if coords else "0"

    def parse(self, names: NDArray[np.uint8], grid: ChunkGrid) -> NDArray[np.int64]:
        """Return the flat chunk index that each name stands for.

        Parameters
        ----------
        names
            Shape ``(n, length)``, uint8: names relative to the array, all of one length.
        grid
            Of the array.

        Returns
        -------
        Shape ``(n,)``; -1 for what is no chunk of this grid: other characters, leading zeros, too
        few or too many numbers, more than 18 digits, or a place outside.
        """
        flat = np.full(len(names), -1, np.int64)
        if len(names) == 0 or grid.num_chunks == 0:
            return flat
        head = self._head if grid.counts else self.key(())
        # columns: (length, n), so that each step runs through memory in order.
        columns = np.ascontiguousarray(names.T)
        if len(columns) < len(head):
            return flat
        is_sound = _matches(columns[: len(head)], head)
        columns = columns[len(head) :]
        if not grid.counts:
            if len(columns) == 0:
                flat[is_sound] = 0
            return flat
        if is_sound.all():
            return self._parse_numbers(columns, grid.counts)
        rows = np.flatnonzero(is_sound)
        if len(rows):
            flat[rows] = self._parse_numbers(columns[:, rows], grid.counts)
        return flat

    @property
    def _head(self) -> str:
        return f"c{self.separator}" if self.name == "default" else ""

    def _parse_numbers(
        self, columns: NDArray[np.uint8], counts: tuple[int, ...]
    ) -> NDArray[np.int64]:
        """Return flat indices of names without their head, given as columns of characters."""
        is_separator = columns == ord(self.separator)
        pattern = is_separator[:, :1]
        if (is_separator == pattern).all():
            # The usual case: in all names the numbers stand in the same columns.
            bounds = np.flatnonzero(pattern).tolist()
            if len(bounds) + 1 != len(counts):
                return np.full(columns.shape[1], -1, np.int64)
            return _flat_of_columns(columns - np.uint8(_ZERO), bounds, counts)
        flat = np.full(columns.shape[1], -1, np.int64)
        rows = np.flatnonzero(np.count_nonzero(is_separator, axis=0) == len(counts) - 1)
        # names: (n, length) again; around: (n, axes + 1), the columns around each number.
        names = columns.T[rows]
        around = np.empty((len(rows), len(counts) + 1), np.int64)
        around[:, 0], around[:, -1] = -1, len(columns)
        around[:, 1:-1] = is_separator.T[rows].nonzero()[1].reshape(len(rows), len(counts) - 1)
        flat[rows] = _flat_of_rows(names - np.uint8(_ZERO), around, counts)
        return flat


def _matches(columns: NDArray[np.uint8], text: str) -> NDArray[np.bool_]:
    wanted = np.frombuffer(text.encode("ascii"), np.uint8)
    is_equal: NDArray[np.bool_] = (columns == wanted[:, None]).all(axis=0)
    return is_equal


def _flat_of_columns(
    digits: NDArray[np.uint8], bounds: list[int], counts: tuple[int, ...]
) -> NDArray[np.int64]:
    """Return flat indices of names whose numbers stand in the same columns.

    Parameters
    ----------
    digits
        Shape ``(length, n)``: characters less "0", so above 9 where there is no digit.
    bounds
        Columns of the separators.
    counts
        Chunks along each axis.
    """
    num_names = digits.shape[1]
    flat = np.zeros(num_names, np.int64)
    is_wrong: NDArray[np.bool_] | None = None
    starts = [0, *(column + 1 for column in bounds)]
    stops = [*bounds, len(digits)]
    for start, stop, count in zip(starts, stops, counts, strict=True):
        if not 0 < stop - start <= _MAX_DIGITS:
            return np.full(num_names, -1, np.int64)
        number = digits[start:stop]
        place = number[0].astype(np.int64)
        for digit in number[1:]:
            place *= 10
            place += digit
        # One look at the extremes spares a mask for each column.
        has_leading_zero = stop - start > 1 and not number[0].all()
        if has_leading_zero or number.max() > _MAX_DIGIT or place.max() >= count:
            wrong = (number > _MAX_DIGIT).any(axis=0) | (place >= count)
            if has_leading_zero:
                wrong |= number[0] == 0
            is_wrong = wrong if is_wrong is None else is_wrong | wrong
        flat *= count
        flat += place
    if is_wrong is not None:
        flat[is_wrong] = -1
    return flat


def _flat_of_rows(
    digits: NDArray[np.uint8], bounds: NDArray[np.int64], counts: tuple[int, ...]
) -> NDArray[np.int64]:
    """Return flat indices of names whose numbers stand anywhere.

    Parameters
    ----------
    digits
        Shape ``(n, length)``: characters less "0".
    bounds
        Shape ``(n, axes + 1)``: the columns around each number.
    counts
        Chunks along each axis.
    """
    flat = np.zeros(len(digits), np.int64)
    is_sound = np.ones(len(digits), np.bool_)
    row = np.arange(len(digits))
    for axis, count in enumerate(counts):
        first = bounds[:, axis] + 1
        width = bounds[:, axis + 1] - first
        is_sound &= (width > 0) & (width <= _MAX_DIGITS)
        place = np.zeros(len(digits), np.int64)
        for column in range(min(int(width.max(initial=0)), _MAX_DIGITS)):
            is_inside = column < width
            digit = digits[row, np.where(is_inside, first + column, 0)]
            is_sound &= ~is_inside | (digit <= _MAX_DIGIT)
            if column == 0:
                is_sound &= (digit != 0) | (width == 1)
            place = np.where(is_inside, place * 10 + digit, place)
        is_sound &= place < count
        flat *= count
        flat += place
    flat[~is_sound] = -1
    return flat
