"""What do verify, repair, compact and merge tell?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a file.

    Attributes
    ----------
    array
        The array concerned, or None for the file as a whole.
    chunk_index
        Along axis 0, or None.
    samples
        Half-open range of samples that cannot be read, or None.
    key, offset
        Entry name and byte offset, where known.
    message
        What is wrong.
    """

    array: str | None
    chunk_index: int | None
    samples: tuple[int, int] | None
    key: str | None
    offset: int | None
    message: str


@dataclass(frozen=True)
class VerifyReport:
    """Result of `chunkstore.verify`.

    Attributes
    ----------
    path
        The file.
    num_entries, num_bytes
        Entries checked and the bytes they take.
    problems
        Everything found, in file order of the arrays.
    torn_nbytes
        Bytes of an interrupted append behind the last checkpoint: no damage.
    """

    path: str
    num_entries: int
    num_bytes: int
    problems: tuple[Problem, ...]
    torn_nbytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def lost_samples(self) -> dict[str, list[tuple[int, int]]]:
        """Half-open ranges of samples that cannot be read, by array."""
        lost: dict[str, list[tuple[int, int]]] = {}
        for problem in self.problems:
            if problem.array is not None and problem.samples is not None:
                lost.setdefault(problem.array, []).append(problem.samples)
        return {name: merged(ranges) for name, ranges in lost.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "path": self.path,
            "ok": self.ok,
            "num_entries": self.num_entries,
            "num_bytes": self.num_bytes,
            "torn_nbytes": self.torn_nbytes,
            "problems": [asdict(problem) for problem in self.problems],
            "lost_samples": {k: [list(r) for r in v] for k, v in self.lost_samples.items()},
        }


@dataclass(frozen=True)
class RepairReport:
    """Result of `chunkstore.repair`.

    Attributes
    ----------
    path, out
        The damaged file and the new one.
    num_samples
        How many samples the damaged file held, as far as that is known.
    recovered_samples
        How many of them the new file holds.
    lost
        Half-open ranges of the old file's samples that are gone, by the array whose chunk is
        damaged. Samples lost in one aligned array are left out of all.
    dropped_arrays
        Arrays that could not be saved at all.
    messages
        What was found, in words.
    alone
        Arrays that have more complete samples than all together, such as the images whose labels
        were cut off, and how many at most: ``repair(path, arrays=[name])`` saves them.
    """

    path: str
    out: str
    num_samples: int
    recovered_samples: int
    lost: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    dropped_arrays: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    alone: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class CompactReport:
    """Result of `chunkstore.compact`: the file's size before and after, in bytes."""

    path: str
    out: str
    nbytes_before: int
    nbytes_after: int

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return half-open ranges sorted, those that touch or overlap as one."""
    result: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(stop, result[-1][1]))
        else:
            result.append((start, stop))
    return result


@dataclass(frozen=True)
class MergeReport:
    """Result of `chunkstore.merge`.

    Attributes
    ----------
    out
        The new file.
    parts
        The files it was made of.
    num_samples
        Samples of the new file.
    copied_chunks, encoded_chunks
        Chunks that were copied as they are, and chunks that had to be encoded again.
    """

    out: str
    parts: tuple[str, ...]
    num_samples: int
    copied_chunks: int
    encoded_chunks: int

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)
