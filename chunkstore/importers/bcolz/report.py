"""What does the check of a bcolz folder tell?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import CorruptionError, UnsupportedError
from chunkstore.store.report import Problem, merged

if TYPE_CHECKING:
    from chunkstore.errors import ChunkStoreError

_MAX_LISTED: Final = 20


@dataclass(frozen=True)
class ArraySummary:
    """What an array is, as far as its metadata and headers tell.

    Attributes
    ----------
    name
        In the store.
    shape, dtype
        As it will be read; the dtype as text, in the byte order on disk.
    chunk_length, num_chunks
        Samples in a chunk, and how many chunks hold the samples.
    encoded_nbytes
        Bytes of the chunk files that are read.
    methods
        Chunks by codec and shuffle, such as ``{"lz4 byte": 12, "copied": 1}``.
    attributes
        The user's attributes.
    storage
        The rest of ``meta/storage``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    chunk_length: int
    num_chunks: int
    encoded_nbytes: int
    methods: dict[str, int]
    attributes: dict[str, Any] = field(default_factory=dict)
    storage: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BcolzReport:
    """Everything that was found, before or instead of reading.

    Attributes
    ----------
    path
        The folder or archive.
    arrays
        Those whose metadata can be read.
    problems
        Damage, with the samples that are lost where that is known.
    refused
        What is whole and not read here: a codec without a decoder, an array of objects.
    notes
        Facts that do not stop the work: stale chunks, unreadable attributes, files with holes.
    """

    path: str
    arrays: tuple[ArraySummary, ...] = ()
    problems: tuple[Problem, ...] = ()
    refused: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything can be read."""
        return not self.problems and not self.refused

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
        return asdict(self) | {
            "ok": self.ok,
            "lost_samples": {k: [list(r) for r in v] for k, v in self.lost_samples.items()},
        }

    def raise_if_bad(self) -> None:
        """Raise one error that lists everything.

        Raises
        ------
        CorruptionError
            Something is damaged.
        UnsupportedError
            Nothing is, but something is not read here.
        """
        if self.problems:
            raise CorruptionError(_listed("damaged", self.problems + self.refused), self.path)
        if self.refused:
            raise UnsupportedError(_listed("not read", self.refused), self.path)


def described(problem: Problem) -> str:
    """Return a problem as a line."""
    parts = []
    if problem.key is not None:
        parts.append(problem.key)
    elif problem.array is not None:
        parts.append(f"array {problem.array!r}")
    if problem.samples is not None:
        start, stop = problem.samples
        parts.append(f"samples [{start}, {stop})")
    return f"{', '.join(parts)}: {problem.message}" if parts else problem.message


def _listed(what: str, problems: tuple[Problem, ...]) -> str:
    lines = [described(problem) for problem in problems[:_MAX_LISTED]]
    if len(problems) > _MAX_LISTED:
        lines.append(f"and {len(problems) - _MAX_LISTED} more")
    if len(lines) == 1:
        return lines[0]
    return f"{what} in {len(problems)} places:\n  " + "\n  ".join(lines)


def problem_of(
    error: ChunkStoreError,
    *,
    array: str | None = None,
    chunk_index: int | None = None,
    samples: tuple[int, int] | None = None,
    key: str | None = None,
) -> Problem:
    """Return an error as a line of a report."""
    return Problem(
        array=array,
        chunk_index=chunk_index,
        samples=samples,
        key=error.key if error.key is not None else key,
        offset=error.offset,
        message=error.message,
    )
