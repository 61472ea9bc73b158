"""Which samples does an epoch of a Loader have, and how often?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.pipeline.view import SampleView
from chunkstore.plan.subset import SubsetUnits, parse_subset
from chunkstore.plan.weights import Resampling, balanced_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from chunkstore.pipeline.layout import SampleLayout
    from chunkstore.plan.epoch import EligibleSamples


@dataclass(frozen=True)
class Eligible:
    """The samples of every epoch.

    Attributes
    ----------
    num_samples
        Samples of an epoch.
    digest
        Of what the order depends on; None for all samples of the data, each once.
    units
        Where they stand; None for all samples of the data.
    resampling
        How often each of them comes; None for once.
    weights
        What that follows from: a number for each sample that may come, in ascending order; None
        where each comes once.
    """

    num_samples: int
    digest: str | None
    units: SubsetUnits | None
    resampling: Resampling | None
    weights: NDArray[np.float64] | None = None

    def piece_samples(self, layout: SampleLayout) -> int:
        """Return the most samples that a window holds of one unit."""
        if self.units is None or self.resampling is not None:
            return layout.unit_length
        return int(self.units.counts.max(initial=1))

    def num_pieces(self, layout: SampleLayout) -> int:
        """Return the most units that are read in an epoch."""
        if self.units is None:
            return layout.num_units
        used = int(np.count_nonzero(self.units.counts))
        # A unit that comes with more samples than it holds is read again.
        return used if self.resampling is None else used + self.num_samples // layout.unit_length

    def draw(self, layout: SampleLayout, *, seed: int, epoch: int) -> Any:
        """Return what the plan of an epoch is made of: counts, or samples and where they stand."""
        if self.resampling is not None:
            drawn: EligibleSamples = self.resampling.draw(seed=seed, epoch=epoch)
            return drawn
        return layout.unit_counts() if self.units is None else self.units


def plan_eligible(
    arrays: Mapping[str, Any] | SampleView,
    layout: SampleLayout,
    *,
    weights: ArrayLike | str | None,
    balance: ArrayLike | str | None,
    epoch_samples: int | None,
) -> Eligible:
    """Return the samples of the epochs.

    Parameters
    ----------
    arrays
        What is loaded: a view, or all samples of something else.
    layout
        How it is read.
    weights
        How often each sample that is loaded is wanted, relative to the others, or the name of the
        array that says so.
    balance
        Labels, or the name of their array: each class is wanted equally often.
    epoch_samples
        Samples of an epoch with weights; None for as many as are loaded.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a name, a number or a combination is wrong.
    """
    if isinstance(arrays, SampleView):
        subset = arrays.subset
    else:
        subset = parse_subset(slice(None), layout.num_samples)
    if weights is None and balance is None:
        if epoch_samples is not None:
            raise ValueError("epoch_samples is the length of an epoch with weights= or balance=")
        if subset.is_whole:
            return Eligible(len(subset), None, None, None)
        return Eligible(len(subset), subset.digest, SubsetUnits(subset, layout.unit_bounds), None)
    if weights is not None and balance is not None:
        raise ValueError("give either weights or balance, not both")
    if weights is not None:
        given_weights = sample_values(arrays, "weights", weights, num_samples=len(subset))
        if given_weights.dtype.kind not in "biuf":
            raise TypeError(f"weights must be numbers, got {given_weights.dtype}")
        values = given_weights.astype(np.float64, copy=False)
    else:
        values = balanced_weights(
            sample_values(arrays, "balance", balance, num_samples=len(subset))
        )
    total = len(subset) if epoch_samples is None else epoch_samples
    units = SubsetUnits(subset, layout.unit_bounds)
    resampling = Resampling(values, total=total, units=units, unit_length=layout.unit_length)
    return Eligible(total, f"{subset.digest}-{resampling.digest}", units, resampling, values)


def sample_values(
    arrays: Mapping[str, Any] | SampleView, argument: str, given: Any, *, num_samples: int
) -> NDArray[Any]:
    """Return one number or label for each sample of a data set or view.

    Parameters
    ----------
    arrays
        The data.
    argument
        What messages call the values.
    given
        The values, or the name of the array that holds them.
    num_samples
        How many there must be.

    Returns
    -------
    values
        Shape ``(num_samples,)``, of numbers, strings, booleans or dates.

    Raises
    ------
    KeyError, TypeError, ValueError
        If there is no such array, or it is not one such value for each sample.
    """
    if isinstance(given, str):
        if given not in arrays:
            there = ", ".join(map(repr, arrays)) or "none"
            raise KeyError(f"{argument} names {given!r}, but there are only {there}")
        view = arrays if isinstance(arrays, SampleView) else SampleView([{given: arrays[given]}])
        values: NDArray[Any] = np.asarray(view[given][...])
    else:
        values = np.asarray(given)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    what = f"array {given!r}" if isinstance(given, str) else argument
    if values.shape != (num_samples,):
        raise ValueError(
            f"{argument} must be one value for each of the {num_samples} samples, "
            f"but {what} has shape {values.shape}"
        )
    if values.dtype.kind in "OV":
        raise TypeError(
            f"{argument} must be numbers, strings, booleans or dates, but {what} has elements of "
            f"{values.dtype}"
        )
    return values
