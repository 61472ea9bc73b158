"""How do blocks become batches?

A batch is a slice of a block: nothing is copied. One that crosses a block's end, or is made of
several lanes, is put together in memory of its own. So is a block's last batch while the next
block is still being filled: its memory is needed for the one after that, and the consumer would
wait anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import CorruptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chunkstore.pipeline.fill import EpochFill
    from chunkstore.pipeline.pool import BlockPool
    from chunkstore.pipeline.skipping import SkipRecord
    from chunkstore.pipeline.unit import BlockArrays

# Frameworks hold a few batches ahead. Until the consumer is so many batches, or this part, into a
# block, the next one waits for the memory of an old one.
_HELD_BATCHES: Final = 8
_HELD_PART: Final = 8
# The consumer drops a block's last batch when it has taken the first one of the next.
_LEAST_HELD_BATCHES: Final = 2


class LaneCursor:
    """The consumer's place in one lane.

    Parameters
    ----------
    fill
        Fills the lane's blocks.
    i
        Index of the lane in the fill.
    step
        The batch to begin with.
    """

    __slots__ = (
        "_batch_size",
        "_block",
        "_bounds",
        "_fill",
        "_force_at",
        "_i",
        "_k",
        "_last_block",
        "_length",
        "_num_samples",
        "_offset",
        "_position",
        "_taken_from",
    )

    def __init__(self, fill: EpochFill, i: int, *, step: int) -> None:
        self._fill = fill
        self._i = i
        self._batch_size = fill.plan.lane_batch_size
        self._length = fill.length(i)
        self._num_samples = fill.num_samples(i)
        self._position = self._taken_from = min(step * self._batch_size, self._length)
        self._bounds = fill.bounds(i)
        self._last_block = len(self._bounds) - 2
        # The block that is read, or is to be entered next.
        self._k = fill.first_block(i)
        self._block: BlockArrays | None = None
        self._offset = 0
        self._force_at = 0

    @property
    def is_in_last_block(self) -> bool:
        """Whether no block follows."""
        return self._k >= self._last_block

    @property
    def batch_length(self) -> int:
        """Samples of the lane's part of the next batch: fewer at the lane's end."""
        count = self._length - self._position
        return count if count < self._batch_size else self._batch_size

    def take_views(self) -> list[NDArray[Any]] | None:
        """Return the lane's part of the next batch as slices, or None to have it copied."""
        count = self.batch_length
        if not count:
            return None
        block = self._block or self._enter()
        start = self._position - self._offset
        stop = start + count
        if stop + self._batch_size > block.num_samples and not self._may_pin_block(stop, block):
            return None
        if block.skipped is not None and block.skipped[start:stop].any():
            return None
        views = [array[start:stop] for array in block.arrays]
        self._advance(count, block)
        return views

    def copy_into(
        self, arrays: Sequence[NDArray[Any]], place: int, missing: NDArray[np.bool_]
    ) -> int:
        """Copy the lane's part of the next batch and return where it ends.

        Parameters
        ----------
        arrays
            What to fill.
        place
            Where to begin in them.
        missing
            Set where a sample was skipped, shape ``(batch_length,)``.
        """
        count = self.batch_length
        self._taken_from = taken_from = self._position
        while count:
            copied = self._copy_part(arrays, place, count, missing)
            place += copied
            count -= copied
        self._taken_from = taken_from
        return place

    def valid(self) -> NDArray[np.bool_]:
        """Return which of the samples taken last are not padding."""
        return np.arange(self._taken_from, self._position) < self._num_samples

    def _may_pin_block(self, stop: int, block: BlockArrays) -> bool:
        """Return whether a slice up to ``stop``, its block's last one, may be handed out."""
        if stop > block.num_samples:
            return False
        return self.is_in_last_block or self._fill.is_full(self._i, self._k + 1)

    def _copy_part(
        self,
        arrays: Sequence[NDArray[Any]],
        place: int,
        count: int,
        missing: NDArray[np.bool_],
    ) -> int:
        """Copy what the present block has; nothing here refers to it afterwards."""
        block = self._block or self._enter()
        start = self._position - self._offset
        count = min(count, block.num_samples - start)
        for array, source in zip(arrays, block.arrays, strict=True):
            array[place : place + count] = source[start : start + count]
        if block.skipped is not None:
            missing[place : place + count] = block.skipped[start : start + count]
        self._advance(count, block)
        return count

    def _enter(self) -> BlockArrays:
        self._block = block = self._fill.enter(self._i, self._k)
        self._offset = self._bounds[self._k]
        part = min(_HELD_BATCHES * self._batch_size, block.num_samples // _HELD_PART)
        self._force_at = self._position + max(_LEAST_HELD_BATCHES * self._batch_size, part)
        return block

    def _advance(self, count: int, block: BlockArrays) -> None:
        self._taken_from = self._position
        self._position += count
        if self._position - self._offset == block.num_samples:
            self._block = None
            self._fill.leave(self._i, self._k)
            self._k += 1
        elif self._position >= self._force_at:
            self._fill.force(self._i)


class BatchAssembler:
    """Makes the batches of one rank out of its lanes.

    Parameters
    ----------
    cursors
        The lanes in their order.
    empty_batch
        Arrays of no samples, in the order of a block's arrays.
    pools
        Memory for copied batches, one for each array.
    has_valid
        Whether a mask of what is not padding stands behind the arrays.
    fills
        Whether samples in place of skipped ones keep a batch full; else it is shorter.
    skips
        What was skipped, or None if damage is an error.
    """

    def __init__(
        self,
        cursors: Sequence[LaneCursor],
        *,
        empty_batch: Sequence[NDArray[Any]],
        pools: Sequence[BlockPool],
        has_valid: bool,
        fills: bool = False,
        skips: SkipRecord | None = None,
    ) -> None:
        self._cursors = cursors
        self._only_cursor = cursors[0] if len(cursors) == 1 else None
        self._empty_batch = empty_batch
        self._pools = pools
        self._has_valid = has_valid
        self._fills = fills
        self._skips = skips

    @property
    def is_in_last_block(self) -> bool:
        """Whether all lanes are in their last block."""
        if self._only_cursor is not None:
            return self._only_cursor.is_in_last_block
        return all(cursor.is_in_last_block for cursor in self._cursors)

    def next_batch(self) -> list[NDArray[Any]] | None:
        """Return the arrays of the next batch, lane after lane; batches do not overlap.

        None if all its samples were skipped and none takes their places.

        Raises
        ------
        CorruptionError
            All samples of a batch that is to be full were skipped.
        """
        missing: NDArray[np.bool_] | None = None
        arrays = None if self._only_cursor is None else self._only_cursor.take_views()
        if arrays is None:
            arrays, missing = self._copy_batch()
        if self._has_valid:
            arrays.append(np.concatenate([cursor.valid() for cursor in self._cursors]))
        if missing is None or not missing.any():
            return arrays
        return self._filled(arrays, missing) if self._fills else _shortened(arrays, missing)

    def _copy_batch(self) -> tuple[list[NDArray[Any]], NDArray[np.bool_]]:
        length = sum(cursor.batch_length for cursor in self._cursors)
        arrays = [
            pool.lease_array((length, *empty.shape[1:]), empty.dtype)
            for pool, empty in zip(self._pools, self._empty_batch, strict=True)
        ]
        missing = np.zeros(length, np.bool_)
        place = 0
        for cursor in self._cursors:
            place = cursor.copy_into(arrays, place, missing)
        return arrays, missing

    def _filled(self, arrays: list[NDArray[Any]], missing: NDArray[np.bool_]) -> list[NDArray[Any]]:
        """Put samples that are there, one after the other, in the places of skipped ones."""
        gaps, there = np.flatnonzero(missing), np.flatnonzero(~missing)
        if not len(there):
            reasons = "" if self._skips is None else "; ".join(map(str, self._skips.skipped[:1]))
            raise CorruptionError(
                "every sample of a batch is in a damaged chunk, so there is nothing to fill it "
                f"with; last='keep' passes over such a batch. {reasons}"
            )
        taken = there[np.arange(len(gaps)) % len(there)]
        for array in arrays:
            array[gaps] = array[taken]
        if self._has_valid:
            arrays[-1][gaps] = False
        return arrays


def _shortened(arrays: list[NDArray[Any]], missing: NDArray[np.bool_]) -> list[NDArray[Any]] | None:
    return None if missing.all() else [array[~missing] for array in arrays]
