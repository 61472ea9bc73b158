"""What is said about how well a loader mixes the samples?"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from chunkstore.plan.quality import effective_batch_size
from chunkstore.upper import resolve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Verdict = Literal["well", "poor", "unknown"]

_POOR: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """How well the batches of a loader are mixed.

    Attributes
    ----------
    labels
        The array that was looked at; None for a projection of the samples.
    kind
        Whether it holds classes or values.
    num_samples, num_units
        Samples of an epoch, and units (chunks of the widest array) that they are taken from; with
        weights, a unit that comes with more samples than it holds counts more than once.
    num_classes
        Classes that occur in an epoch, 0 for values.
    rho, rho_error
        Correlation inside units, or inside runs of them, 0 for shuffled data and 1 for sorted, and
        its standard error. NaN where no two labels of a unit could be compared. With weights, each
        sample counts as often as it comes.
    shuffle, batch_size, window, run, lanes
        Of the loader; with ``shuffle`` a batch is drawn from ``window * lanes`` units, of which
        ``run`` neighbours stay together.
    effective_batch_size
        Independent samples that a batch is worth; NaN where that cannot be told.
    least_effective, most_effective
        The same for a correlation that is two standard errors larger, and smaller.
    distinct_units
        Units that the samples of a batch come from, on average.
    entropy, full_entropy, expected_entropy, measured_entropy
        Bits, of classes: of all labels of an epoch; of a batch if all of these were shuffled; of a
        batch as expected; and as measured in batches of the present epoch. None for values, and
        where it was not possible to measure.
    read_amplification
        Samples decoded for each that is used.
    memory
        Budget of the loader in bytes.
    needed_window, needed_memory
        Units to mix in all lanes, and the memory in bytes that holds them, so that half of the
        batch counts.
    classes
        What the classes are called.
    batch_shares
        Share of each class in the measured batches, shape ``(batches, classes)``; for the plot.

    Examples
    --------
    >>> import numpy as np
    >>> import chunkstore as cs
    >>> arrays = {"x": np.zeros((40_000, 256)), "y": np.repeat(np.arange(10), 4000)}
    >>> with cs.Loader(arrays, ("x", "y"), batch_size=128, window=4) as loader:
    ...     diagnosis = loader.diagnose("y", warn=False)
    >>> diagnosis.verdict, round(diagnosis.effective_batch_size, 1)
    ('poor', 4.2)
    """

    labels: str | None
    kind: Literal["classes", "values"]
    num_samples: int
    num_units: int
    num_classes: int
    rho: float
    rho_error: float
    shuffle: bool
    batch_size: int
    window: int
    run: int
    lanes: int
    effective_batch_size: float
    least_effective: float
    most_effective: float
    distinct_units: float
    entropy: float | None
    full_entropy: float | None
    expected_entropy: float | None
    measured_entropy: float | None
    read_amplification: float
    memory: int
    needed_window: int
    needed_memory: int
    classes: tuple[str, ...] = field(repr=False)
    batch_shares: NDArray[np.float64] | None = field(repr=False, compare=False)

    @property
    def batch_samples(self) -> int:
        """Samples that a batch can hold: the batch size, or all there are."""
        return min(self.batch_size, self.num_samples)

    @property
    def design_effect(self) -> float:
        """How many times more samples a batch needs than independent ones."""
        return self.batch_samples / self.effective_batch_size if self.num_samples else math.nan

    @property
    def verdict(self) -> Verdict:
        """Whether a batch is worth half its samples or more ("well"), or less, beyond doubt."""
        wanted = _POOR * self.batch_samples
        # Written so that NaN is unknown.
        if self.most_effective < wanted:
            return "poor"
        return "well" if self.least_effective >= wanted else "unknown"

    @property
    def is_poor(self) -> bool:
        """Whether a batch is worth less than half its samples, beyond doubt of the estimate."""
        return self.verdict == "poor"

    @property
    def advice(self) -> str:
        """What to do, in plain words."""
        what = f"array {self.labels!r}" if self.labels is not None else "the samples"
        if self.verdict == "unknown":
            return f"{what}: {self._doubt}"
        if self.verdict == "well":
            all_of_them = ", all there are" if self.batch_samples < self.batch_size else ""
            worth = (
                f"batch_size={self.batch_size} is worth {self.effective_batch_size:.0f} "
                f"independent samples{all_of_them}"
            )
            return f"{what}: well mixed (rho={self.rho:.2f}): {worth}; nothing to do"
        behaves = f"batch_size={self.batch_size} behaves like {self.effective_batch_size:.0f}"
        if not self.shuffle:
            shuffled = self.effective_at(self.window)
            worth = "" if math.isnan(shuffled) else f", which makes it worth {shuffled:.0f}"
            return (
                f"{what}: labels are grouped in the file and shuffle=False delivers them so: "
                f"{behaves} independent samples; use shuffle=True{worth}"
            )
        return (
            f"{what}: labels are grouped inside chunks (rho={self.rho:.2f}): {behaves} "
            f"independent samples with {self._mixed} chunks in a window; use "
            f"{self.needed_window} chunks (window={-(-self.needed_window // self.lanes)}, "
            f"memory={_in_mib(self.needed_memory)!r}), "
            f"{f'shorter runs than run={self.run}, ' if self.run > 1 else ''}smaller chunks, or "
            "shuffle the file for good: chunkstore shuffle in.zarr.zip out.zarr.zip"
        )

    def __str__(self) -> str:
        drawn = f"from {_chunks(self._mixed)}" if self.shuffle else "in file order"
        sizes = (
            f"{self.num_samples:,} samples in {_chunks(self.num_units)}; batches of "
            f"{self.batch_size} {drawn}, {self.distinct_units:.0f} different ones each"
        )
        worth = (
            f"rho {self.rho:.3f} +- {self.rho_error:.3f}; a batch is worth "
            f"{self.effective_batch_size:.1f} independent samples"
        )
        lines = [sizes, worth]
        if self.expected_entropy is not None:
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
        """Return the numbers as JSON values; None stands for NaN."""
        values = asdict(self)
        del values["batch_shares"], values["classes"]
        values = {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in values.items()
        }
        return values | {
            "verdict": self.verdict,
            "is_poor": self.is_poor,
            "advice": self.advice,
        }

    def plot(self) -> Any:
        """Return a picture of it, a ``matplotlib.figure.Figure``; needs matplotlib."""
        return resolve("chunkstore.plotting", "plot_diagnosis")(self)

    def effective_at(self, window: int, *, rho: float | None = None) -> float:
        """Return what a shuffled batch would be worth with another window, or another rho."""
        units = mean_window(window, num_units=self.num_units, lanes=self.lanes)
        together = min(self.run, math.ceil(units))
        return effective_batch_size(
            self.batch_samples,
            rho=self.rho if rho is None else rho,
            window=units / together,
            num_chunks=-(-self.num_units // together),
            lanes=self.lanes,
        )

    @property
    def _mixed(self) -> int:
        """Units that a batch is drawn from."""
        return min(self.window * self.lanes, self.num_units)

    @property
    def _doubt(self) -> str:
        if math.isnan(self.effective_batch_size):
            return (
                "it cannot be told how well they are mixed: there are no two labels of one chunk "
                "to compare"
            )
        return (
            f"it cannot be told how well they are mixed: rho={self.rho:.2f} from "
            f"{self.num_units} chunks is uncertain, batch_size={self.batch_size} may be worth "
            f"{self.least_effective:.0f} to {self.most_effective:.0f} independent samples; "
            "a larger window leaves less doubt"
        )


def _chunks(count: int) -> str:
    return f"{count:,} chunk{'s' * (count != 1)}"


def mean_window(window: int, *, num_units: int, lanes: int) -> float:
    """Return the units in a window of a lane on average: all windows are about as long."""
    units = max(num_units / lanes, 1.0)
    return units / math.ceil(units / window)


def _in_mib(nbytes: int) -> str:
    return f"{-(-nbytes // (1 << 20))}MiB"
