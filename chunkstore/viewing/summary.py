"""Which values does an array hold?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from chunkstore.viewing.sampling import is_readable, read_chunks
from chunkstore.viewing.tallying import QUANTILES, ClassTally, CountedTally, NumberTally
from chunkstore.viewing.text import as_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from chunkstore.store.array import Array
    from chunkstore.viewing.sampling import ChunkChoice, Remarks
    from chunkstore.viewing.tallying import Histogram, Measures

Kind = Literal["numbers", "magnitudes", "times", "text", "structure", "bytes"]

_NAT: Final = np.iinfo(np.int64).min
# Fields of a structure that are summed up.
_MOST_FIELDS: Final = 16


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the values of an array are, as far as they were read.

    Attributes
    ----------
    kind
        ``"magnitudes"`` of complex numbers, ``"times"`` of dates and durations.
    num_samples, num_read_samples
        Of the array, and those that were read.
    num_values, num_nan, num_positive_infinity, num_negative_infinity
        Of the values that were read; NaT counts as NaN.
    minimum, maximum
        Of finite values; of text, the length in characters or bytes. None if there is none.
    mean, std, quantiles, histogram
        Of finite values; the quantiles at 0.5, 25, 50, 75 and 99.5 %.
    num_empty
        Texts without a character.
    classes
        Each value and how often it comes, in order, where these are labels; None for others.
    fields
        Of a structure.
    """

    kind: Kind
    num_samples: int
    num_read_samples: int
    num_values: int = 0
    num_nan: int = 0
    num_positive_infinity: int = 0
    num_negative_infinity: int = 0
    minimum: int | float | str | None = None
    maximum: int | float | str | None = None
    mean: float | None = None
    std: float | None = None
    quantiles: tuple[float, ...] | None = None
    histogram: Histogram | None = None
    num_empty: int = 0
    classes: tuple[tuple[Any, int], ...] | None = None
    fields: dict[str, Summary] = field(default_factory=dict)

    @property
    def is_exact(self) -> bool:
        """Whether every sample was read."""
        return self.num_read_samples == self.num_samples

    @property
    def is_constant(self) -> bool:
        """Whether all finite values that were read are one."""
        return self.minimum is not None and self.minimum == self.maximum

    @property
    def num_infinite(self) -> int:
        """Infinite values of both signs."""
        return self.num_positive_infinity + self.num_negative_infinity

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values; None stands for what there is not."""
        found: dict[str, Any] = {
            "kind": self.kind,
            "num_samples": self.num_samples,
            "num_read_samples": self.num_read_samples,
            "is_exact": self.is_exact,
            "num_values": self.num_values,
            "num_nan": self.num_nan,
            "num_positive_infinity": self.num_positive_infinity,
            "num_negative_infinity": self.num_negative_infinity,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "mean": _finite_or_none(self.mean),
            "std": _finite_or_none(self.std),
            "quantiles": None
            if self.quantiles is None
            else dict(zip(map(str, QUANTILES), self.quantiles, strict=True)),
            "num_classes": None if self.classes is None else len(self.classes),
            "classes": None
            if self.classes is None
            else {as_text(value): count for value, count in self.classes},
        }
        if self.kind == "text":
            found["num_empty"] = self.num_empty
        if self.fields:
            found["fields"] = {name: inner.to_json() for name, inner in self.fields.items()}
        return found


def summarise(
    array: Array,
    choice: ChunkChoice,
    remarks: Remarks,
    *,
    is_label: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> Summary:
    """Return what the values of some chunks are.

    Parameters
    ----------
    array
        Of an open store.
    choice
        The chunks.
    remarks
        Takes what cannot be read.
    is_label
        The file says that these are numbers of classes.
    advance
        Called with each number of decoded bytes.
    """
    sample_shape = array.shape[1:]
    num_samples = array.shape[0] if array.shape else 1
    tally = _tally_of(array.dtype, sample_shape, len(choice.chunks))
    num_read = 0
    if is_readable(array, remarks):
        for _, samples in read_chunks(array, choice, remarks):
            tally.add(samples)
            num_read += len(samples)
            advance(samples.nbytes)
    return tally.summary(num_samples, num_read, is_label=is_label)


class _Tally:
    """Sums up values of one type."""

    def add(self, samples: NDArray[Any]) -> None:
        """Take samples in, shape ``(n, *sample_shape)``."""

    def summary(self, num_samples: int, num_read: int, *, is_label: bool) -> Summary:
        """Return what was taken in."""
        return Summary(kind="bytes", num_samples=num_samples, num_read_samples=num_read)


class _Numbers(_Tally):
    def __init__(self, dtype: np.dtype[Any], sample_shape: tuple[int, ...], chunks: int) -> None:
        self._kind: Kind = "magnitudes" if dtype.kind == "c" else "numbers"
        self._classes = ClassTally(dtype, sample_shape)
        self._tally: CountedTally | NumberTally = (
            CountedTally(dtype)
            if CountedTally.can_count(dtype)
            else NumberTally(row_length=math.prod(sample_shape), num_chunks=chunks)
        )

    def add(self, samples: NDArray[Any]) -> None:
        self._classes.add(samples)
        if samples.dtype.kind == "c":
            # The magnitude of the largest numbers is infinite.
            with np.errstate(over="ignore", invalid="ignore"):
                samples = np.abs(samples)
        self._tally.add(samples)

    def summary(self, num_samples: int, num_read: int, *, is_label: bool) -> Summary:
        return _with_measures(
            self._tally.measures(),
            kind=self._kind,
            num_samples=num_samples,
            num_read_samples=num_read,
            classes=self._classes.counts(is_certain=is_label),
        )


class _Times(_Tally):
    def __init__(self, dtype: np.dtype[Any], sample_shape: tuple[int, ...], chunks: int) -> None:
        self._dtype = dtype
        self._tally = NumberTally(row_length=math.prod(sample_shape), num_chunks=chunks)
        self._num_missing = 0

    def add(self, samples: NDArray[Any]) -> None:
        ticks = samples.reshape(-1).view(np.int64)
        known = ticks[ticks != _NAT]
        self._num_missing += len(ticks) - len(known)
        self._tally.add(known)

    def summary(self, num_samples: int, num_read: int, *, is_label: bool) -> Summary:
        found = self._tally.measures()
        return Summary(
            kind="times",
            num_samples=num_samples,
            num_read_samples=num_read,
            num_values=found.num_values + self._num_missing,
            num_nan=self._num_missing,
            minimum=self._text(found.minimum),
            maximum=self._text(found.maximum),
            histogram=found.histogram,
        )

    def _text(self, ticks: Any) -> str | None:
        if ticks is None:
            return None
        return str(np.array([ticks], np.int64).view(self._dtype)[0])


class _Text(_Tally):
    def __init__(self, dtype: np.dtype[Any], sample_shape: tuple[int, ...], chunks: int) -> None:
        self._classes = ClassTally(dtype, sample_shape)
        self._lengths = NumberTally(row_length=math.prod(sample_shape), num_chunks=chunks)
        self._num_empty = 0

    def add(self, samples: NDArray[Any]) -> None:
        self._classes.add(samples)
        lengths = np.strings.str_len(samples)
        self._num_empty += int(np.count_nonzero(lengths == 0))
        self._lengths.add(lengths)

    def summary(self, num_samples: int, num_read: int, *, is_label: bool) -> Summary:
        return _with_measures(
            self._lengths.measures(),
            kind="text",
            num_samples=num_samples,
            num_read_samples=num_read,
            num_empty=self._num_empty,
            classes=self._classes.counts(is_certain=is_label),
        )


class _Structure(_Tally):
    def __init__(self, dtype: np.dtype[Any], sample_shape: tuple[int, ...], chunks: int) -> None:
        names = (dtype.names or ())[:_MOST_FIELDS]
        self._fields = {
            name: _tally_of(dtype[name].base, (*sample_shape, *dtype[name].shape), chunks)
            for name in names
        }

    def add(self, samples: NDArray[Any]) -> None:
        for name, tally in self._fields.items():
            tally.add(np.ascontiguousarray(samples[name]))

    def summary(self, num_samples: int, num_read: int, *, is_label: bool) -> Summary:
        return Summary(
            kind="structure",
            num_samples=num_samples,
            num_read_samples=num_read,
            fields={
                name: tally.summary(num_samples, num_read, is_label=False)
                for name, tally in self._fields.items()
            },
        )


def _tally_of(dtype: np.dtype[Any], sample_shape: tuple[int, ...], num_chunks: int) -> _Tally:
    if dtype.names is not None:
        return _Structure(dtype, sample_shape, num_chunks)
    if dtype.kind in "biufc":
        return _Numbers(dtype, sample_shape, num_chunks)
    if dtype.kind in "mM":
        return _Times(dtype, sample_shape, num_chunks)
    if dtype.kind in "SU":
        return _Text(dtype, sample_shape, num_chunks)
    return _Tally()


def _with_measures(measures: Measures, **others: Any) -> Summary:
    return Summary(
        num_values=measures.num_values,
        num_nan=measures.num_nan,
        num_positive_infinity=measures.num_positive_infinity,
        num_negative_infinity=measures.num_negative_infinity,
        minimum=measures.minimum,
        maximum=measures.maximum,
        mean=measures.mean,
        std=measures.std,
        quantiles=measures.quantiles,
        histogram=measures.histogram,
        **others,
    )


def _finite_or_none(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else number
