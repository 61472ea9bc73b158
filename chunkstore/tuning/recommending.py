"""Which codec is best for a goal, and why?

Arithmetic over what was measured. An epoch reads and decodes at the same time, in other threads or
other moments: the slower of the two decides. What comes from memory is read by the processors that
decode, so there the times add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from chunkstore.settings import DEFAULT_CHUNK_NBYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chunkstore.format.choosing import CodecChoice
    from chunkstore.tuning.results import ChunkSpeed, CodecSpeed, DiskSpeed

Goal = Literal["fastest_training", "smallest_file", "fastest_write"]
GOALS: Final[tuple[Goal, ...]] = ("fastest_training", "smallest_file", "fastest_write")
# Speeds closer than this are the same speed: measured again, their order changes.
TOLERANCE: Final = 0.05
# Sizes have no noise, but a part of a hundred is not worth a slower file.
_SIZE_TOLERANCE: Final = 0.01


@dataclass(frozen=True)
class Medium:
    """Where the stored bytes come from in training.

    Attributes
    ----------
    disk
        The disk's speeds.
    nbytes
        Decoded bytes of all data.
    room
        Bytes that the page cache can hold of the file: a file that fits comes from there after the
        first epoch. None where that is not known.
    in_memory
        What the person says instead; None goes by the room.
    """

    disk: DiskSpeed
    nbytes: int
    room: int | None
    in_memory: bool | None = None

    def holds(self, ratio: float) -> bool:
        """Whether a file of some ratio stays in the page cache."""
        if self.in_memory is not None:
            return self.in_memory
        return self.room is not None and self.nbytes / ratio <= self.room

    def training_speed(self, ratio: float, decode: float) -> float:
        """Return the decoded bytes a second that an epoch can have.

        Parameters
        ----------
        ratio
            Decoded bytes by stored bytes.
        decode
            Decoded bytes a second of all threads.
        """
        if self.holds(ratio):
            return 1 / (1 / (self.disk.cached.median * ratio) + 1 / decode)
        return min(self.disk.reading.median * ratio, decode)

    def writing_speed(self, ratio: float, encode: float) -> float:
        """Return the decoded bytes a second that writing can have."""
        return min(self.disk.write.median * ratio, encode)


def training_speed(speed: CodecSpeed, medium: Medium) -> float:
    """Return how many decoded bytes a second an epoch of some codec can have."""
    return medium.training_speed(speed.ratio, speed.decode.median)


def writing_speed(speed: CodecSpeed, medium: Medium) -> float:
    """Return how many decoded bytes a second can be written with some codec."""
    return medium.writing_speed(speed.ratio, speed.encode.median)


def choose(goal: Goal, speeds: Sequence[CodecSpeed], medium: Medium) -> CodecSpeed:
    """Return the best of some ways to encode.

    Parameters
    ----------
    goal
        ``"fastest_training"``, ``"smallest_file"`` or ``"fastest_write"``.
    speeds
        All measured on the same chunks, at least one.
    medium
        Where the file lies.

    Returns
    -------
    Of those that are as good as the best within what can be measured: the smallest file; and of the
    smallest files the one that is faster in training.
    """
    if goal == "smallest_file":
        most = max(speed.ratio for speed in speeds)
        equal = [speed for speed in speeds if speed.ratio >= most * (1 - _SIZE_TOLERANCE)]
        return max(equal, key=lambda speed: training_speed(speed, medium))
    score = training_speed if goal == "fastest_training" else writing_speed
    best = max(score(speed, medium) for speed in speeds)
    equal = [speed for speed in speeds if score(speed, medium) >= best * (1 - TOLERANCE)]
    return max(equal, key=lambda speed: (speed.ratio, score(speed, medium)))


def choose_chunk_nbytes(chunks: Sequence[ChunkSpeed], medium: Medium) -> int:
    """Return the size of chunks for training.

    Parameters
    ----------
    chunks
        Measured sizes; none gives the built-in one.
    medium
        Where the file lies.

    Returns
    -------
    The built-in size unless another one was faster in each round than that in any, and by more than
    what can be measured; of such the smallest, whose samples mix best.
    """
    found = {chunk.chunk_nbytes: chunk for chunk in chunks}
    if not found:
        return DEFAULT_CHUNK_NBYTES
    usual = found.get(DEFAULT_CHUNK_NBYTES)
    if usual is None:
        return min(found)
    limit = max(_chunk_speeds(usual, medium)) * (1 + TOLERANCE)
    better = [
        nbytes for nbytes, chunk in found.items() if min(_chunk_speeds(chunk, medium)) > limit
    ]
    return min(better, default=DEFAULT_CHUNK_NBYTES)


def _chunk_speeds(chunk: ChunkSpeed, medium: Medium) -> list[float]:
    """Return the training speed of each round."""
    decodes = chunk.decode.values
    if chunk.disk is None or medium.holds(chunk.ratio):
        return [medium.training_speed(chunk.ratio, decode) for decode in decodes]
    reads = chunk.disk.values
    return [min(read * chunk.ratio, decode) for read, decode in zip(reads, decodes, strict=True)]


def reason(goal: Goal, chosen: CodecSpeed, medium: Medium, others: Sequence[CodecSpeed]) -> str:
    """Return in one sentence why a codec was chosen.

    Parameters
    ----------
    goal, chosen, medium
        See `choose`.
    others
        All that it was chosen from.
    """
    ratio, decode = chosen.ratio, chosen.decode.median
    if goal == "fastest_training" and medium.holds(ratio):
        where = "it is said to" if medium.in_memory else "it does, on this machine"
        return (
            f"a file that fits in memory ({where}) comes from there after the first epoch, so "
            f"decoding decides, and this does {mega(decode)}"
        )
    if goal == "fastest_training":
        arriving = medium.disk.reading.median * ratio
        limit = "the disk" if arriving < decode else "decoding"
        gives = "gives" if medium.disk.is_read else "takes, and is supposed to give,"
        return (
            f"the disk {gives} {mega(medium.disk.reading.median)} of a file {ratio:.2f} times "
            f"smaller than the data, which is {mega(arriving)}, and decoding does {mega(decode)}: "
            f"{limit} limits, and nothing measured is faster"
        )
    if goal == "smallest_file":
        return (
            f"nothing measured is smaller than 1/{ratio:.2f} of the data by more than a hundredth; "
            f"it is written with {mega(chosen.encode.median)} and decoded with {mega(decode)}"
        )
    written = medium.disk.write.median * ratio
    limit = "the disk" if written < chosen.encode.median else "encoding"
    equal = sum(
        writing_speed(speed, medium) >= writing_speed(chosen, medium) * (1 - TOLERANCE)
        for speed in others
    )
    also = "it is the smallest file of those as fast" if equal > 1 else "nothing else is as fast"
    return (
        f"encoding does {mega(chosen.encode.median)} and the disk takes {mega(written)} of the "
        f"data: {limit} limits, and {also}"
    )


def describe(choice: CodecChoice, itemsize: int) -> str:
    """Return a choice in a few letters.

    Parameters
    ----------
    choice
        Codec, level, shuffle, typesize.
    itemsize
        Bytes of a stored element; another typesize is told.

    Examples
    --------
    >>> from chunkstore.format.choosing import CodecChoice
    >>> describe(CodecChoice("zstd", 1, "bit", 3), 1), describe(CodecChoice("raw", 0, "none", 1), 1)
    ('zstd-1 bit by 3', 'raw')
    """
    if choice.codec == "raw":
        return "raw"
    if choice.codec == "gzip":
        return f"gzip-{choice.level}"
    by = "" if choice.typesize == itemsize else f" by {choice.typesize}"
    return f"{choice.codec}-{choice.level} {choice.shuffle}{by}"


def mega(nbytes_per_second: float) -> str:
    """Return a speed for people: millions of bytes a second.

    Examples
    --------
    >>> mega(1234.5e6)
    '1,234 MB/s'
    """
    return f"{nbytes_per_second / 1e6:,.0f} MB/s"
