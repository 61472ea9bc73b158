"""Where did the time go?"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from chunkstore.upper import resolve

if TYPE_CHECKING:
    from chunkstore.pipeline.unit import UnitReader

# Less than this part of the consumer's time is no waiting worth a change.
_NO_WAIT: Final = 0.02
_ADVICE: Final = {
    "fetch": "the disk limits; a codec with a better ratio reads less, io= chooses how it reads",
    "decode": "decoding limits; lz4 decodes fastest, and threads= may use more cores",
    "transform": "your transforms limit; store their result, or do them in the model",
    "scatter": "copying limits; smaller dtypes or fewer arrays move less",
}


@dataclass(frozen=True)
class LoaderStats:
    """What a loader has done since it was made.

    Attributes
    ----------
    batches, samples
        Delivered to the consumer.
    units
        Units read: one chunk of every array.
    read_nbytes
        Encoded bytes read.
    skipped_units, skipped_samples
        Left out because a chunk is damaged, each once however many epochs met it.
    wait_seconds
        Time that the consumer waited for a batch: what the loader cost the training.
    consumer_seconds
        Time between a batch and the call for the next one: the consumer's own work.
    fetch_seconds, decode_seconds, transform_seconds, scatter_seconds
        Time of the reading threads, summed: reading bytes; checking and decoding; in transforms;
        copying samples to their places.
    """

    batches: int = 0
    samples: int = 0
    units: int = 0
    read_nbytes: int = 0
    skipped_units: int = 0
    skipped_samples: int = 0
    wait_seconds: float = 0.0
    consumer_seconds: float = 0.0
    fetch_seconds: float = 0.0
    decode_seconds: float = 0.0
    transform_seconds: float = 0.0
    scatter_seconds: float = 0.0

    @property
    def thread_seconds(self) -> dict[str, float]:
        """Time of the reading threads by what they did."""
        return {
            "fetch": self.fetch_seconds,
            "decode": self.decode_seconds,
            "transform": self.transform_seconds,
            "scatter": self.scatter_seconds,
        }

    @property
    def advice(self) -> str:
        """What would make the loader faster, in a sentence."""
        times = self.thread_seconds
        total = sum(times.values())
        if not self.batches or total <= 0:
            return "nothing was read yet"
        if self.wait_seconds <= _NO_WAIT * (self.wait_seconds + self.consumer_seconds):
            return "the consumer hardly waits: the loader is not what limits it"
        what = max(times, key=lambda name: times[name])
        return f"{times[what] / total:.0%} of the threads' time is {what}: {_ADVICE[what]}"

    def __str__(self) -> str:
        total = sum(self.thread_seconds.values())
        shares = ", ".join(
            f"{name} {seconds / total if total else 0:.0%}"
            for name, seconds in self.thread_seconds.items()
        )
        read = (
            f"{self.batches:,} batches, {self.samples:,} samples, {self.read_nbytes:,} bytes read "
            f"in {self.units:,} chunk{'s' * (self.units != 1)} of the widest array"
        )
        times = (
            f"the consumer waited {self.wait_seconds:.3f} s for data and worked "
            f"{self.consumer_seconds:.3f} s; threads worked {total:.3f} s: {shares}"
        )
        lines = [read, times, self.advice]
        if self.skipped_units:
            lines.append(
                f"skipped {self.skipped_samples:,} samples in {self.skipped_units:,} damaged "
                f"chunk{'s' * (self.skipped_units != 1)}"
            )
        return "\n".join(lines)

    def plot(self) -> Any:
        """Return a picture of where the time went, a ``matplotlib.figure.Figure``."""
        return resolve("chunkstore.plotting", "plot_stats")(self)

    @classmethod
    def of_reader(cls, reader: UnitReader) -> LoaderStats:
        """Return the share of one thread."""
        return cls(
            units=reader.num_units,
            read_nbytes=reader.read_nbytes,
            fetch_seconds=reader.fetch_seconds,
            decode_seconds=reader.decode_seconds,
            transform_seconds=reader.transform_seconds,
            scatter_seconds=reader.scatter_seconds,
        )

    def __add__(self, other: LoaderStats) -> LoaderStats:
        return LoaderStats(
            **{
                field.name: getattr(self, field.name) + getattr(other, field.name)
                for field in fields(self)
            }
        )
