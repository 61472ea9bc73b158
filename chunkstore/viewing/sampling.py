"""Which chunks and samples of an array are looked at, and how are they read if some are damaged?

A file may be larger than memory: a look takes a bounded number of chunks, spread over all of it,
and says so. What is small is read whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import ChunkStoreError
from chunkstore.plan.random import stream_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from chunkstore.store.array import Array

# Decoded bytes that are looked at of one array, unless all of it was asked for.
LOOK_NBYTES: Final = 64 << 20
# An array whose chunks are larger is not looked at: one of them is decoded whole.
LARGEST_CHUNK_NBYTES: Final = 256 << 20
# Reads in as many places; an array that is read whole is read from end to end.
_MOST_CHUNKS: Final = 256
_MOST_CHUNKS_OF_ALL: Final = 4096
# What reading can end in that says something about the file or the machine.
READ_ERRORS: Final = (ChunkStoreError, OSError, MemoryError)


@dataclass(frozen=True)
class Damage:
    """Something that could not be read.

    Attributes
    ----------
    array
        Its name.
    message
        The error's text: file, chunk, byte offset.
    """

    array: str
    message: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"array": self.array, "message": self.message}


@dataclass
class Remarks:
    """What is to be said about a look besides its results.

    Attributes
    ----------
    damage
        What could not be read, each once.
    notes
        What was left out, and why.
    """

    damage: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_error(self, array: str, error: BaseException) -> None:
        """Enter an error of a read."""
        found = Damage(array, str(error) or type(error).__name__)
        if found not in self.damage:
            self.damage.append(found)

    def add_note(self, note: str) -> None:
        """Enter a note, once."""
        if note not in self.notes:
            self.notes.append(note)


@dataclass(frozen=True)
class ChunkChoice:
    """The chunks of an array that are looked at.

    Attributes
    ----------
    chunks
        Along axis 0, ascending, shape ``(n,)``.
    num_chunks
        How many there are.
    """

    chunks: NDArray[np.int64]
    num_chunks: int

    @property
    def is_complete(self) -> bool:
        """Whether these are all."""
        return len(self.chunks) == self.num_chunks


def sample_nbytes(array: Array) -> int:
    """Return the decoded bytes of one sample, at least 1."""
    return max(1, math.prod(array.shape[1:]) * array.dtype.itemsize)


def chunk_nbytes(array: Array) -> int:
    """Return the decoded bytes of a chunk, at least 1."""
    return array.chunk_length * sample_nbytes(array)


def spread(count: int, wanted: int, *, seed: int, salt: int = 0) -> NDArray[np.int64]:
    """Return places in ``[0, count)``, ascending: one drawn from each of ``wanted`` equal parts.

    Parameters
    ----------
    count
        Places there are.
    wanted
        All of them if this is as many or more.
    seed, salt
        The draw: the same everywhere for the same numbers.

    Examples
    --------
    >>> spread(3, 10, seed=0).tolist(), len(spread(1000, 10, seed=0))
    ([0, 1, 2], 10)
    """
    if wanted >= count:
        return np.arange(count, dtype=np.int64)
    # Integers: exact for any count.
    starts = np.array([part * count // wanted for part in range(wanted + 1)], np.int64)
    words = np.random.Philox(key=stream_key(seed, a=salt)).random_raw(wanted)
    widths = np.diff(starts).astype(np.uint64)
    return starts[:-1] + (words % widths).astype(np.int64)


def choose_chunks(
    array: Array,
    *,
    seed: int = 0,
    nbytes: int | None = LOOK_NBYTES,
    most: int = _MOST_CHUNKS,
) -> ChunkChoice:
    """Return the chunks to look at: all where they are few and small, some all over it otherwise.

    Parameters
    ----------
    array
        Of an open store.
    seed
        Which of them.
    nbytes
        Decoded bytes to look at; None for all chunks.
    most
        Chunks, where not all are read.
    """
    if array.size == 0:
        return ChunkChoice(np.zeros(0, np.int64), 0)
    # Chunks that other writers left out hold one value, and there may be billions of them.
    stored = array.stored_chunks()
    if nbytes is None:
        return ChunkChoice(np.asarray(stored, np.int64), array.num_chunks)
    affordable = max(1, nbytes // chunk_nbytes(array))
    all_of_them = min(affordable, _MOST_CHUNKS_OF_ALL if most == _MOST_CHUNKS else most)
    if len(stored) > all_of_them:
        places = spread(len(stored), min(affordable, most), seed=seed)
        stored = [stored[place] for place in places.tolist()]
    return ChunkChoice(np.asarray(stored, np.int64), array.num_chunks)


def is_readable(array: Array, remarks: Remarks, *, limit: int = LARGEST_CHUNK_NBYTES) -> bool:
    """Say whether chunks of an array are small enough to be looked at; notes it if they are not."""
    if chunk_nbytes(array) <= limit:
        return True
    remarks.add_note(
        f"array {array.name!r} was not looked at: one chunk decodes to {chunk_nbytes(array):,} "
        f"bytes, and a look decodes at most {limit:,} at a time"
    )
    return False


def read_chunks(
    array: Array, choice: ChunkChoice, remarks: Remarks
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the number of a chunk's first sample and its samples; damaged chunks are left out.

    An array without axes comes as one sample.
    """
    if not array.shape:
        if len(choice.chunks):
            try:
                whole = np.asarray(array[()]).reshape(1)
            except READ_ERRORS as error:
                remarks.add_error(array.name, error)
                return
            yield 0, whole
        return
    for chunk_index in choice.chunks.tolist():
        start = chunk_index * array.chunk_length
        stop = min(start + array.chunk_length, len(array))
        try:
            samples = array.read_samples(start, stop, threads=1)
        except READ_ERRORS as error:
            remarks.add_error(array.name, error)
            continue
        yield start, samples


def choose_samples(
    array: Array,
    wanted: int,
    *,
    seed: int = 0,
    nbytes: int = LOOK_NBYTES,
    most: int = _MOST_CHUNKS,
) -> NDArray[np.int64]:
    """Return numbers of samples, ascending, all over an array, from a bounded number of chunks.

    Parameters
    ----------
    array
        Of an open store, with an axis 0.
    wanted
        How many; fewer where there are fewer.
    seed
        Which of them.
    nbytes
        Decoded bytes of the chunks that hold them; at least one chunk.
    most
        Chunks that hold them.
    """
    choice = choose_chunks(array, seed=seed, nbytes=nbytes, most=min(most, max(wanted, 1)))
    if not wanted or not len(choice.chunks):
        return np.zeros(0, np.int64)
    total = len(array)
    if choice.is_complete:
        return spread(total, wanted, seed=seed, salt=1)
    shares = np.diff(
        [part * wanted // len(choice.chunks) for part in range(len(choice.chunks) + 1)]
    )
    numbers = []
    for chunk_index, share in zip(choice.chunks.tolist(), shares.tolist(), strict=True):
        start = chunk_index * array.chunk_length
        length = min(array.chunk_length, total - start)
        numbers.append(start + spread(length, share, seed=seed, salt=2 + chunk_index))
    return np.concatenate(numbers)


def read_numbers(
    array: Array, numbers: NDArray[np.int64], remarks: Remarks
) -> Iterator[tuple[int, Any]]:
    """Yield number and sample for ascending numbers; None in place of a sample that is damaged.

    Each chunk is decoded once, and one at a time is held.
    """
    chunks = numbers // array.chunk_length
    for chunk_index in np.unique(chunks).tolist():
        inside = numbers[chunks == chunk_index]
        start = chunk_index * array.chunk_length
        stop = min(start + array.chunk_length, len(array))
        try:
            samples = array.read_samples(start, stop, threads=1)
        except READ_ERRORS as error:
            remarks.add_error(array.name, error)
            yield from ((number, None) for number in inside.tolist())
            continue
        yield from ((number, samples[number - start]) for number in inside.tolist())
