"""What does a measurement say, and does it hold what was promised?"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MIB = 1 << 20


@dataclass(frozen=True)
class Settings:
    """How large a run is.

    Attributes
    ----------
    folder
        On the normal disk, for the files of the run.
    memory_folder
        On tmpfs, or None where there is none.
    rounds
        Measurements of each pair, after one that warms up and is left out.
    patches
        Photographs' patches that are written and read.
    chunks
        Chunks of the file that is opened.
    reads
        Reads in one measurement of a slice.
    codecs
        Names and levels of Blosc's codecs.
    has_warm_up
        Whether a first round is left out.
    load_nbytes
        Decoded bytes of each data set that is loaded.
    load_sets
        Names of these data sets; None for all.
    has_optional_peers
        Whether peers with environments of their own load too.
    """

    folder: str
    memory_folder: str | None
    rounds: int = 7
    patches: int = 60_000
    chunks: int = 1_000_000
    reads: int = 200
    codecs: tuple[tuple[str, int], ...] = (("lz4", 5), ("zstd", 1))
    has_warm_up: bool = True
    load_nbytes: int = 256 << 20
    load_sets: tuple[str, ...] | None = None
    has_optional_peers: bool = True

    def tiers(self) -> list[tuple[str, str]]:
        """Return name and folder of each kind of storage."""
        tiers = [("disk", self.folder)]
        return tiers if self.memory_folder is None else [*tiers, ("tmpfs", self.memory_folder)]


@dataclass(frozen=True)
class Result:
    """One number beside its limit.

    Attributes
    ----------
    case
        The measurement it belongs to, as ``--only`` takes it.
    name
        What was measured.
    values
        The number in each round.
    direction, limit
        What was promised of the median; no limit: nothing.
    ours_seconds, peer_seconds
        Median times of the two sides; None where the number is no ratio of times.
    decoded_nbytes
        Decoded bytes that each side handled; 0 where that has no meaning.
    conditions
        Kind of storage, state of the caches, and what else the number depends on.
    unit
        Of the number; empty for a ratio.
    details
        What else is worth keeping, as JSON values. ``"sides"``: rows of a table of its own, one
        dict for each loader, with equal keys.
    """

    case: str
    name: str
    values: list[float]
    direction: Literal["at least", "at most"]
    limit: float | None
    conditions: str
    ours_seconds: float | None = None
    peer_seconds: float | None = None
    decoded_nbytes: int = 0
    unit: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The number that counts."""
        return statistics.median(self.values)

    @property
    def is_held(self) -> bool:
        """Whether the median keeps the promise."""
        if self.limit is None:
            return True
        if self.direction == "at least":
            return self.median >= self.limit
        return self.median <= self.limit

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self) | {
            "median": self.median,
            "low": min(self.values),
            "high": max(self.values),
            "is_held": self.is_held,
        }


def measure_in_turns(
    sides: Sequence[Callable[[], float]], *, rounds: int, has_warm_up: bool = True
) -> list[tuple[float, ...]]:
    """Return the times of several sides, round by round, in seconds.

    Each round measures every side once, every other round in the opposite order, so that what
    else the machine does meets all of them alike.

    Parameters
    ----------
    sides
        Each returns the time that it took.
    rounds
        How many are returned.
    has_warm_up
        Whether a round before the first is left out.
    """
    measured = []
    for number in range(rounds + has_warm_up):
        order = range(len(sides)) if number % 2 else reversed(range(len(sides)))
        times = {side: sides[side]() for side in order}
        measured.append(tuple(times[side] for side in range(len(sides))))
    return measured[has_warm_up:]


def ratio(
    measured: Sequence[tuple[float, ...]],
    *,
    ours: int,
    peer: int,
    direction: Literal["at least", "at most"],
    limit: float,
    **others: Any,
) -> Result:
    """Return the ratio of two sides' times, round by round.

    Parameters
    ----------
    measured
        From `measure_in_turns`.
    ours, peer
        Which sides.
    direction, limit
        ``"at least"``: the ratio says how many times as fast as the peer we are. ``"at most"``:
        how many times the peer's time we take.
    **others
        Further fields of the result.
    """
    pairs = [(times[ours], times[peer]) for times in measured]
    return Result(
        values=[b / a if direction == "at least" else a / b for a, b in pairs],
        direction=direction,
        limit=limit,
        ours_seconds=statistics.median(a for a, _ in pairs),
        peer_seconds=statistics.median(b for _, b in pairs),
        **others,
    )
