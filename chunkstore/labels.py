"""Which label does each sample have, as a class or as a number, for judging how a loader mixes?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.pipeline.loader import Loader
from chunkstore.pipeline.view import SampleView, as_view
from chunkstore.plan.random import keyed_permutation
from chunkstore.settings import DEFAULT_CHUNK_NBYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.pipeline.setup import LoaderSetup

# More samples than this, or than have so many bytes, are judged by as many of them, from units all
# over the data.
_MAX_SAMPLES: Final = 4_000_000
_MAX_NBYTES: Final = 256 << 20
_MAX_PROJECTED_NBYTES: Final = 64 << 20
_BATCH_NBYTES: Final = 4 << 20
_MAX_BATCH: Final = 65536
# One array is read with windows of its own, however small the memory of the loader is.
_READ_CHUNKS: Final = 16
# The number of a sample, and what its place in a window takes.
_INDEX_NBYTES: Final = 32
# Labels with more different values than this, or nearly as many as samples, are no classes.
_MAX_CLASSES: Final = 4096
_LEAST_SAMPLES_A_CLASS: Final = 4
# Samples are projected in float64: so large a number of any sign can still be summed.
_LARGEST: Final = 1e150


@dataclass(frozen=True)
class Labels:
    """The labels of a loader's samples, or of many of them.

    Attributes
    ----------
    numbers
        Of the samples that have a label, ascending, shape ``(n,)``, int64.
    values
        Their labels, shape ``(n, ...)``; those that are not a number (NaN, NaT) are left out.
    weights
        How often each of them is expected in an epoch, shape ``(n,)``; None where each comes once.
    is_complete
        Whether all samples were asked for their label.
    """

    numbers: NDArray[np.int64]
    values: NDArray[Any]
    weights: NDArray[np.float64] | None
    is_complete: bool


def read_labels(loader: Loader, setup: LoaderSetup, labels: str | None) -> Labels:
    """Return the label of each sample that a loader may deliver.

    Parameters
    ----------
    loader, setup
        The loader, and what its arguments came to.
    labels
        Name of an array; None for a projection of the samples of the widest array.

    Raises
    ------
    KeyError, TypeError
        If there is no such array, or its samples cannot be projected.
    """
    arrays: Any = loader.arrays
    layout = setup.layout
    if labels is None:
        widths = [
            math.prod(array.source.shape[1:]) * array.source.dtype.itemsize
            for array in layout.arrays
        ]
        name = setup.structure.names[int(np.argmax(widths))]
    else:
        name = _checked_name(labels, arrays)
    data = arrays if isinstance(arrays, SampleView) else {name: arrays[name]}
    view = as_view(data)
    array = view[name]
    sample_nbytes = max(1, math.prod(array.shape[1:]) * array.dtype.itemsize)
    most = min(_MAX_SAMPLES, _MAX_NBYTES // sample_nbytes)
    if labels is None:
        most = max(1, _MAX_PROJECTED_NBYTES // sample_nbytes)
    is_complete = view.num_samples <= most
    if not is_complete:
        run = setup.order.run or 1
        data = view.select(_spread(view.numbers, layout.unit_bounds, most, run=run))
    batch_size = min(_MAX_BATCH, _BATCH_NBYTES // sample_nbytes, view.num_samples)
    found = [(np.zeros(0, np.int64), np.zeros((0, *(array.shape[1:] if labels else ()))))]
    with Loader(
        data,
        # A view's subset counts the samples of its sources, as "@index" does.
        (name, "@index"),
        batch_size=max(1, batch_size),
        shuffle=False,
        memory=max(loader.memory, _READ_CHUNKS * _largest_chunk_nbytes(view, name)),
        last="keep",
        rank=0,
        world_size=1,
        on_corrupt=loader.on_corrupt,
    ) as reader:
        for values, numbers in reader:
            if labels is None:
                values = projected(values)
            is_known = ~_is_missing(values)
            found.append((numbers[is_known], values[is_known]))
    # The first one only says what there is none of.
    parts = found[1:] or found
    numbers = np.concatenate([numbers for numbers, _ in parts])
    weights = setup.eligible.weights
    if weights is not None:
        times = setup.num_samples / weights.sum()
        weights = weights[np.searchsorted(view.numbers, numbers)] * times
    values = np.concatenate([values for _, values in parts])
    return Labels(numbers, values, weights, is_complete)


def as_classes(values: NDArray[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
    """Return the class of each label as a number and what the classes are called.

    Parameters
    ----------
    values
        Shape ``(n, ...)``.

    Returns
    -------
    classes, names
        Shape ``(n,)``, and the label behind each number; None if these are values, not classes.

    Examples
    --------
    >>> classes, names = as_classes(np.array(["cat", "dog", "cat", "dog"] * 2))
    >>> classes.tolist(), names
    ([0, 1, 0, 1, 0, 1, 0, 1], ('cat', 'dog'))
    """
    if values.ndim > 1 and math.prod(values.shape[1:]) != 1:
        is_one_hot = values.ndim == 2 and values.dtype.kind in "biuf"
        if not is_one_hot or not ((values != 0).sum(axis=1) == 1).all():
            return None
        flat: NDArray[Any] = values.argmax(axis=1)
        most = len(flat)
    else:
        flat = values.reshape(len(values))
        if flat.dtype.kind not in "biuSUM":
            return None
        most = len(flat) if flat.dtype.kind == "b" else len(flat) // _LEAST_SAMPLES_A_CLASS
        most = max(1, min(_MAX_CLASSES, most))
    distinct, classes = np.unique(flat, return_inverse=True)
    if len(distinct) > most:
        return None
    return np.asarray(classes, np.int64), tuple(str(value) for value in distinct.tolist())


def as_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return numbers that stand for values, robust against outliers.

    Parameters
    ----------
    values
        Shape ``(n, ...)``, none of them NaN. Several numbers a sample are projected to one.

    Returns
    -------
    ranks
        Shape ``(n,)``; equal values share the mean of their places.

    Raises
    ------
    TypeError
        If they have no order.

    Examples
    --------
    >>> as_ranks(np.array([0.1, 1e9, 0.1, -3.0])).tolist()
    [2.5, 4.0, 2.5, 1.0]
    """
    if values.ndim > 1 and math.prod(values.shape[1:]) != 1:
        values = projected(values)
    flat = values.reshape(len(values))
    if flat.dtype.kind not in "biufMmSU":
        raise TypeError(f"labels of {flat.dtype} are neither classes nor values")
    _, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
    places = np.cumsum(counts) - (counts - 1) / 2
    ranks: NDArray[np.float64] = np.asarray(places[inverse], np.float64)
    return ranks


def projected(samples: NDArray[Any]) -> NDArray[np.float64]:
    """Return each sample's product with one direction, shape ``(n,)``; NaN counts as 0.

    Raises
    ------
    TypeError
        If samples are no numbers.
    """
    if samples.dtype.kind not in "biuf":
        raise TypeError(f"samples of {samples.dtype} cannot be projected; name an array of labels")
    rows = samples.reshape(len(samples), -1).astype(np.float64)
    if samples.dtype.kind == "f":
        np.nan_to_num(rows, copy=False, nan=0.0)
        np.clip(rows, -_LARGEST, _LARGEST, out=rows)
    direction = keyed_permutation(rows.shape[1], seed=1) / max(rows.shape[1], 1) - 0.3
    product: NDArray[np.float64] = rows @ direction
    return product


def _checked_name(labels: Any, arrays: Any) -> str:
    if not isinstance(labels, str):
        raise TypeError(
            f"labels must be the name of an array, or None, got {labels!r:.80} of type "
            f"{type(labels).__name__}"
        )
    if labels not in arrays:
        there = ", ".join(map(repr, getattr(arrays, "sample_arrays", arrays))) or "none"
        raise KeyError(f"labels names {labels!r}, but there are only {there}")
    return labels


def _largest_chunk_nbytes(view: SampleView, name: str) -> int:
    """Return the bytes of a chunk of an array as it is read, with the numbers of its samples."""
    largest = DEFAULT_CHUNK_NBYTES
    for source in view.sources:
        array = source[name]
        sample_nbytes = math.prod(array.shape[1:]) * array.dtype.itemsize
        chunk_nbytes = (sample_nbytes + _INDEX_NBYTES) * getattr(array, "chunk_length", 1)
        largest = max(largest, chunk_nbytes)
    return largest


def _is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which samples have a label that is not a number, shape ``(n,)``."""
    if values.dtype.kind in "fc":
        is_nan = np.isnan(values)
    elif values.dtype.kind in "mM":
        is_nan = np.isnat(values)
    else:
        return np.zeros(len(values), np.bool_)
    missing: NDArray[np.bool_] = is_nan.any(axis=tuple(range(1, values.ndim)))
    return missing


def _spread(
    numbers: NDArray[np.int64], bounds: NDArray[np.int64], most: int, *, run: int
) -> NDArray[np.int64]:
    """Return places, ascending, of samples of whole runs all over the data, about ``most``."""
    runs = (np.searchsorted(bounds, numbers, side="right") - 1) // run
    used, counts = np.unique(runs, return_counts=True)
    order = keyed_permutation(len(used), seed=0)
    taken = order[: max(2, int(np.searchsorted(np.cumsum(counts[order]), most)))]
    return np.flatnonzero(np.isin(runs, used[taken]))
