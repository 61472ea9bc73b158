"""How well does an order mix?

A batch is drawn from the chunks of one window. If the samples inside a chunk resemble each other, a
batch is worth fewer independent samples than it holds; these functions say how many.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# With so many samples for each class, the expansion of the entropy is exact to a thousandth.
_MANY_SAMPLES_A_CLASS: Final = 20


def class_correlation(units: ArrayLike, classes: ArrayLike) -> float:
    """Return rho, the correlation of labels inside chunks: 0 is shuffled, 1 is sorted.

    Chunks may differ in length; numbers that no sample has do not count. Memory follows the
    samples, not chunks times classes.

    Parameters
    ----------
    units
        The chunk of each sample, shape ``(n,)``, integers from 0.
    classes
        Its class, same shape, integers from 0.

    Raises
    ------
    ValueError
        If fewer than two chunks hold samples, or no chunk holds more than one.

    Examples
    --------
    >>> class_correlation([0, 0, 1, 1], [5, 5, 2, 2])
    1.0
    """
    chunks, labels = np.asarray(units, np.int64), np.asarray(classes, np.int64)
    lengths = np.bincount(chunks).astype(np.float64)
    num_classes = int(labels.max(initial=0)) + 1
    pairs, counts = np.unique(chunks * num_classes + labels, return_counts=True)
    # Squared shares of a chunk, times its length, over all chunks and classes.
    squares = float((counts.astype(np.float64) ** 2 / lengths[pairs // num_classes]).sum())
    totals = np.bincount(labels).astype(np.float64)
    return _correlation(lengths, squares, float((totals**2).sum()) / len(labels), len(labels))


def value_correlation(units: ArrayLike, values: ArrayLike) -> float:
    """Return rho of numbers: the share of their variance that lies between chunks, corrected.

    One-way analysis of variance, as for labels with their classes as numbers.

    Parameters
    ----------
    units
        The chunk of each sample, shape ``(n,)``, integers from 0.
    values
        Finite numbers, same shape.

    Examples
    --------
    >>> round(value_correlation(np.repeat(np.arange(50), 20), np.arange(1000)), 3)
    1.0
    """
    chunks, numbers = np.asarray(units, np.int64), np.asarray(values, np.float64)
    numbers = numbers - numbers.mean()
    lengths = np.bincount(chunks).astype(np.float64)
    sums = np.bincount(chunks, weights=numbers)
    is_there = lengths > 0
    squares = float((sums[is_there] ** 2 / lengths[is_there]).sum())
    return _correlation(lengths, squares, 0.0, float((numbers**2).sum()))


def _correlation(
    lengths: NDArray[np.float64], squares: float, mean_square: float, total_square: float
) -> float:
    """Return rho from sums of squares: of the chunks' means, of the mean, of all values."""
    lengths = lengths[lengths > 0]
    num_chunks, num_samples = len(lengths), float(lengths.sum())
    if num_chunks < 2 or num_samples <= num_chunks:
        raise ValueError(
            f"rho needs two chunks and a chunk of two samples, got {num_chunks} chunks "
            f"with {num_samples:.0f} samples"
        )
    between = (squares - mean_square) / (num_chunks - 1)
    within = (total_square - squares) / (num_samples - num_chunks)
    typical_length = (num_samples - float((lengths**2).sum()) / num_samples) / (num_chunks - 1)
    spread = between + (typical_length - 1) * within
    # Rounding leaves a little where there is nothing.
    return (between - within) / spread if spread > 1e-12 * max(total_square, 1e-300) else 0.0


def correlation_error(rho: float, *, num_chunks: int, chunk_length: float) -> float:
    """Return the standard error of rho (Fisher, 1925, for chunks of one length).

    Parameters
    ----------
    rho
        As estimated.
    num_chunks, chunk_length
        That it was estimated from; the mean length.

    Examples
    --------
    >>> round(correlation_error(0.0, num_chunks=100, chunk_length=100), 4)
    0.0014
    """
    if num_chunks < 2 or chunk_length <= 1:
        return 1.0
    spread = (1 - rho) * (1 + (chunk_length - 1) * rho)
    return abs(spread) * math.sqrt(2 / (chunk_length * (chunk_length - 1) * (num_chunks - 1)))


def label_entropy(counts: ArrayLike) -> float:
    """Return the entropy of class counts in bits.

    Examples
    --------
    >>> label_entropy([5, 5, 0])
    1.0
    """
    shares = np.asarray(counts, np.float64)
    shares = shares[shares > 0] / shares.sum()
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def expected_entropy(counts: ArrayLike, *, effective: float) -> float:
    """Return the mean label entropy of batches, in bits.

    Parameters
    ----------
    counts
        Of all labels by class, shape ``(num_classes,)``; they may be fractions.
    effective
        Independent samples that a batch is worth, at least 1.

    Examples
    --------
    >>> round(expected_entropy([500] * 10, effective=128), 2)
    3.27
    >>> expected_entropy([5, 5], effective=2)
    0.5
    """
    given = np.asarray(counts, np.float64)
    shares, times = np.unique(given[given > 0] / given.sum(), return_counts=True)
    num_classes = int(times.sum())
    if effective >= _MANY_SAMPLES_A_CLASS * num_classes:
        # Miller, 1955: what is left out falls with the square of the samples.
        return max(0.0, label_entropy(given) - (num_classes - 1) / (2 * effective * math.log(2)))
    size = max(math.floor(effective), 1)
    below, above = (_mean_entropy(shares, times, size) for size in (size, size + 1))
    return below + (above - below) * (max(effective, 1.0) - size)


def _mean_entropy(shares: NDArray[np.float64], times: NDArray[np.int64], size: int) -> float:
    """Return the mean entropy of ``size`` independent labels, from the binomial distribution."""
    log_factorials = np.append(0.0, np.cumsum(np.log(np.arange(1, size + 1))))
    total = 0.0
    for share, count in zip(shares.tolist(), times.tolist(), strict=True):
        if share >= 1:
            continue
        # Twelve standard deviations, and more where there are few.
        most = size * share + 12 * math.sqrt(size * share) + 20
        found = np.arange(1, min(size, math.ceil(most)) + 1)
        logs = log_factorials[size] - log_factorials[found] - log_factorials[size - found]
        logs += found * math.log(share) + (size - found) * math.log1p(-share)
        parts = found / size
        total -= count * float((np.exp(logs) * parts * np.log2(parts)).sum())
    return max(total, 0.0)


def effective_batch_size(
    batch_size: int, *, rho: float, window: float, num_chunks: int, lanes: int = 1
) -> float:
    """Return how many independent samples a batch is worth.

    Parameters
    ----------
    batch_size
        Samples of the global batch.
    rho
        Correlation inside chunks, see `class_correlation`.
    window
        Chunks in one window of one lane; the mean where windows differ.
    num_chunks
        Chunks of the file.
    lanes
        Lanes of the epoch; a batch is drawn from ``window * lanes`` chunks.

    Examples
    --------
    >>> round(effective_batch_size(256, rho=1.0, window=16, num_chunks=1000), 1)
    15.3
    """
    mixed_chunks = window * lanes
    if num_chunks < 2 or mixed_chunks >= num_chunks:
        return float(batch_size)
    shared = max(rho, 0.0) * (1 / mixed_chunks - 1 / num_chunks) / (1 - 1 / num_chunks)
    return batch_size / (1 + (batch_size - 1) * shared)


def recommended_window(batch_size: int, *, rho: float, fraction: float = 0.5) -> int:
    """Return how many chunks to mix, window times lanes, to keep a batch effective.

    Parameters
    ----------
    batch_size
        Samples of the global batch.
    rho
        Correlation inside chunks, see `class_correlation`.
    fraction
        The part of the batch that shall stay effective, in ``(0, 1)``.

    Examples
    --------
    >>> recommended_window(256, rho=0.97)
    249
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be in (0, 1), got {fraction}")
    # The rule is exact arithmetic; without the small term, rounding could ask for one more chunk.
    return max(1, math.ceil(rho * batch_size * fraction / (1 - fraction) - 1e-9))


def expected_distinct_chunks(batch_size: int, *, window: float, lanes: int = 1) -> float:
    """Return from how many chunks the samples of a batch come, on average.

    Parameters
    ----------
    batch_size
        Samples of the global batch.
    window, lanes
        Chunks in one window of one lane, and the number of lanes.

    Examples
    --------
    >>> round(expected_distinct_chunks(128, window=64), 1)
    55.3
    """
    mixed_chunks = window * lanes
    return float(mixed_chunks * -math.expm1(-batch_size / mixed_chunks))


def read_amplification(counts: ArrayLike, eligible: ArrayLike) -> float:
    """Return decoded samples per used sample.

    Parameters
    ----------
    counts
        Samples of each chunk, shape ``(num_chunks,)``.
    eligible
        How many of them are wanted, same shape. Chunks of which none is wanted are not read.

    Examples
    --------
    >>> read_amplification([10, 10, 10], [5, 0, 10])
    1.3333333333333333
    """
    lengths, wanted = np.asarray(counts, np.int64), np.asarray(eligible, np.int64)
    if lengths.shape != wanted.shape:
        raise ValueError(
            f"counts and eligible must have one shape, got {lengths.shape}, {wanted.shape}"
        )
    return float(lengths[wanted > 0].sum()) / max(int(wanted.sum()), 1)
