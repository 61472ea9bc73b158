"""How well does a loader mix the samples, and what would mix them better?

If the samples inside a chunk resemble each other, a batch that is drawn from few chunks is worth
fewer independent samples than it holds. The labels of all samples say how much they do (rho); the
window says from how many chunks a batch comes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from chunkstore.pipeline.loader import Loader
from chunkstore.pipeline.view import as_view
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
from chunkstore.plan.random import keyed_permutation
from chunkstore.plan.window import least_memory
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.pipeline.layout import SampleLayout
    from chunkstore.pipeline.setup import LoaderSetup

# More samples than this are judged by as many of them, from chunks all over the data.
_MAX_SAMPLES: Final = 4_000_000
_MAX_PROJECTED_NBYTES: Final = 64 << 20
# Integers with more different values than this, or nearly as many as samples, are no classes.
_MAX_CLASSES: Final = 4096
_LEAST_SAMPLES_A_CLASS: Final = 4
_MEASURED_BATCHES: Final = 200
_POOR: Final = 0.5


@dataclass(frozen=True)
class Diagnosis:
    """How well the batches of a loader are mixed.

    Attributes
    ----------
    labels
        The array that was looked at; None for a projection of the samples.
    kind
        Whether it holds classes or values.
    num_samples, num_units
        Samples of an epoch, and units (chunks of the widest array) that hold some of them.
    num_classes
        Classes that occur, 0 for values.
    rho, rho_error
        Correlation inside units, 0 for shuffled data and 1 for sorted, and its standard error.
    batch_size, window, lanes
        Of the loader; a batch is drawn from ``window * lanes`` units.
    effective_batch_size
        Independent samples that a batch is worth.
    distinct_units
        Units that the samples of a batch come from, on average.
    entropy, expected_entropy, measured_entropy
        Bits, of classes: of all labels; of a batch as expected; of the batches of the present epoch
        as measured, None where that was not possible.
    full_entropy
        Expected of a batch if all samples were shuffled.
    read_amplification
        Samples decoded for each that is used.
    memory
        Budget of the loader in bytes.
    needed_window, needed_memory
        Units to mix, and the memory in bytes that holds them, so that half of the batch counts.
    batch_shares
        Share of each class in the measured batches, shape ``(batches, classes)``; for the plot.

    Examples
    --------
    >>> import chunkstore as cs
    >>> arrays = {"x": np.zeros((40_000, 256)), "y": np.repeat(np.arange(10), 4000)}
    >>> with cs.Loader(arrays, ("x", "y"), batch_size=128, window=4) as loader:
    ...     diagnosis = loader.diagnose("y", warn=False)
    >>> diagnosis.is_poor, round(diagnosis.effective_batch_size, 1)
    (True, 4.2)
    """

    labels: str | None
    kind: Literal["classes", "values"]
    num_samples: int
    num_units: int
    num_classes: int
    rho: float
    rho_error: float
    batch_size: int
    window: int
    lanes: int
    effective_batch_size: float
    distinct_units: float
    entropy: float | None
    full_entropy: float | None
    expected_entropy: float | None
    measured_entropy: float | None
    read_amplification: float
    memory: int
    needed_window: int
    needed_memory: int
    batch_shares: NDArray[np.float64] | None = field(repr=False, compare=False)

    @property
    def design_effect(self) -> float:
        """How many times more samples a batch needs than independent ones."""
        return self.batch_size / self.effective_batch_size

    @property
    def is_poor(self) -> bool:
        """Whether a batch is worth less than half its samples, beyond doubt of the estimate."""
        if self.effective_batch_size >= _POOR * self.batch_size:
            return False
        least = self.rho - 2 * self.rho_error
        return self.effective_at(self.window, rho=least) < _POOR * self.batch_size

    @property
    def advice(self) -> str:
        """What to do, in plain words."""
        what = f"array {self.labels!r}" if self.labels is not None else "the samples"
        if not self.is_poor:
            worth = (
                f"batch_size={self.batch_size} is worth {self.effective_batch_size:.0f} "
                "independent samples"
            )
            return f"{what}: well mixed (rho={self.rho:.2f}): {worth}; nothing to do"
        return (
            f"{what}: labels are grouped inside chunks (rho={self.rho:.2f}): "
            f"batch_size={self.batch_size} behaves like {self.effective_batch_size:.0f} "
            f"independent samples with {self.window * self.lanes} chunks in a window; use "
            f"{self.needed_window} chunks (memory={_in_mib(self.needed_memory)!r}), smaller "
            "chunks, or write the file in shuffled order"
        )

    def __str__(self) -> str:
        sizes = (
            f"{self.num_samples:,} samples in {self.num_units:,} units; batches of "
            f"{self.batch_size} from {self.window * self.lanes} units, {self.distinct_units:.0f} "
            "different ones each"
        )
        worth = (
            f"rho {self.rho:.3f} +- {self.rho_error:.3f}; a batch is worth "
            f"{self.effective_batch_size:.1f} independent samples"
        )
        lines = [sizes, worth]
        if self.entropy is not None:
            measured = (
                "" if self.measured_entropy is None else f", measured {self.measured_entropy:.3f}"
            )
            lines.append(
                f"label entropy of a batch: {self.expected_entropy:.3f} bits expected{measured}; "
                f"fully shuffled {self.full_entropy:.3f}, all labels {self.entropy:.3f}"
            )
        lines.append(
            f"memory {_in_mib(self.memory)}; {self.read_amplification:.2f} samples decoded for "
            "each that is used"
        )
        return "\n".join([*lines, self.advice])

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        values = asdict(self)
        del values["batch_shares"]
        return values | {"is_poor": self.is_poor, "advice": self.advice}

    def plot(self) -> Any:
        """Return a picture of it, a ``matplotlib.figure.Figure``; needs matplotlib."""
        return resolve("chunkstore.plotting", "plot_diagnosis")(self)

    def effective_at(self, window: int, *, rho: float | None = None) -> float:
        """Return what a batch would be worth with another window, or another rho."""
        return effective_batch_size(
            self.batch_size,
            rho=self.rho if rho is None else rho,
            window=_mean_window(window, num_units=self.num_units, lanes=self.lanes),
            num_chunks=self.num_units,
            lanes=self.lanes,
        )


def diagnose(loader: Loader, setup: LoaderSetup, labels: str | None) -> Diagnosis:
    """Return how well a loader mixes; see `chunkstore.Loader.diagnose`.

    Raises
    ------
    KeyError, TypeError
        There is no such array, or its elements are neither classes nor values.
    """
    numbers, values = _read_labels(loader, setup.layout, labels)
    unit_bounds = setup.layout.unit_bounds
    units = np.searchsorted(unit_bounds, numbers, side="right") - 1
    classes = None if labels is None else _as_classes(values)
    used, unit_of = np.unique(units, return_inverse=True)
    is_estimable = 2 <= len(used) < len(units)
    if not is_estimable:
        rho = 0.0
    elif classes is not None:
        rho = class_correlation(unit_of, classes)
    else:
        rho = value_correlation(unit_of, _ranks(values))
    order = setup.order
    window, lanes, batch_size = order.window, order.lanes, order.batch
    num_units = _num_units(setup, used, len(numbers))
    mean_window = _mean_window(window, num_units=num_units, lanes=lanes)
    effective = effective_batch_size(
        batch_size, rho=rho, window=mean_window, num_chunks=num_units, lanes=lanes
    )
    needed = _needed_window(batch_size, rho, num_units=num_units, lanes=lanes)
    entropies, shares, num_classes = _entropies(loader, numbers, classes, effective)
    return Diagnosis(
        labels=labels,
        kind="values" if classes is None else "classes",
        num_samples=loader.num_samples,
        num_units=num_units,
        num_classes=num_classes,
        rho=float(rho),
        rho_error=correlation_error(
            rho, num_chunks=len(used), chunk_length=len(units) / max(len(used), 1)
        )
        if is_estimable
        else 0.0,
        batch_size=batch_size,
        window=window,
        lanes=lanes,
        effective_batch_size=effective,
        distinct_units=expected_distinct_chunks(batch_size, window=mean_window, lanes=lanes),
        entropy=entropies[0],
        full_entropy=entropies[1],
        expected_entropy=entropies[2],
        measured_entropy=entropies[3],
        read_amplification=_amplification(setup),
        memory=loader.memory,
        needed_window=needed * lanes,
        needed_memory=least_memory(needed, unit_nbytes=setup.layout.unit_nbytes, lanes=lanes),
        batch_shares=shares,
    )


def _mean_window(window: int, *, num_units: int, lanes: int) -> float:
    """Return the units in a window of a lane on average: all windows are about as long."""
    units = max(num_units / lanes, 1.0)
    return units / math.ceil(units / window)


def _needed_window(batch_size: int, rho: float, *, num_units: int, lanes: int) -> int:
    """Return the least window of a lane whose windows mix enough units on average."""
    units = max(num_units / lanes, 1.0)
    wanted = recommended_window(batch_size, rho=max(rho, 0.0)) / lanes
    return math.ceil(units / max(1, int(units / wanted)))


def _read_labels(
    loader: Loader, layout: SampleLayout, labels: str | None
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return sample numbers, ascending, and the label of each."""
    arrays: Any = loader.arrays
    name = labels
    most = _MAX_SAMPLES
    if name is None:
        widest = max(layout.arrays, key=lambda array: array.chunk_nbytes // array.chunk_shape[0])
        name = widest.source.name
        name = name if name in arrays else next(iter(arrays))
        sample_nbytes = max(1, widest.chunk_nbytes // max(1, widest.chunk_shape[0]))
        most = max(1, _MAX_PROJECTED_NBYTES // sample_nbytes)
    view = as_view(arrays)
    if view.num_samples > most:
        arrays = view.select(_spread(view.numbers, layout.unit_bounds, most))
    # A view's subset counts the samples of its sources, as "@index" does.
    found = []
    with Loader(
        arrays,
        (name, "@index"),
        batch_size=max(1, min(65536, view.num_samples)),
        shuffle=False,
        memory=max(loader.memory, 1 << 20),
        last="keep",
        rank=0,
        world_size=1,
        on_corrupt=loader.on_corrupt,
    ) as reader:
        for values, numbers in reader:
            found.append((numbers.copy(), _projected(values) if labels is None else values.copy()))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0)
    return np.concatenate([n for n, _ in found]), np.concatenate([v for _, v in found])


def _spread(numbers: NDArray[np.int64], bounds: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return places, ascending, of samples of whole units all over the data, about ``most``."""
    units = np.searchsorted(bounds, numbers, side="right") - 1
    used, counts = np.unique(units, return_counts=True)
    order = keyed_permutation(len(used), seed=0)
    taken = order[: max(2, int(np.searchsorted(np.cumsum(counts[order]), most)))]
    return np.flatnonzero(np.isin(units, used[taken]))


def _projected(samples: NDArray[Any]) -> NDArray[np.float64]:
    """Return each sample's product with one random direction."""
    if samples.dtype.kind not in "biuf":
        raise TypeError(f"samples of {samples.dtype} cannot be projected; name an array of labels")
    rows = samples.reshape(len(samples), -1)
    direction = keyed_permutation(rows.shape[1], seed=1) / max(rows.shape[1], 1) - 0.3
    projected: NDArray[np.float64] = np.nan_to_num(rows @ direction)
    return projected


def _as_classes(values: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the class of each sample as a number, or None if these are values."""
    if values.ndim > 1 and values.shape[1:] != (1,) * (values.ndim - 1):
        is_one_hot = values.ndim == 2 and values.dtype.kind in "biuf"
        if is_one_hot and ((values != 0).sum(axis=1) == 1).all():
            return np.asarray(values.argmax(axis=1), np.int64)
        return None
    flat = values.reshape(len(values))
    if flat.dtype.kind not in "biuSUM":
        return None
    distinct, classes = np.unique(flat, return_inverse=True)
    most = max(1, len(flat) // _LEAST_SAMPLES_A_CLASS)
    if flat.dtype.kind in "iuM" and len(distinct) > min(_MAX_CLASSES, most):
        return None
    return np.asarray(classes, np.int64)


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return numbers that stand for values, robust against outliers; NaN comes last."""
    if values.ndim > 1 and math.prod(values.shape[1:]) != 1:
        values = _projected(values)
    flat = values.reshape(len(values))
    if flat.dtype.kind not in "biufMmSU":
        raise TypeError(f"labels of {flat.dtype} are neither classes nor values")
    ranks = np.empty(len(flat))
    _, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
    # Equal values share the mean of their places.
    places = np.cumsum(counts) - (counts - 1) / 2
    ranks[:] = places[inverse]
    return ranks


def _num_units(setup: LoaderSetup, used: NDArray[np.int64], num_read: int) -> int:
    """Return the units that hold samples of the epoch."""
    eligible = setup.eligible
    if eligible.units is not None:
        return int(np.count_nonzero(eligible.units.counts))
    return setup.layout.num_units if num_read else len(used)


def _amplification(setup: LoaderSetup) -> float:
    units = setup.eligible.units
    lengths = setup.layout.unit_counts()
    return read_amplification(lengths, lengths if units is None else units.counts)


def _entropies(
    loader: Loader,
    numbers: NDArray[np.int64],
    classes: NDArray[np.int64] | None,
    effective: float,
) -> tuple[tuple[float | None, ...], NDArray[np.float64] | None, int]:
    """Return entropies of all labels, of batches fully shuffled, expected, and measured."""
    if classes is None or not len(classes):
        return (None,) * 4, None, 0
    counts = np.bincount(classes)
    num_classes = int(np.count_nonzero(counts))
    overall = label_entropy(counts)
    full = expected_entropy(overall, num_classes=num_classes, effective=loader.batch_size)
    expected = expected_entropy(overall, num_classes=num_classes, effective=effective)
    measured, shares = None, None
    # The batches of one process of several are only parts; a part of the labels names no batch.
    if loader.world_size == 1 and len(numbers) >= len(np.unique(loader.order())):
        order = loader.order()[: _MEASURED_BATCHES * loader.batch_size]
        whole = order[: len(order) // loader.batch_size * loader.batch_size]
        if len(whole):
            # One row for each batch.
            batches = classes[np.searchsorted(numbers, whole)].reshape(-1, loader.batch_size)
            found = np.stack([np.bincount(batch, minlength=len(counts)) for batch in batches])
            measured = float(np.mean([label_entropy(row) for row in found]))
            shares = found / loader.batch_size
    return (overall, full, expected, measured), shares, num_classes


def _in_mib(nbytes: int) -> str:
    return f"{-(-nbytes // (1 << 20))}MiB"
