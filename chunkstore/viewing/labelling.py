"""Which array holds the labels, what are its classes called, and which come where in the file?"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import ChunkStoreError, ChunkStoreWarning
from chunkstore.pipeline.loader import Loader
from chunkstore.viewing.sampling import (
    LOOK_NBYTES,
    choose_chunks,
    is_readable,
    read_chunks,
    sample_nbytes,
)
from chunkstore.viewing.text import called, format_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from chunkstore.diagnosis import Diagnosis
    from chunkstore.store.array import Array
    from chunkstore.store.store import Store
    from chunkstore.viewing.sampling import Remarks
    from chunkstore.viewing.summary import Summary

# What labels are called, in this order.
_USUAL_NAMES: Final = ("y", "label", "labels", "target", "targets", "class", "classes", "category")
_CLASS_NAMES: Final = "class_names"
# Classes that get a colour of their own; the others share one.
MOST_COLOURS: Final = 9
_MOST_BINS: Final = 60
# A batch of the size that most people use.
ADVICE_BATCH_SIZE: Final = 64
_MOST_SHOWN_ELEMENTS: Final = 3
# A loader's diagnosis holds a number of each sample, some times.
_MOST_JUDGED: Final = 50_000_000
# It takes four million samples at most: labels this wide stay within the bytes of a look.
_MOST_JUDGED_NBYTES: Final = 16
# Labels that are drawn along the file; they are sorted, and held several times meanwhile.
_ALONG_NBYTES: Final = 16 << 20


@dataclass(frozen=True)
class Along:
    """What labels are along the file.

    Attributes
    ----------
    classes
        Those that have a colour, the most frequent first.
    shares
        Shape ``(bins, len(classes) + 1)``: the share of each in neighbouring samples, of all
        others in the last column; NaN where nothing was read. None for values.
    low, middle, high
        Of values: a tenth, half and nine tenths of neighbouring samples are smaller; shape
        ``(bins,)``. None for classes.
    """

    classes: tuple[Any, ...]
    shares: NDArray[np.float64] | None
    low: NDArray[np.float64] | None = None
    middle: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Labelling:
    """The labels of a file.

    Attributes
    ----------
    name
        Of their array.
    names
        Of classes, by number.
    summary
        Of the array.
    along
        What comes where; None where nothing was read.
    """

    name: str
    names: Mapping[int, str]
    summary: Summary
    along: Along | None

    @property
    def counts(self) -> tuple[tuple[str, int], ...] | None:
        """What each class is called and how often it comes; None for values."""
        if self.summary.classes is None:
            return None
        return tuple((self.called(value), count) for value, count in self.summary.classes)

    @property
    def class_order(self) -> tuple[str, ...]:
        """What the classes are called that have a colour, in the order of the colours."""
        return () if self.along is None else tuple(map(self.called, self.along.classes))

    def called(self, value: Any) -> str:
        """Return what a class is called."""
        return called(value, self.names)


def find_labels(store: Store, wanted: str | None) -> str | None:
    """Return the name of the array of labels, None if no array looks like it.

    Parameters
    ----------
    store
        An open one.
    wanted
        The caller's choice; None takes an array that is called as labels usually are.

    Raises
    ------
    KeyError, ValueError, TypeError
        There is no such array, or it has no label for each sample.
    """
    aligned = store.sample_arrays
    if wanted is not None:
        if not isinstance(wanted, str):
            raise TypeError(
                f"labels must be the name of an array, or None, got {wanted!r:.80} of type "
                f"{type(wanted).__name__}"
            )
        there = ", ".join(map(repr, aligned)) or "none"
        if wanted not in store:
            raise KeyError(f"labels names {wanted!r}, but there are only {there}")
        if wanted not in aligned:
            raise ValueError(
                f"labels names {wanted!r}, which has no label for each of the "
                f"{store.num_samples:,} samples; those that have one for each: {there}"
            )
        return wanted
    for name in _USUAL_NAMES:
        if name in aligned and store[name].dtype.kind in "biufSU" and store[name].ndim <= 2:
            return name
    return None


def class_names(store: Store, name: str, *, is_label: bool) -> dict[int, str]:
    """Return what the classes of an array are called, by number, as far as the file says it.

    The attribute ``class_names`` is the array's own, or the file's where no other array has one and
    this one holds the labels: a list, or a mapping from numbers.
    """
    known = store[name].attributes.get(_CLASS_NAMES)
    if (
        known is None
        and is_label
        and not any(_CLASS_NAMES in array.attributes for array in store.values())
    ):
        known = store.attributes.get(_CLASS_NAMES)
    if isinstance(known, list):
        return {number: str(text) for number, text in enumerate(known)}
    if isinstance(known, dict):
        return {int(number): str(text) for number, text in known.items() if _is_number(number)}
    return {}


def caption(label: Any, names: Mapping[int, str], *, is_one_hot: bool = False) -> str:
    """Return the label of one sample in a few characters.

    Parameters
    ----------
    label
        One element of a store's array: a scalar or an array.
    names
        Of classes.
    is_one_hot
        Whether the array's rows are classes.

    Examples
    --------
    >>> caption(np.int64(1), {1: "dog"}), caption(np.array([0, 1]), {1: "dog"}, is_one_hot=True)
    ('dog', 'dog')
    >>> caption(np.array([0.5, 1.25, 2, 3]), {})
    '0.5, 1.25, 2, ...'
    """
    values = np.asarray(label)
    if values.size == 1:
        value = values.reshape(()).item()
        if isinstance(value, float):
            return format_number(value)
        # Some times have no Python object.
        return str(values.reshape(())) if values.dtype.kind in "mM" else called(value, names)
    if is_one_hot:
        return called(int(values.argmax()), names)
    shown = [format_number(value) for value in values.reshape(-1)[:_MOST_SHOWN_ELEMENTS].tolist()]
    return ", ".join([*shown, "..."] if values.size > _MOST_SHOWN_ELEMENTS else shown)


def labels_along(
    array: Array, summary: Summary, remarks: Remarks, *, seed: int = 0
) -> Along | None:
    """Return which labels come where in the file.

    Parameters
    ----------
    array, summary
        The labels, and what they are.
    remarks
        Takes what cannot be read.
    seed
        Which chunks are read, where not all are.
    """
    total = len(array)
    if not total or not is_readable(array, remarks):
        return None
    choice = choose_chunks(array, seed=seed, nbytes=_ALONG_NBYTES)
    num_bins = min(_MOST_BINS, total)
    places, labels = [], []
    for start, samples in read_chunks(array, choice, remarks):
        numbers = np.arange(start, start + len(samples), dtype=np.int64)
        places.append(numbers * num_bins // total)
        labels.append(samples)
    if not labels:
        return None
    bins, values = np.concatenate(places), np.concatenate(labels)
    if summary.classes is not None:
        return _classes_along(bins, values, summary.classes, num_bins)
    if values.dtype.kind in "biuf" and math.prod(values.shape[1:]) == 1:
        return _values_along(bins, values.reshape(-1).astype(np.float64), num_bins)
    return None


def advise(store: Store, labels: str | None) -> Diagnosis | str | None:
    """Return what a loader with default settings says of its batches.

    Returns
    -------
    advice
        A `chunkstore.diagnosing.Diagnosis`; a sentence where the loader refuses the arrays; None
        where there are not two samples to compare.
    """
    aligned = [name for name in store.sample_arrays if store[name].size]
    if not aligned or store.num_samples <= 1:
        return None
    if store.num_samples > _MOST_JUDGED:
        return (
            f"there are more than {_MOST_JUDGED:,} samples, which would take memory and time for a "
            "number of each; loader.diagnose() judges them"
        )
    if labels is not None and sample_nbytes(store[labels]) > _MOST_JUDGED_NBYTES:
        # Rows that are no classes are projected as float64.
        elements = math.prod(store[labels].shape[1:])
        nbytes = store.num_samples * max(sample_nbytes(store[labels]), 8 * elements)
        if nbytes > LOOK_NBYTES:
            return (
                f"the labels {labels!r} take {nbytes:,} bytes, and a look holds at most "
                f"{LOOK_NBYTES:,}; loader.diagnose({labels!r}) judges them"
            )
    widest = max(aligned, key=lambda name: sample_nbytes(store[name]))
    names = tuple(dict.fromkeys([widest, *([labels] if labels else [])]))
    try:
        with (
            warnings.catch_warnings(),
            Loader(
                store,
                names,
                batch_size=min(ADVICE_BATCH_SIZE, store.num_samples),
                rank=0,
                world_size=1,
                on_corrupt="skip",
            ) as loader,
        ):
            # Damaged labels are named by whoever reads them for the page.
            warnings.simplefilter("ignore", ChunkStoreWarning)
            found: Diagnosis = loader.diagnose(labels, warn=False)
            return found
    except (ChunkStoreError, OSError, ValueError, TypeError, MemoryError) as error:
        return f"a loader cannot judge these arrays: {error}"


def _classes_along(
    bins: NDArray[np.int64],
    values: NDArray[Any],
    classes: tuple[tuple[Any, int], ...],
    num_bins: int,
) -> Along:
    largest = sorted(classes, key=lambda entry: -entry[1])[:MOST_COLOURS]
    coloured = [value for value, _ in largest]
    if values.ndim > 1 and math.prod(values.shape[1:]) > 1:
        flat: NDArray[Any] = values.argmax(axis=1)
    else:
        flat = values.reshape(-1)
    distinct, inverse = np.unique(flat, return_inverse=True)
    column_of = {value: column for column, value in enumerate(coloured)}
    columns = np.array([column_of.get(value, len(coloured)) for value in distinct.tolist()])
    width = len(coloured) + 1
    cells = bins * width + columns[inverse]
    counts = np.bincount(cells, minlength=num_bins * width).reshape(num_bins, width)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    return Along(tuple(coloured), shares)


def _values_along(
    bins: NDArray[np.int64], values: NDArray[np.float64], num_bins: int
) -> Along | None:
    is_finite = np.isfinite(values)
    bins, values = bins[is_finite], values[is_finite]
    if not len(values):
        return None
    order = np.argsort(bins, kind="stable")
    bins, values = bins[order], values[order]
    levels = np.full((num_bins, 3), np.nan)
    starts = np.searchsorted(bins, np.arange(num_bins + 1))
    for place, (start, stop) in enumerate(pairwise(starts)):
        if stop > start:
            levels[place] = np.quantile(values[start:stop], (0.1, 0.5, 0.9), method="inverted_cdf")
    return Along((), None, *levels.T)


def _is_number(text: Any) -> bool:
    return isinstance(text, str) and text.isdecimal() and text.isascii() and len(text) < 10
