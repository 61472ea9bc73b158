"""How often does each sample come in an epoch, when samples have weights?

By systematic resampling: the weights are laid end to end, and evenly spaced points, shifted by one
random number an epoch, are counted in each. The total is exact, every sample comes as often as
expected, rounded down or up, and the samples of one chunk are found without looking at the others.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from chunkstore.plan.hashing import unit_interval
from chunkstore.plan.random import RESAMPLING, stream_key

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from chunkstore.plan.subset import SubsetUnits


def balanced_weights(labels: ArrayLike) -> NDArray[np.float64]:
    """Return weights under which every class is expected equally often.

    Parameters
    ----------
    labels
        Class of each sample, shape ``(n,)``.

    Returns
    -------
    weights
        Shape ``(n,)``: one over the size of the sample's class.

    Examples
    --------
    >>> balanced_weights([7, 7, 7, 7, 2]).tolist()
    [0.25, 0.25, 0.25, 0.25, 1.0]
    """
    values = np.asarray(labels)
    if values.ndim != 1:
        raise ValueError(f"labels must have one axis, got shape {values.shape}")
    _, members, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return 1.0 / sizes[members]


class Resampling:
    """The weights of the eligible samples, and how many an epoch has.

    Parameters
    ----------
    weights
        Of each eligible sample in ascending order, shape ``(n,)``: at least 0, one above 0.
    total
        Samples of an epoch, at least 1.
    units
        Eligible samples of each unit, and where they stand in it.
    unit_length
        Most samples that a piece of the plan may hold: a unit that comes with more of them is
        dealt to several pieces, each of which reads it again.

    Raises
    ------
    ValueError
        If a number is outside its range, or there are more or fewer weights than samples.

    Examples
    --------
    >>> from chunkstore.plan.subset import SubsetUnits, parse_subset
    >>> units = SubsetUnits(parse_subset(slice(None), 6), np.array([0, 3, 6]))
    >>> resampling = Resampling([1, 0, 1, 0, 0, 2], total=8, units=units, unit_length=3)
    >>> pieces = resampling.draw(seed=0, epoch=0)
    >>> pieces.counts.tolist()
    [2, 2, 2, 2]
    >>> pieces.locate(0, np.arange(2))[1].tolist()
    [0, 2]
    """

    def __init__(
        self, weights: ArrayLike, *, total: int, units: SubsetUnits, unit_length: int
    ) -> None:
        given = np.asarray(weights, np.float64)
        num_samples = int(units.counts.sum())
        if given.shape != (num_samples,):
            raise ValueError(
                f"weights must be one number for each of {num_samples} samples, "
                f"got shape {given.shape}"
            )
        wrong = np.flatnonzero(~((given >= 0) & np.isfinite(given)))
        if len(wrong):
            raise ValueError(
                f"weights must be finite and at least 0, got {given[wrong[0]]} at place {wrong[0]}"
            )
        if total < 1:
            raise ValueError(f"an epoch must have at least 1 sample, got {total}")
        # Sums from the start, in order: one more sample of weight 0 has exactly the same sum.
        self._sums = np.zeros(num_samples + 1)
        np.cumsum(given, out=self._sums[1:])
        if not self._sums[-1] > 0:
            raise ValueError("at least one weight must be above 0")
        if not np.isfinite(self._sums[-1]):
            raise ValueError("the weights are too large to be summed")
        self.total = total
        self._units = units
        self._unit_length = unit_length
        self._unit_bounds = np.zeros(len(units.counts) + 1, np.int64)
        np.cumsum(units.counts, out=self._unit_bounds[1:])

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits, equal only for the same weights and total."""
        digest = hashlib.blake2b(f"weights {self.total} ".encode(), digest_size=8)
        digest.update(self._sums.astype("<f8").tobytes())
        return digest.hexdigest()

    def draw(self, *, seed: int, epoch: int) -> ResampledPieces:
        """Return the samples of an epoch. The cost is that of the units, not of the samples."""
        word = np.random.Philox(key=stream_key(seed, epoch, RESAMPLING)).random_raw(1)
        shift = float(unit_interval(word)[0])
        points = self._points(self._unit_bounds, shift)
        return ResampledPieces(self, shift, np.diff(points), self._unit_length)

    def unit_samples(self, unit: int, shift: float) -> NDArray[np.int64]:
        """Return the places of a unit's samples in it, ascending, as often as they come."""
        bounds = np.arange(self._unit_bounds[unit], self._unit_bounds[unit + 1] + 1)
        times = np.diff(self._points(bounds, shift))
        repeated = np.repeat(np.arange(len(times), dtype=np.int64), times)
        return self._units.locate(unit, repeated)[1]

    def _points(self, bounds: NDArray[np.int64], shift: float) -> NDArray[np.int64]:
        """Return how many points lie before the samples at some bounds, shape of ``bounds``.

        The two sides of a bound take the same stored sum, so no point is lost or counted twice.
        """
        sums = self._sums[bounds]
        points: NDArray[np.int64] = np.floor(self.total * (sums / self._sums[-1]) + shift).astype(
            np.int64
        )
        # Behind the last weight it is the total, but for the rounding of a shift close to 1.
        points[points > self.total] = self.total
        return points


class ResampledPieces:
    """The samples of one epoch, in pieces that are read one by one.

    Made by `Resampling.draw`. A piece is a unit, or one of several parts of a unit that comes with
    more samples than it holds: copies of a sample go to different parts first.

    Attributes
    ----------
    counts
        Samples of each piece, shape ``(num_pieces,)``, int64.
    """

    def __init__(
        self,
        resampling: Resampling,
        shift: float,
        unit_counts: NDArray[np.int64],
        unit_length: int,
    ) -> None:
        self._resampling = resampling
        self._shift = shift
        parts = np.maximum(-(-unit_counts // unit_length), 1)
        stops = np.cumsum(parts)
        self._unit = np.repeat(np.arange(len(parts), dtype=np.int64), parts)
        self._parts = parts
        self._part = np.arange(len(self._unit), dtype=np.int64) - (stops - parts)[self._unit]
        # Part p of P holds the samples p, p + P, p + 2 * P, ...
        left = unit_counts[self._unit] - self._part
        self.counts: NDArray[np.int64] = -(-left // parts[self._unit])

    def locate(self, chunk: int, samples: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
        """Return the unit of a piece and the places of its samples there, ascending.

        Parameters
        ----------
        chunk
            What the plan calls a chunk: here a piece.
        samples
            Places in the piece, ascending, shape ``(n,)``, int64.
        """
        unit, part = int(self._unit[chunk]), int(self._part[chunk])
        places = self._resampling.unit_samples(unit, self._shift)
        return unit, places[part + int(self._parts[unit]) * samples]
