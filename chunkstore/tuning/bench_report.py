"""What does a person see of how fast their file loads?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from chunkstore.pipeline.stats import LoaderStats
    from chunkstore.tuning.results import Spread

Limit = Literal["disk", "decode", "transform", "copying", "consumer"]

# The consumer who waits for less than this part of the time is what takes it.
_NO_WAIT: Final = 0.1
_WORK: Final[dict[str, Limit]] = {
    "fetch": "disk",
    "decode": "decode",
    "transform": "transform",
    "scatter": "copying",
}
_ADVICE: Final[dict[Limit, str]] = {
    "disk": "reading takes most of the threads' time: a codec with a better ratio reads less "
    "(chunkstore tune), a faster disk or more memory for its cache help",
    "decode": "decoding takes most of the threads' time: lz4 decodes fastest (chunkstore tune), "
    "more threads use more cores",
    "transform": "your transforms take most of the threads' time: store their result, or do them "
    "in the model",
    "copying": "moving samples takes most of the threads' time: smaller dtypes or fewer arrays "
    "move less",
    "consumer": "batches were there before they were asked for: what is done with them takes the "
    "time, and a faster file would change nothing",
}


@dataclass(frozen=True)
class BenchPass:
    """One way to load a file, measured several times.

    Attributes
    ----------
    name
        ``"sequential"``, ``"shuffled"`` or ``"shuffled, direct"``.
    speed
        Decoded bytes a second.
    samples
        In one pass: an epoch, or as much of it as the time allowed.
    is_whole
        Whether a pass was a whole epoch.
    seconds, stats
        Of all passes together: how long they took, and what the loader counted.
    """

    name: str
    speed: Spread
    samples: int
    is_whole: bool
    seconds: float
    stats: LoaderStats

    @property
    def samples_per_second(self) -> float:
        """Samples that came in a second."""
        return self.stats.samples / self.seconds

    @property
    def wait_share(self) -> float:
        """Part of the time in which the consumer waited for a batch."""
        return min(1.0, self.stats.wait_seconds / self.seconds)

    @property
    def limit(self) -> Limit:
        """What limits: the disk, decoding, transforms, copying, or the consumer."""
        times = self.stats.thread_seconds
        if self.wait_share < _NO_WAIT:
            return "consumer"
        return _WORK[max(times, key=lambda name: times[name])]

    @property
    def advice(self) -> str:
        """What that means, in a sentence."""
        return _ADVICE[self.limit]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "name": self.name,
            "nbytes_per_second": self.speed.to_json(),
            "samples_per_second": self.samples_per_second,
            "samples": self.samples,
            "is_whole": self.is_whole,
            "seconds": self.seconds,
            "wait_share": self.wait_share,
            "limit": self.limit,
            "advice": self.advice,
            "stats": asdict(self.stats),
        }


@dataclass(frozen=True)
class BenchReport:
    """How fast a file loads, and what limits it; made by `chunkstore.bench`.

    Attributes
    ----------
    source, names
        What was loaded.
    num_samples, batch_size, threads, memory
        Of the loader.
    sample_nbytes
        Decoded bytes of a sample, over all arrays.
    passes
        The ways to load.
    notes
        What could not be measured, and why.
    """

    source: str
    names: tuple[str, ...]
    num_samples: int
    batch_size: int
    threads: int
    memory: int
    sample_nbytes: int
    passes: tuple[BenchPass, ...]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> BenchPass:
        """Return one of the passes by its name."""
        for found in self.passes:
            if found.name == name:
                return found
        there = ", ".join(repr(found.name) for found in self.passes)
        raise KeyError(f"no pass {name!r}; there are {there}")

    def __str__(self) -> str:
        lines = [
            f"{self.source}: {', '.join(self.names)}",
            f"{self.num_samples:,} samples of {self.sample_nbytes:,} bytes",
            f"batches of {self.batch_size}, {self.threads} threads, {self.memory / 2**20:,.0f} MiB",
            "",
        ]
        heading = ("", "MB/s", "samples/s", "waited", "fetch", "decode", "transform", "copying")
        rows = [heading, *(_row(found) for found in self.passes)]
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        lines.append("")
        lines += [f"{found.name}: {found.limit} limits: {found.advice}" for found in self.passes]
        parts = [found for found in self.passes if not found.is_whole]
        if parts:
            lines.append(
                f"note: {', '.join(found.name for found in parts)}: the time was enough for "
                f"{min(found.samples for found in parts):,} samples of a pass; more seconds read "
                "more"
            )
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; speeds in decoded bytes a second."""
        return {
            "source": self.source,
            "names": list(self.names),
            "num_samples": self.num_samples,
            "batch_size": self.batch_size,
            "threads": self.threads,
            "memory": self.memory,
            "sample_nbytes": self.sample_nbytes,
            "passes": [found.to_json() for found in self.passes],
            "notes": list(self.notes),
        }


def _row(found: BenchPass) -> tuple[str, ...]:
    speed = found.speed
    times = found.stats.thread_seconds
    total = sum(times.values())
    return (
        found.name,
        f"{speed.median / 1e6:,.0f} ({speed.low / 1e6:,.0f}-{speed.high / 1e6:,.0f})",
        f"{found.samples_per_second:,.0f}",
        f"{found.wait_share:.0%}",
        *(f"{seconds / total if total else 0:.0%}" for seconds in times.values()),
    )
