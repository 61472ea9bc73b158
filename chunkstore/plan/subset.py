"""Which samples of the data are eligible, and how many of them does each chunk hold?

A subset is kept as runs of consecutive samples: a slice is one run, a split by chunk at most one
for each chunk, and every way to write a subset down comes to the same runs, so to the same digest.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


class Subset:
    """Some of the samples ``0, 1, ... total - 1``, each at most once, in ascending order.

    Made by `parse_subset` or `subset_of_mask`.

    Parameters
    ----------
    total
        Samples that the subset is taken from.
    starts, stops
        Shape ``(num_runs,)`` each, int64: it holds the samples ``[starts[i], stops[i])``.
        Ascending, no run empty, no two of them touching. Kept.

    Examples
    --------
    >>> subset = parse_subset([2, 3, 4, 8], 10)
    >>> len(subset), subset.numbers().tolist(), subset.numbers([3, 0]).tolist()
    (4, [2, 3, 4, 8], [8, 2])
    """

    def __init__(self, total: int, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> None:
        self.total = total
        self._starts = starts
        self._stops = stops
        # Samples in the runs before each one, and in all of them.
        self._before = np.zeros(len(starts) + 1, np.int64)
        np.cumsum(stops - starts, out=self._before[1:])

    def __len__(self) -> int:
        return int(self._before[-1])

    def __repr__(self) -> str:
        return f"Subset({len(self)} of {self.total} samples, {len(self._starts)} runs)"

    @classmethod
    def joined(cls, subsets: Sequence[Subset]) -> Subset:
        """Return subsets of several data sets as one of the sets behind each other.

        Examples
        --------
        >>> whole = parse_subset(slice(None), 3)
        >>> Subset.joined([whole, parse_subset([1], 2), whole]).numbers().tolist()
        [0, 1, 2, 4, 5, 6, 7]
        """
        offsets = np.append(0, np.cumsum([subset.total for subset in subsets])).tolist()
        starts = np.concatenate(
            [subset._starts + offset for subset, offset in zip(subsets, offsets, strict=False)]
        )
        stops = np.concatenate(
            [subset._stops + offset for subset, offset in zip(subsets, offsets, strict=False)]
        )
        # Runs that touch now are one.
        touches = starts[1:] == stops[:-1]
        first, last = np.append(True, ~touches), np.append(~touches, True)
        count = len(starts)
        return cls(offsets[-1], starts[first[:count]], stops[last[:count]])

    @property
    def is_whole(self) -> bool:
        """Whether it holds all samples."""
        return len(self) == self.total

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits, equal only for the same samples of as many."""
        digest = hashlib.blake2b(f"subset {self.total} ".encode(), digest_size=8)
        digest.update(self._starts.astype("<i8").tobytes())
        digest.update(self._stops.astype("<i8").tobytes())
        return digest.hexdigest()

    def numbers(self, places: ArrayLike | None = None) -> NDArray[np.int64]:
        """Return the numbers of the samples, all or those at some places of the subset.

        Parameters
        ----------
        places
            In ``[0, len(subset))``, shape ``(n,)``; None for all.

        Returns
        -------
        numbers
            New, shape ``(n,)``.
        """
        if places is None:
            lengths = self._stops - self._starts
            shifts = np.repeat(self._starts - self._before[:-1], lengths)
            shifts += np.arange(len(self), dtype=np.int64)
            return shifts
        wanted = np.asarray(places, np.int64)
        runs = np.searchsorted(self._before, wanted, side="right") - 1
        numbers: NDArray[np.int64] = wanted - self._before[runs] + self._starts[runs]
        return numbers

    def mask(self) -> NDArray[np.bool_]:
        """Return the subset as a mask, shape ``(total,)``."""
        mask = np.zeros(self.total, np.bool_)
        mask[self.numbers()] = True
        return mask

    def count_before(self, numbers: ArrayLike) -> NDArray[np.int64]:
        """Return how many samples of the subset come before each of some sample numbers.

        Parameters
        ----------
        numbers
            In ``[0, total]``, any shape.
        """
        wanted = np.asarray(numbers, np.int64)
        runs = np.searchsorted(self._stops, wanted, side="right")
        inside = wanted - np.append(self._starts, self.total)[runs]
        counts: NDArray[np.int64] = self._before[runs] + np.maximum(inside, 0)
        return counts

    def select(self, selection: Any) -> Subset:
        """Return some samples of this subset; ``selection`` counts its samples, not all."""
        inner = parse_subset(selection, len(self))
        return _subset_of_numbers(self.numbers(inner.numbers()), self.total)


class SubsetUnits:
    """A subset, divided into the units that are read together.

    Parameters
    ----------
    subset
        The eligible samples.
    bounds
        Unit ``i`` holds the samples ``[bounds[i], bounds[i + 1])`` of the data; shape
        ``(num_units + 1,)``, int64.

    Attributes
    ----------
    counts
        Eligible samples of each unit, shape ``(num_units,)``, int64.

    Examples
    --------
    >>> units = SubsetUnits(parse_subset([2, 3, 8], 10), np.array([0, 4, 8, 10]))
    >>> units.counts.tolist()
    [2, 0, 1]
    >>> unit, places = units.locate(0, np.array([0, 1]))
    >>> unit, places.tolist()
    (0, [2, 3])
    """

    def __init__(self, subset: Subset, bounds: NDArray[np.int64]) -> None:
        self._subset = subset
        self._bounds = bounds
        self._firsts = subset.count_before(bounds)
        self.counts: NDArray[np.int64] = np.diff(self._firsts)

    def locate(self, chunk: int, samples: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
        """Return the unit of a chunk of the plan, and where its eligible samples stand in it.

        Parameters
        ----------
        chunk
            What the plan calls a chunk: here a unit.
        samples
            Places among the eligible samples of the unit, shape ``(n,)``, int64.

        Returns
        -------
        unit, places
            Places in the unit, shape ``(n,)``.
        """
        start = int(self._bounds[chunk])
        if self.counts[chunk] == self._bounds[chunk + 1] - start:
            return chunk, samples
        return chunk, self._subset.numbers(samples + self._firsts[chunk]) - start


def parse_subset(selection: Any, num_samples: int) -> Subset:
    """Return a subset of ``num_samples`` samples.

    Parameters
    ----------
    selection
        A slice; a mask, shape ``(num_samples,)``; or ascending sample numbers, negative ones
        counted from the end. A subset of as many samples is returned as it is.
    num_samples
        Samples to choose from.

    Raises
    ------
    IndexError
        If a number is outside the samples, or a mask has another length.
    TypeError
        If it is none of these.
    ValueError
        If numbers are not ascending, or one comes twice.

    Examples
    --------
    >>> parse_subset(slice(None, None, 4), 10).numbers().tolist()
    [0, 4, 8]
    """
    if isinstance(selection, Subset):
        if selection.total != num_samples:
            raise ValueError(f"a subset of {selection.total} samples, but there are {num_samples}")
        return selection
    if isinstance(selection, slice):
        try:
            chosen = range(*selection.indices(num_samples))
        except TypeError:
            raise TypeError(
                f"a slice of samples has integers or None as its bounds and step, got {selection}"
            ) from None
        return _subset_of_range(chosen, num_samples)
    given = np.asarray(selection)
    if given.dtype == np.bool_ and given.shape == (num_samples,):
        return subset_of_mask(given)
    if given.dtype == np.bool_:
        raise IndexError(f"a mask must have shape ({num_samples},), got {given.shape}")
    if given.ndim != 1 or (given.dtype.kind not in "iu" and given.size):
        raise TypeError(
            "a subset is a slice, a mask or sample numbers of one axis, "
            f"got {type(selection).__name__} of dtype {given.dtype}, shape {given.shape}"
        )
    outside = (given < -num_samples) | (given >= num_samples)
    if outside.any():
        wrong = int(given[outside][0])
        raise IndexError(
            f"sample {wrong} is out of bounds, allowed is [{-num_samples}, {num_samples})"
        )
    numbers = given.astype(np.int64)
    numbers[numbers < 0] += num_samples
    falls = np.flatnonzero(np.diff(numbers) <= 0)
    if len(falls):
        first, second = numbers[falls[0] : falls[0] + 2].tolist()
        raise ValueError(
            f"sample numbers must be ascending and none twice, got {second} behind {first}: "
            "sort them (numpy.unique); a loader shuffles by itself, and repeats by its weights"
        )
    return _subset_of_numbers(numbers, num_samples)


def subset_of_mask(mask: NDArray[np.bool_]) -> Subset:
    """Return the samples at which a mask of one axis is True.

    Examples
    --------
    >>> subset_of_mask(np.array([True, False, True, True])).numbers().tolist()
    [0, 2, 3]
    """
    edges = np.diff(mask.astype(np.int8), prepend=0, append=0)
    return Subset(len(mask), np.flatnonzero(edges == 1), np.flatnonzero(edges == -1))


def _subset_of_numbers(numbers: NDArray[np.int64], total: int) -> Subset:
    """Return the subset of ascending numbers, none twice."""
    is_start = np.diff(numbers, prepend=-2) > 1
    is_stop = np.append(is_start[1:], True)[: len(numbers)]
    return Subset(total, numbers[is_start], numbers[is_stop] + 1)


def _subset_of_range(numbers: range, total: int) -> Subset:
    if numbers.step < 0:
        raise ValueError(f"a slice must count upwards, got a step of {numbers.step}")
    if numbers.step > 1:
        return _subset_of_numbers(np.arange(numbers.start, numbers.stop, numbers.step), total)
    ends = [(numbers.start, numbers.stop)] if len(numbers) else []
    runs = np.array(ends, np.int64).reshape(-1, 2)
    return Subset(total, runs[:, 0], runs[:, 1])
