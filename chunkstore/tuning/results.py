"""What did the measurements of one run give?"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chunkstore.format.choosing import CodecChoice


@dataclass(frozen=True)
class Spread:
    """A number that was measured several times.

    Attributes
    ----------
    values
        In the order of measuring, at least one.

    Examples
    --------
    >>> speed = Spread((2e9, 1e9, 3e9))
    >>> speed.median, speed.low, speed.high
    (2000000000.0, 1000000000.0, 3000000000.0)
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The number that counts."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The smallest."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest."""
        return max(self.values)

    def to_json(self) -> dict[str, float | int]:
        """Return median, ends and count as JSON values."""
        return {
            "median": self.median,
            "low": self.low,
            "high": self.high,
            "rounds": len(self.values),
        }


@dataclass(frozen=True)
class CodecSpeed:
    """How small and how fast one way to encode is.

    Attributes
    ----------
    choice
        Codec, level, shuffle and typesize.
    ratio
        Decoded bytes by encoded bytes.
    encode, decode
        Decoded bytes a second with all threads. Encoding is what a writer does with a chunk, its
        checksum included; decoding what a loader does: check, decode, move samples to their places.
    """

    choice: CodecChoice
    ratio: float
    encode: Spread
    decode: Spread

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            **self.choice.options,
            "ratio": self.ratio,
            "encode_nbytes_per_second": self.encode.to_json(),
            "decode_nbytes_per_second": self.decode.to_json(),
        }


@dataclass(frozen=True)
class ChunkSpeed:
    """What chunks of one size give with one codec.

    Attributes
    ----------
    chunk_nbytes
        Decoded bytes aimed at.
    ratio, decode
        See `CodecSpeed`.
    disk
        Stored bytes a second, read in pieces of such chunks; None where it was not measured.
    """

    chunk_nbytes: int
    ratio: float
    decode: Spread
    disk: Spread | None

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "chunk_nbytes": self.chunk_nbytes,
            "ratio": self.ratio,
            "decode_nbytes_per_second": self.decode.to_json(),
            "disk_nbytes_per_second": _or_none(self.disk),
        }


@dataclass(frozen=True)
class DiskSpeed:
    """How fast files come from a disk and go to it, in stored bytes a second.

    Attributes
    ----------
    folder
        Where it was measured.
    read_nbytes
        Of one read; reads are at random places, by all threads.
    direct
        Past the page cache; None where the file system cannot.
    buffered
        Through a page cache that does not have the bytes; None where the system cannot empty it.
    cached
        From the page cache.
    write
        Written and brought to the device.
    notes
        What could not be measured, and why.
    """

    folder: str
    read_nbytes: int
    direct: Spread | None
    buffered: Spread | None
    cached: Spread
    write: Spread
    notes: tuple[str, ...] = ()

    @property
    def reading(self) -> Spread:
        """What a file gives that does not fit in memory: the faster way to read it.

        Where neither could be measured, the speed of writing stands for it: never that of memory.
        """
        ways = [way for way in (self.direct, self.buffered) if way is not None]
        return max(ways, key=lambda way: way.median, default=self.write)

    @property
    def is_read(self) -> bool:
        """Whether `reading` was measured by reading."""
        return self.direct is not None or self.buffered is not None

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "folder": self.folder,
            "read_nbytes": self.read_nbytes,
            "direct_nbytes_per_second": _or_none(self.direct),
            "buffered_nbytes_per_second": _or_none(self.buffered),
            "cached_nbytes_per_second": self.cached.to_json(),
            "write_nbytes_per_second": self.write.to_json(),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class LoaderSpeed:
    """How fast a Loader read a file of the sample, in decoded bytes a second.

    Attributes
    ----------
    ratio
        Of the file: decoded bytes by stored bytes.
    is_whole
        Whether the file held the whole sample; else the time was enough to encode some of it, and
        these chunks stand in the file several times.
    cached
        Shuffled epochs from the page cache.
    disk
        Shuffled epochs past it, or where the file system has no way past it through an emptied one;
        None where that cannot be done either.
    """

    ratio: float
    is_whole: bool
    cached: Spread
    disk: Spread | None

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "ratio": self.ratio,
            "is_whole": self.is_whole,
            "cached_nbytes_per_second": self.cached.to_json(),
            "disk_nbytes_per_second": _or_none(self.disk),
        }


@dataclass(frozen=True)
class PeerSpeed:
    """What another library gives for the same samples.

    Attributes
    ----------
    name
        Library and filter.
    ratio
        Decoded bytes by stored bytes.
    encode, decode
        Decoded bytes a second, in memory; one thread, where the library has a lock.
    """

    name: str
    ratio: float
    encode: Spread
    decode: Spread

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "name": self.name,
            "ratio": self.ratio,
            "encode_nbytes_per_second": self.encode.to_json(),
            "decode_nbytes_per_second": self.decode.to_json(),
        }


@dataclass
class Notes:
    """Sentences for the person, each once, in the order in which they came up."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        """Keep a sentence, unless it is there."""
        if line not in self.lines:
            self.lines.append(line)


def _or_none(spread: Spread | None) -> dict[str, float | int] | None:
    return None if spread is None else spread.to_json()
