"""How are values counted and measured chunk by chunk, so that memory does not grow?

Integers of 16 bits and fewer are counted one by one, which makes all that is said of them exact.
Of other numbers, range, mean and spread are exact, and quantiles are those of a million of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Values that are kept for quantiles and the histogram.
KEPT_VALUES: Final = 1_000_000
# Small arrays of kept values that become one: each has a hundred bytes beside them.
_MOST_PARTS: Final = 4096
# Spreads the places of what is kept over the chunks: a golden section of 32 bits.
_SPREAD: Final = 0x9E3779B1
QUANTILES: Final = (0.005, 0.25, 0.5, 0.75, 0.995)
NUM_BINS: Final = 40
# Integers that span fewer values get a bar each.
_MOST_SINGLE_VALUES: Final = 64
# A range so many times that of 99 % of the values is cut to these, or the bars would be one.
_FAR: Final = 8
_COUNTED_BITS: Final = 16
# Values that are counted or summed at a time: both take eight bytes for each meanwhile.
_BLOCK_VALUES: Final = 1 << 20


@dataclass(frozen=True)
class Histogram:
    """How often values fall between edges.

    Attributes
    ----------
    counts
        Shape ``(bins,)``, int64.
    low, high
        The outer edges.
    num_below, num_above
        Values outside of them.
    """

    counts: NDArray[np.int64]
    low: float
    high: float
    num_below: int = 0
    num_above: int = 0


@dataclass(frozen=True)
class Measures:
    """What a tally came to; None where there was no finite value.

    Attributes
    ----------
    num_values, num_nan, num_positive_infinity, num_negative_infinity
        Counts; the first is that of all values.
    minimum, maximum
        Of finite values, as Python numbers.
    mean, std
        Of finite values.
    quantiles
        At `QUANTILES`.
    histogram
        Of finite values.
    """

    num_values: int
    num_nan: int
    num_positive_infinity: int
    num_negative_infinity: int
    minimum: int | float | None
    maximum: int | float | None
    mean: float | None
    std: float | None
    quantiles: tuple[float, ...] | None
    histogram: Histogram | None


class CountedTally:
    """Counts each value of small integers and booleans.

    Parameters
    ----------
    dtype
        Kind ``b``, ``u`` or ``i`` of at most 16 bits.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._bits = 8 * dtype.itemsize
        # A signed number is read as an unsigned one, and the upper half moved below zero.
        self._unsigned = np.dtype(f"u{dtype.itemsize}")
        self._is_signed = dtype.kind == "i"
        self._counts = np.zeros(1 << self._bits, np.int64)

    @staticmethod
    def can_count(dtype: np.dtype[Any]) -> bool:
        """Say whether values of a type are few enough to be counted one by one."""
        return dtype.kind in "bui" and 8 * dtype.itemsize <= _COUNTED_BITS

    def add(self, values: NDArray[Any]) -> None:
        """Count values of any shape."""
        flat = np.ascontiguousarray(values).reshape(-1).view(self._unsigned)
        for start in range(0, len(flat), _BLOCK_VALUES):
            self._counts += np.bincount(
                flat[start : start + _BLOCK_VALUES], minlength=len(self._counts)
            )

    def measures(self) -> Measures:
        """Return what was counted."""
        values = np.arange(len(self._counts), dtype=np.int64)
        if self._is_signed:
            values[values >= 1 << (self._bits - 1)] -= 1 << self._bits
        order = np.argsort(values, kind="stable")
        order = order[self._counts[order] > 0]
        values, counts = values[order], self._counts[order]
        total = int(counts.sum())
        if not total:
            return Measures(0, 0, 0, 0, None, None, None, None, None, None)
        mean = float((values * (counts / total)).sum())
        variance = float((((values - mean) ** 2) * (counts / total)).sum())
        ranks = np.cumsum(counts)
        places = np.searchsorted(ranks, [math.ceil(q * total) or 1 for q in QUANTILES])
        quantiles = tuple(float(value) for value in values[places])
        return Measures(
            total,
            0,
            0,
            0,
            int(values[0]),
            int(values[-1]),
            mean,
            math.sqrt(variance),
            quantiles,
            histogram_of(values, quantiles, times=counts),
        )


class NumberTally:
    """Measures numbers of any type.

    Parameters
    ----------
    row_length
        Elements of a sample: what is kept of them takes all columns in turn.
    num_chunks
        Calls of `add` to come: each keeps its share.
    """

    def __init__(self, *, row_length: int, num_chunks: int) -> None:
        self._row_length = max(row_length, 1)
        self._keep = max(1, KEPT_VALUES // max(num_chunks, 1))
        self._kept: list[NDArray[Any]] = []
        self._num_calls = 0
        self._num_values = self._num_nan = self._num_high = self._num_low = 0
        self._minimum: Any = None
        self._maximum: Any = None
        self._count = 0
        self._mean = self._squares = 0.0

    def add(self, values: NDArray[Any]) -> None:
        """Measure values of any shape."""
        flat = values.reshape(-1)
        self._num_values += len(flat)
        if flat.dtype.kind == "f":
            is_finite = np.isfinite(flat)
            if not is_finite.all():
                strange = flat[~is_finite]
                self._num_nan += int(np.isnan(strange).sum())
                self._num_high += int((strange > 0).sum())
                self._num_low += int((strange < 0).sum())
                flat = flat[is_finite]
        if not len(flat):
            return
        low, high = flat.min().item(), flat.max().item()
        self._minimum = low if self._minimum is None else min(self._minimum, low)
        self._maximum = high if self._maximum is None else max(self._maximum, high)
        for start in range(0, len(flat), _BLOCK_VALUES):
            self._add_moments(flat[start : start + _BLOCK_VALUES])
        step = max(1, len(flat) // self._keep)
        while math.gcd(step, self._row_length) > 1:
            step += 1
        # Not the first value of each chunk: where few are kept it would be one column.
        start = self._num_calls * _SPREAD % min(step, len(flat))
        self._num_calls += 1
        self._kept.append(flat[start::step].copy())
        if len(self._kept) == _MOST_PARTS:
            self._kept = [np.concatenate(self._kept)]

    def _add_moments(self, flat: NDArray[Any]) -> None:
        # The largest float64 values have no mean and no spread in float64: infinite, or NaN.
        with np.errstate(over="ignore", invalid="ignore"):
            exact = flat.astype(np.float64)
            mean = float(exact.mean())
            exact -= mean
            squares = float(np.dot(exact, exact))
            count = self._count + len(flat)
            step = mean - self._mean
            self._squares += squares + step * step * self._count * len(flat) / count
            self._mean += step * len(flat) / count
            self._count = count

    def measures(self) -> Measures:
        """Return what was measured."""
        outside = (self._num_values, self._num_nan, self._num_high, self._num_low)
        if not self._count:
            return Measures(*outside, None, None, None, None, None, None)
        kept = np.concatenate(self._kept)
        quantiles = tuple(
            float(value) for value in np.quantile(kept, QUANTILES, method="inverted_cdf")
        )
        return Measures(
            *outside,
            self._minimum,
            self._maximum,
            self._mean,
            math.sqrt(self._squares / self._count) if self._squares >= 0 else math.nan,
            quantiles,
            histogram_of(kept, quantiles, low=self._minimum, high=self._maximum),
        )


def histogram_of(
    values: NDArray[Any],
    quantiles: tuple[float, ...],
    *,
    times: NDArray[np.int64] | None = None,
    low: Any = None,
    high: Any = None,
) -> Histogram:
    """Return how values are spread, over their range or over that of nearly all of them.

    Parameters
    ----------
    values
        Finite, shape ``(n,)``, ``n`` at least 1.
    quantiles
        At `QUANTILES`.
    times
        How often each of them comes; None for once.
    low, high
        Of all values, where these are only some of them.
    """
    low = values.min().item() if low is None else low
    high = values.max().item() if high is None else high
    is_integer = values.dtype.kind in "biu"
    middle = quantiles[-1] - quantiles[0]
    # In Python numbers: the difference of two float64 may be infinite, of two int64 too large.
    if middle > 0 and float(high) / _FAR - float(low) / _FAR > middle:
        low, high = quantiles[0], quantiles[-1]
    weights = np.ones(len(values), np.int64) if times is None else times
    if is_integer and high - low < _MOST_SINGLE_VALUES:
        edges = np.arange(int(low), int(high) + 2, dtype=np.float64) - 0.5
    elif low == high:
        edges = np.array([float(low), np.nextafter(float(high), np.inf)])
    else:
        steps = np.linspace(0.0, 1.0, NUM_BINS + 1)
        edges = float(low) * (1 - steps) + float(high) * steps
    places = np.searchsorted(edges, values.astype(np.float64), side="right") - 1
    # The last edge belongs to the last bin.
    places[values == high] = len(edges) - 2
    is_below, is_above = places < 0, places > len(edges) - 2
    inside = ~(is_below | is_above)
    counts = np.bincount(places[inside], weights[inside], minlength=len(edges) - 1)
    return Histogram(
        counts.astype(np.int64),
        float(low),
        float(high),
        int(weights[is_below].sum()),
        int(weights[is_above].sum()),
    )


class ClassTally:
    """Counts the classes of labels: few different integers, strings or booleans, or one-hot rows.

    Parameters
    ----------
    dtype, sample_shape
        Of the labels.
    """

    _MOST_CLASSES: Final = 4096
    _LEAST_SAMPLES_A_CLASS: Final = 4

    def __init__(self, dtype: np.dtype[Any], sample_shape: tuple[int, ...]) -> None:
        self._counts: dict[Any, int] = {}
        size = math.prod(sample_shape)
        self._is_one_hot = len(sample_shape) == 1 and size > 1 and dtype.kind in "biuf"
        is_single = size == 1 and dtype.kind in "biuSU"
        self._may_be = is_single or (self._is_one_hot and size <= self._MOST_CLASSES)
        self._is_boolean = dtype.kind == "b"
        self._num_samples = 0

    def add(self, samples: NDArray[Any]) -> None:
        """Count the classes of samples, shape ``(n, *sample_shape)``."""
        if not self._may_be:
            return
        self._num_samples += len(samples)
        if self._is_one_hot:
            if not ((samples != 0).sum(axis=1) == 1).all():
                self._may_be = False
                return
            flat: NDArray[Any] = samples.argmax(axis=1)
        else:
            flat = samples.reshape(-1)
        values, counts = np.unique(flat, return_counts=True)
        if len(values) > self._MOST_CLASSES:
            self._may_be = False
            return
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self._counts[value] = self._counts.get(value, 0) + count
        self._may_be = len(self._counts) <= self._MOST_CLASSES

    def counts(self, *, is_certain: bool = False) -> tuple[tuple[Any, int], ...] | None:
        """Return each class with its count, in order; None if these are no classes.

        Parameters
        ----------
        is_certain
            The file says that they are: then any number of samples will do.
        """
        if not self._may_be or not self._counts:
            return None
        few_enough = max(1, self._num_samples // self._LEAST_SAMPLES_A_CLASS)
        is_free = is_certain or self._is_boolean or self._is_one_hot
        if not is_free and len(self._counts) > few_enough:
            return None
        return tuple(sorted(self._counts.items()))
