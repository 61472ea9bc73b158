"""Where did the time go?"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chunkstore.pipeline.unit import UnitReader


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
    fetch_seconds: float = 0.0
    decode_seconds: float = 0.0
    transform_seconds: float = 0.0
    scatter_seconds: float = 0.0

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
