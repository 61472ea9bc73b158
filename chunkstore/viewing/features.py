"""Which plane shows most of the differences between samples?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.viewing.sampling import is_readable, read_numbers, spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.store.array import Array
    from chunkstore.viewing.sampling import Remarks

# The decomposition of so many rows and columns takes a fraction of a second.
MOST_POINTS: Final = 600
_MOST_COLUMNS: Final = 2048
_LEAST_COLUMNS: Final = 2
_LEAST_ROWS: Final = 3
_MOST_SPREAD: Final = 10.0
# Columns this many e-folds below the median vanish.
_FAR: Final = 300.0


@dataclass(frozen=True)
class Scatter:
    """Samples as points of the plane of their two principal components.

    Attributes
    ----------
    numbers
        Of the samples, shape ``(n,)``.
    points
        Shape ``(n, 2)``.
    explained
        Shares of the variance that the two axes show.
    num_left_out
        Samples with NaN or infinite values.
    num_columns, num_used
        Elements of a sample, and how many of them were taken.
    """

    numbers: NDArray[np.int64]
    points: NDArray[np.float64]
    explained: tuple[float, float]
    num_left_out: int
    num_columns: int
    num_used: int


def are_features(array: Array) -> bool:
    """Say whether the samples of an array are rows of several numbers."""
    return array.dtype.kind in "biuf" and math.prod(array.shape[1:]) >= _LEAST_COLUMNS


def read_rows(
    array: Array, numbers: NDArray[np.int64], remarks: Remarks
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the samples that can be read as rows of float64, at most 2048 columns of them.

    Returns
    -------
    numbers, rows
        Shapes ``(n,)`` and ``(n, columns)``.
    """
    columns = spread(math.prod(array.shape[1:]), _MOST_COLUMNS, seed=0)
    found: list[tuple[int, Any]] = []
    if is_readable(array, remarks):
        found = [
            (number, sample.reshape(-1)[columns].astype(np.float64))
            for number, sample in read_numbers(array, numbers, remarks)
            if sample is not None
        ]
    rows = np.zeros((len(found), len(columns)))
    for place, (_, row) in enumerate(found):
        rows[place] = row
    return np.array([number for number, _ in found], np.int64), rows


def project(
    numbers: NDArray[np.int64], rows: NDArray[np.float64], *, num_columns: int
) -> Scatter | None:
    """Return rows in the plane of their two largest principal components.

    Columns are centred. One that spreads more than ten times as much as most do counts as ten, so
    that a column in another unit does not hide the others.

    Parameters
    ----------
    numbers
        Of the samples, shape ``(n,)``.
    rows
        Shape ``(n, columns)``.
    num_columns
        Elements of a sample, of which these columns were taken.

    Returns
    -------
    scatter
        None where there is nothing to see: fewer than three rows of finite values, or constant
        ones.

    Examples
    --------
    >>> rows = np.array([[0.0, 0, 7], [1, 2, 7], [2, 4, 7], [3, 6, 7]])
    >>> scatter = project(np.arange(4), rows, num_columns=3)
    >>> [round(share, 3) for share in scatter.explained]
    [1.0, 0.0]
    """
    is_whole = np.isfinite(rows).all(axis=1)
    used = rows[is_whole]
    if len(used) < _LEAST_ROWS:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        centred = used - used.mean(axis=0)
        scale = np.abs(centred).max(axis=0)
        varies = (scale > 0) & np.isfinite(scale)
        if not varies.any():
            return None
        # By the largest, so that squares neither overflow nor vanish.
        centred = centred[:, varies] / scale[varies]
        spreads = centred.std(axis=0)
        # In units of the median column, in logarithms: their products may overflow.
        logs = np.log(scale[varies]) + np.log(spreads)
        centred *= np.exp(np.clip(logs - np.median(logs), -_FAR, np.log(_MOST_SPREAD))) / spreads
    if not np.isfinite(centred).all():
        return None
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(used), 2))
    kept = min(2, len(sizes))
    points[:, :kept] = left[:, :kept] * sizes[:kept]
    # The sign of a component is free: the largest coordinate is positive, on every machine.
    largest = np.abs(points).argmax(axis=0)
    points *= np.where(points[largest, [0, 1]] < 0, -1.0, 1.0)
    shares = sizes**2 / (sizes**2).sum()
    explained = float(shares[0]), float(shares[1]) if len(shares) > 1 else 0.0
    return Scatter(
        numbers[is_whole],
        points,
        explained,
        len(rows) - len(used),
        num_columns,
        rows.shape[1],
    )
