"""How do windows become batches?

A batch is a slice of a window: nothing is copied. One that crosses a window's end, or is made of
several lanes, is put together in memory of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chunkstore.pipeline.fill import EpochFill
    from chunkstore.pipeline.unit import WindowArrays

# Frameworks hold a few batches ahead. Until the consumer is so many batches, or this part, into a
# window, the next one waits for the memory of an old one.
_HELD_BATCHES: Final = 8
_HELD_PART: Final = 8
# The consumer drops a window's last batch when it has taken the first one of the next.
_LEAST_HELD_BATCHES: Final = 2


class LaneCursor:
    """The consumer's place in one lane.

    Parameters
    ----------
    fill
        Fills the lane's windows.
    i
        Index of the lane in the fill.
    position
        Where to begin in what the lane delivers.
    batch_size
        Samples that the lane gives to a batch.
    """

    __slots__ = (
        "_batch_size",
        "_batch_start",
        "_bounds",
        "_fill",
        "_force_at",
        "_i",
        "_length",
        "_next",
        "_num_samples",
        "_offset",
        "_position",
        "_window",
    )

    def __init__(self, fill: EpochFill, i: int, *, position: int, batch_size: int) -> None:
        self._fill = fill
        self._i = i
        self._position = self._batch_start = position
        self._batch_size = batch_size
        self._length = fill.length(i)
        self._num_samples = fill.num_samples(i)
        self._bounds = fill.bounds(i)
        self._next = fill.first_window(i)
        self._window: WindowArrays | None = None
        self._offset = 0
        self._force_at = 0

    @property
    def is_in_last_window(self) -> bool:
        """Whether no window follows."""
        return self._next >= len(self._bounds) - 1

    def take(self) -> list[list[NDArray[Any]]]:
        """Return the lane's part of the next batch, shorter at the lane's end.

        Returns
        -------
        parts
            Slices of one window after the other; each a list of arrays of equal length.
        """
        parts = []
        self._batch_start = self._position
        count = min(self._batch_size, self._length - self._position)
        while count > 0:
            window = self._window or self._enter()
            start = self._position - self._offset
            stop = min(start + count, window.num_samples)
            parts.append([array[start:stop] for array in window.arrays])
            self._position += stop - start
            count -= stop - start
            if stop == window.num_samples:
                # Given up here, the memory returns with the last batch of the window.
                self._window = None
        if self._position >= self._force_at:
            self._fill.force(self._i)
        return parts

    def valid(self) -> NDArray[np.bool_]:
        """Return which of the samples taken last are not padding."""
        return np.arange(self._batch_start, self._position) < self._num_samples

    def _enter(self) -> WindowArrays:
        w = self._next
        self._window = window = self._fill.window(self._i, w)
        self._next = w + 1
        self._offset = self._bounds[w]
        part = min(_HELD_BATCHES * self._batch_size, window.num_samples // _HELD_PART)
        self._force_at = self._position + max(_LEAST_HELD_BATCHES * self._batch_size, part)
        return window


class BatchAssembler:
    """Makes the batches of one rank out of its lanes.

    Parameters
    ----------
    cursors
        The lanes in their order.
    empty_batch
        Arrays of no samples, in the order of a window's arrays.
    has_valid
        Whether a mask of what is not padding stands behind the arrays.
    """

    def __init__(
        self,
        cursors: Sequence[LaneCursor],
        *,
        empty_batch: Sequence[NDArray[Any]],
        has_valid: bool,
    ) -> None:
        self._cursors = cursors
        self._empty_batch = empty_batch
        self._has_valid = has_valid

    @property
    def is_in_last_window(self) -> bool:
        """Whether all lanes are in their last window."""
        return all(cursor.is_in_last_window for cursor in self._cursors)

    def next_batch(self) -> list[NDArray[Any]]:
        """Return the arrays of the next batch, lane after lane; batches do not overlap."""
        if len(self._cursors) == 1:
            parts = self._cursors[0].take()
        else:
            parts = [part for cursor in self._cursors for part in cursor.take()]
        if len(parts) == 1:
            (arrays,) = parts
        elif parts:
            arrays = [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
        else:
            arrays = [array.copy() for array in self._empty_batch]
        if self._has_valid:
            arrays.append(np.concatenate([cursor.valid() for cursor in self._cursors]))
        return arrays
