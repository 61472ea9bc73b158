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
_ZERO, _NINE = ord("0"), ord("9")


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
        few or too many numbers, or a place outside.
        """
        flat = np.full(len(names), -1, np.int64)
        if len(names) == 0 or grid.num_chunks == 0:
            return flat
        rows: NDArray[np.int64] | None = None
        head = f"c{self.separator}" if self.name == "default" else ""
        if not grid.counts:
            wanted = np.frombuffer(self.key(()).encode(), np.uint8)
            if names.shape[1] == len(wanted):
                flat[(names == wanted).all(axis=1)] = 0
            return flat
        if head:
            width = len(head)
            if names.shape[1] <= width:
                return flat
            fits = (names[:, :width] == np.frombuffer(head.encode(), np.uint8)).all(axis=1)
            if not fits.all():
                rows = np.flatnonzero(fits)
                names = names[rows]
            names = names[:, width:]
        if len(names) == 0:
            return flat
        found = self._parse_numbers(names, grid)
        if rows is None:
            return found
        flat[rows] = found
        return flat

    def _parse_numbers(self, names: NDArray[np.uint8], grid: ChunkGrid) -> NDArray[np.int64]:
        flat = np.full(len(names), -1, np.int64)
        separators = names == ord(self.separator)
        left = np.arange(len(names))
        while len(left):
            # Names whose separators stand in the same columns are handled together.
            pattern = separators[left[0]]
            if len(left) == len(names):
                same = (separators == pattern).all(axis=1)
                group = left if same.all() else left[same]
                left = left[:0] if same.all() else left[~same]
            else:
                same = (separators[left] == pattern).all(axis=1)
                group, left = left[same], left[~same]
            bounds = [-1, *np.flatnonzero(pattern).tolist(), names.shape[1]]
            if len(bounds) - 1 != len(grid.counts):
                continue
            table = names if len(group) == len(names) else names[group]
            flat[group] = _flat_index(table, bounds, grid.counts)
        return flat


def _flat_index(
    names: NDArray[np.uint8], bounds: list[int], counts: tuple[int, ...]
) -> NDArray[np.int64]:
    """Return flat indices of names whose numbers stand between the same columns."""
    flat = np.zeros(len(names), np.int64)
    is_sound = np.ones(len(names), np.bool_)
    for axis, count in enumerate(counts):
        digits = names[:, bounds[axis] + 1 : bounds[axis + 1]]
        width = digits.shape[1]
        if not 0 < width <= _MAX_DIGITS:
            return np.full(len(names), -1, np.int64)
        if width > 1:
            is_sound &= digits[:, 0] != _ZERO
        place = np.zeros(len(names), np.int64)
        for column in range(width):
            digit = digits[:, column]
            is_sound &= (digit >= _ZERO) & (digit <= _NINE)
            place *= 10
            place += digit
            place -= _ZERO
        is_sound &= place < count
        flat *= count
        flat += place
    flat[~is_sound] = -1
    return flat
