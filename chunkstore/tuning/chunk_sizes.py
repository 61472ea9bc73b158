"""What do smaller and larger chunks give?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chunkstore.settings import DEFAULT_CHUNK_NBYTES
from chunkstore.tuning.measuring import CodecMeter, CodecRecord
from chunkstore.tuning.results import ChunkSpeed, Spread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chunkstore.format.choosing import CodecChoice
    from chunkstore.tuning.crew import Crew, Deadline
    from chunkstore.tuning.disk import ScratchFile
    from chunkstore.tuning.recommending import Medium
    from chunkstore.tuning.sampling import DataSample

# Decoded bytes of the chunks that are compared.
CHUNK_NBYTES: Final = (DEFAULT_CHUNK_NBYTES // 4, DEFAULT_CHUNK_NBYTES, 4 * DEFAULT_CHUNK_NBYTES)
_ROUNDS: Final = 3


def measure_chunks(
    sample: DataSample,
    choice: CodecChoice,
    disk_file: ScratchFile,
    medium: Medium,
    *,
    crew: Crew,
    readers: Crew,
    memory: NDArray[np.uint8],
    deadline: Deadline,
) -> list[ChunkSpeed]:
    """Return what chunks of each size give with one codec, measured in turns.

    Parameters
    ----------
    sample
        The data.
    choice
        How they are encoded.
    disk_file, medium
        The disk, which is read in pieces of such chunks where training will read from it.
    crew, readers
        Threads that encode and decode, and those that read.
    memory
        See `CodecMeter`.
    deadline
        Behind the first round, ends the rounds.
    """
    # Sizes that give chunks of equal length are one: the usual one, if it is among them.
    ordered = sorted(CHUNK_NBYTES, key=lambda nbytes: nbytes == DEFAULT_CHUNK_NBYTES)
    lengths = {sample.chunk_length(nbytes): nbytes for nbytes in ordered}
    sizes = sorted(
        nbytes for length, nbytes in lengths.items() if len(sample.chunks(nbytes)[0]) == length
    )
    if sample.sample_nbytes >= CHUNK_NBYTES[-1]:
        # Whatever the size aimed at, a chunk is one sample.
        return []
    meters = {
        nbytes: CodecMeter(sample, chunk_nbytes=nbytes, crew=crew, memory=memory)
        for nbytes in sizes
    }
    records = {nbytes: CodecRecord(choice) for nbytes in sizes}
    disks: dict[int, list[float]] = {nbytes: [] for nbytes in sizes}
    way = disk_file.best_way
    for number in range(_ROUNDS):
        if number and deadline.is_over:
            break
        for nbytes in sizes if number % 2 else reversed(sizes):
            meters[nbytes].measure(records[nbytes], number)
            ratio = records[nbytes].speed().ratio
            # The first round decides: each round has a number of its own, or none has.
            is_read = len(disks[nbytes]) == number and (number > 0 or not medium.holds(ratio))
            if way is not None and is_read:
                disks[nbytes].append(disk_file.read_rate(way, int(nbytes / ratio), readers))
    return [
        ChunkSpeed(
            nbytes,
            record.speed().ratio,
            record.speed().decode,
            Spread(tuple(disks[nbytes])) if disks[nbytes] else None,
        )
        for nbytes, record in records.items()
    ]
