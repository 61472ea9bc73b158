"""How well does a loader mix the samples, and what would mix them better?

If the samples inside a chunk resemble each other, a batch that is drawn from few chunks is worth
fewer independent samples than it holds. The labels of all samples say how much they do (rho); the
window says from how many chunks a batch comes. Without shuffle, a batch is some runs of samples as
they stand in the file, and it is their likeness that counts.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from chunkstore.diagnosis import Diagnosis, mean_window
from chunkstore.labels import as_classes, as_ranks, read_labels
from chunkstore.plan.quality import (
    class_correlation,
    correlation_error,
    effective_batch_size,
    expected_distinct_chunks,
    expected_entropy,
    label_entropy,
    read_amplification,
    recommended_window,
    value_correlation,
)
from chunkstore.plan.window import least_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.pipeline.loader import Loader
    from chunkstore.pipeline.setup import LoaderSetup
    from chunkstore.plan.epoch import Batch

__all__ = ["Diagnosis", "diagnose"]

_MEASURED_BATCHES: Final = 200
# With weights, so many samples of an epoch stand for all of them.
_MAX_DRAWN: Final = 4_000_000


def diagnose(loader: Loader, setup: LoaderSetup, labels: str | None) -> Diagnosis:
    """Return how well a loader mixes; see `chunkstore.Loader.diagnose`.

    Raises
    ------
    KeyError, TypeError
        There is no such array, or its elements are neither classes nor values.
    """
    found = read_labels(loader, setup, labels)
    named = None if labels is None else as_classes(found.values)
    values = as_ranks(found.values) if named is None else named[0]
    # Each sample as often as it comes in an epoch, in file order.
    drawn = slice(None) if found.weights is None else _drawn(found.weights)
    units = np.searchsorted(setup.layout.unit_bounds, found.numbers, side="right") - 1
    counts = _unit_counts(loader, setup)
    num_units = int(np.count_nonzero(counts))
    order = setup.order
    lanes, batch_samples = order.lanes, min(order.batch, loader.num_samples)
    window = mean_window(setup.budget.window, num_units=num_units, lanes=lanes)
    # A batch that is larger than a window has all of several.
    window = max(window, batch_samples * num_units / max(lanes * loader.num_samples, 1))
    # Units that come together: neighbours in one run and one window.
    together = min(order.run or 1, math.ceil(window))
    num_groups = -(-num_units // together)
    place = np.arange(setup.layout.num_units, dtype=np.int64)
    if setup.eligible.resampling is None:
        # Only units that hold some of the samples are neighbours.
        place = np.cumsum(counts > 0) - 1
    in_groups = _Correlation.of(
        place[units[drawn]] // together,
        values[drawn],
        is_class=named is not None,
        are_apart=num_groups < 2 or (together == 1 and counts.max(initial=0) <= 1),
    )
    if order.shuffle:
        worth = _Worth.of(
            in_groups, batch_samples, window=window / together, count=num_groups, lanes=lanes
        )
    else:
        worth = _worth_in_file_order(
            values[drawn], batch_samples, lanes=lanes, is_class=named is not None
        )
    batches = _judged_batches(loader, setup)
    entropies = _entropies(
        None if named is None else named[0],
        found.weights,
        full=batch_samples,
        effective=worth.effective,
    )
    shares = None
    if named is not None and found.is_complete:
        shares = _shares(batches, setup, found.numbers, named[0], num_classes=len(named[1]))
    needed = together * _needed_window(
        batch_samples, in_groups.rho, num_units=num_groups, lanes=lanes
    )
    needed = min(needed, max(-(-num_units // lanes), 1))
    piece_nbytes = setup.layout.sample_nbytes * max(setup.eligible.piece_samples(setup.layout), 1)
    return Diagnosis(
        labels=labels,
        kind="values" if named is None else "classes",
        num_samples=loader.num_samples,
        num_units=num_units,
        num_classes=entropies.num_classes,
        rho=in_groups.rho,
        rho_error=in_groups.error,
        shuffle=order.shuffle,
        batch_size=order.batch,
        window=setup.budget.window,
        run=order.run or 1,
        lanes=lanes,
        effective_batch_size=worth.effective,
        least_effective=worth.least,
        most_effective=worth.most,
        distinct_units=expected_distinct_chunks(order.batch, window=window, lanes=lanes)
        if order.shuffle
        else _mean_distinct(batches),
        entropy=entropies.overall,
        full_entropy=entropies.full,
        expected_entropy=entropies.expected,
        measured_entropy=None
        if shares is None
        else float(np.mean([label_entropy(row) for row in shares])),
        read_amplification=_amplification(setup),
        memory=loader.memory,
        needed_window=min(needed * lanes, max(num_units, 1)),
        needed_memory=least_memory(
            needed,
            unit_nbytes=max(piece_nbytes, 1),
            lanes=lanes,
            reserved_nbytes=setup.budget.reserved_nbytes,
        ),
        classes=() if named is None else named[1],
        batch_shares=shares,
    )


# ---------------------------------------------------------------- what a batch is worth


class _Correlation(NamedTuple):
    """rho inside groups of samples and its standard error; NaN where it cannot be estimated."""

    rho: float
    error: float
    num_groups: int

    @classmethod
    def of(
        cls,
        groups: NDArray[np.int64],
        values: NDArray[np.int64] | NDArray[np.float64],
        *,
        is_class: bool,
        are_apart: bool = False,
    ) -> _Correlation:
        """Return the correlation of values inside groups.

        Parameters
        ----------
        groups
            Ascending, shape ``(n,)``.
        values
            Classes or ranks, same shape.
        are_apart
            No two samples share a group, or all do: then nothing is lost to a correlation.
        """
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        num_groups = len(starts)
        if are_apart and num_groups:
            return cls(0.0, 0.0, num_groups)
        if not 2 <= num_groups < len(groups):
            return cls(math.nan, math.nan, num_groups)
        lengths = np.diff(np.append(starts, len(groups)))
        group_of = np.repeat(np.arange(num_groups), lengths)
        rho = (class_correlation if is_class else value_correlation)(group_of, values)
        error = correlation_error(rho, num_chunks=num_groups, chunk_length=len(groups) / num_groups)
        return cls(float(rho), error, num_groups)


class _Worth(NamedTuple):
    """Independent samples of a batch: as estimated, and two standard errors away."""

    effective: float
    least: float
    most: float

    @classmethod
    def of(
        cls, inside: _Correlation, batch_samples: int, *, window: float, count: int, lanes: int
    ) -> _Worth:
        """Return it for batches drawn from ``window * lanes`` of ``count`` groups of samples."""
        if math.isnan(inside.rho) or not batch_samples:
            return cls(math.nan, math.nan, math.nan)
        worth = [
            effective_batch_size(
                batch_samples, rho=min(rho, 1.0), window=window, num_chunks=count, lanes=lanes
            )
            for rho in (
                inside.rho,
                inside.rho + 2 * inside.error,
                inside.rho - 2 * inside.error,
            )
        ]
        return cls(*worth)


def _worth_in_file_order(
    values: NDArray[np.int64] | NDArray[np.float64],
    batch_samples: int,
    *,
    lanes: int,
    is_class: bool,
) -> _Worth:
    """Return what a batch is worth that takes a run of neighbours from each lane."""
    length = max(batch_samples // lanes, 2)
    runs = np.arange(len(values), dtype=np.int64) // length
    num_runs = -(-len(values) // length)
    inside = _Correlation.of(runs, values, is_class=is_class, are_apart=num_runs == 1)
    return _Worth.of(inside, batch_samples, window=1, count=num_runs, lanes=lanes)


def _needed_window(batch_size: int, rho: float, *, num_units: int, lanes: int) -> int:
    """Return the least window of a lane whose windows mix enough units on average."""
    units = max(num_units / lanes, 1.0)
    wanted = recommended_window(batch_size, rho=0.0 if math.isnan(rho) else max(rho, 0.0)) / lanes
    return math.ceil(units / max(1, int(units / wanted)))


# ---------------------------------------------------------------- what an epoch holds


def _drawn(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the places of samples, each as often as it is expected in an epoch, ascending."""
    points = np.cumsum(weights)
    if len(points) and points[-1] > _MAX_DRAWN:
        points *= _MAX_DRAWN / points[-1]
    stops: NDArray[np.int64] = np.floor(points + 0.5).astype(np.int64)
    times = stops - np.append(0, stops[:-1])
    return np.repeat(np.arange(len(weights)), times)


def _unit_counts(loader: Loader, setup: LoaderSetup) -> NDArray[np.int64]:
    """Return the samples of the present epoch in each unit that is read for it."""
    drawn = setup.eligible.draw(setup.layout, seed=setup.order.seed, epoch=loader.epoch)
    counts: NDArray[np.int64] = np.asarray(getattr(drawn, "counts", drawn), np.int64)
    return counts


def _amplification(setup: LoaderSetup) -> float:
    units = setup.eligible.units
    lengths = setup.layout.unit_counts()
    return read_amplification(lengths, lengths if units is None else units.counts)


# ---------------------------------------------------------------- batches as they come


def _judged_batches(loader: Loader, setup: LoaderSetup) -> list[Batch]:
    """Return the first batches of the present epoch over all ranks, or some all over it.

    The first ones are planned with few windows; without shuffle they are all alike in sorted data.
    """
    if setup.order.shuffle:
        return list(islice(setup.plan_epoch(loader.epoch).batches(), _MEASURED_BATCHES))
    # File order is the same for all windows: with small ones, little is planned for each batch.
    small = replace(setup, budget=replace(setup.budget, plan_window=1))
    plan = small.plan_epoch(loader.epoch)
    count = min(plan.num_batches, _MEASURED_BATCHES)
    steps = np.linspace(0, plan.num_batches - 1, count).astype(np.int64).tolist()
    return [next(plan.batches(step=step)) for step in steps]


def _mean_distinct(batches: list[Batch]) -> float:
    distinct = [len(np.unique(batch.samples[:, 0])) for batch in batches]
    return float(np.mean(distinct)) if distinct else 0.0


def _shares(
    batches: list[Batch],
    setup: LoaderSetup,
    numbers: NDArray[np.int64],
    classes: NDArray[np.int64],
    *,
    num_classes: int,
) -> NDArray[np.float64] | None:
    """Return the share of each class in the batches that are full, None if none is."""
    starts = setup.layout.unit_bounds
    rows = []
    for batch in batches:
        if len(batch.samples) < setup.order.batch or not batch.valid.all():
            continue
        wanted = starts[batch.samples[:, 0]] + batch.samples[:, 1]
        places = np.minimum(np.searchsorted(numbers, wanted), max(len(numbers) - 1, 0))
        # A damaged sample that is skipped has no label.
        is_known = numbers[places] == wanted if len(numbers) else np.zeros(len(wanted), bool)
        if is_known.any():
            row = np.bincount(classes[places[is_known]], minlength=num_classes)
            rows.append(row / np.count_nonzero(is_known))
    return np.stack(rows) if rows else None


class _Entropies(NamedTuple):
    overall: float | None
    full: float | None
    expected: float | None
    num_classes: int


def _entropies(
    classes: NDArray[np.int64] | None,
    weights: NDArray[np.float64] | None,
    *,
    full: int,
    effective: float,
) -> _Entropies:
    """Return entropies of all labels of an epoch, and of batches: shuffled, and as expected."""
    if classes is None or not len(classes):
        return _Entropies(None, None, None, 0)
    counts = np.bincount(classes, weights=weights)
    num_classes = int(np.count_nonzero(counts))
    if not num_classes:
        return _Entropies(None, None, None, 0)
    return _Entropies(
        label_entropy(counts),
        expected_entropy(counts, effective=full),
        None if math.isnan(effective) else expected_entropy(counts, effective=effective),
        num_classes,
    )
