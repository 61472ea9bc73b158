"""How small and how fast is one way to encode a person's data?"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.container.checksum import crc32
from chunkstore.format.codecs import default_codecs
from chunkstore.pipeline.scatter import row_view, scatter_into
from chunkstore.tuning.results import CodecSpeed, Spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from chunkstore.format.chain import CodecChain
    from chunkstore.format.choosing import CodecChoice
    from chunkstore.tuning.crew import Crew
    from chunkstore.tuning.sampling import DataSample

# Measured so long at least, each time: far more than threads take to start.
_LEAST_ENCODE_SECONDS: Final = 0.02
_LEAST_DECODE_SECONDS: Final = 0.03
# Memory that decoded samples are moved to: more than processors cache, unless chunks or samples are
# so small that planning the places would take longer than measuring.
_WINDOW_NBYTES: Final = 64 << 20
_MOST_SLOTS: Final = 256
_MOST_PLACES: Final = 1 << 20
_MOST_TIMES: Final = 16


@dataclass
class CodecRecord:
    """What is known so far of one way to encode.

    Attributes
    ----------
    choice
        The way.
    encode, decode
        Decoded bytes a second, measurement by measurement.
    ratios
        By the number of the set of chunks.
    encode_seconds
        That encoding one set took.
    chain, chunks, frames
        Of the last set.
    """

    choice: CodecChoice
    encode: list[float] = field(default_factory=list)
    decode: list[float] = field(default_factory=list)
    ratios: dict[int, float] = field(default_factory=dict)
    encode_seconds: float = 0.0
    chain: CodecChain | None = None
    chunks: list[NDArray[Any]] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)

    def speed(self, base: CodecRecord | None = None) -> CodecSpeed:
        """Return it as a result.

        Parameters
        ----------
        base
            A way that was measured on all sets: the ratio of one that was measured on fewer is
            brought to all of them by what these are worth with the base.
        """
        ratio = _mean_ratio(self.ratios.values())
        if base is not None:
            alike = [base.ratios[number] for number in self.ratios if number in base.ratios]
            if alike:
                ratio *= _mean_ratio(base.ratios.values()) / _mean_ratio(alike)
        return CodecSpeed(
            self.choice, ratio, Spread(tuple(self.encode)), Spread(tuple(self.decode))
        )


class CodecMeter:
    """Measures ways to encode one sample of data.

    Parameters
    ----------
    sample
        The data.
    chunk_nbytes
        Decoded bytes of a chunk.
    crew
        The threads.
    memory
        From `decoding_memory`, shared by meters that take turns.
    """

    def __init__(
        self,
        sample: DataSample,
        *,
        chunk_nbytes: int,
        crew: Crew,
        memory: NDArray[np.uint8],
    ) -> None:
        self._crew = crew
        self._dtype = sample.stored_dtype
        self._chunks = sample.chunks(chunk_nbytes)
        # Chunks of one measurement: two for each thread, from all over the data.
        self._step = min(len(self._chunks), max(4, 2 * crew.threads))
        longest = max(len(chunk) for chunk in self._chunks)
        shape = sample.stored_sample_shape
        self._scratch = [np.ones((longest, *shape), self._dtype) for _ in range(crew.threads)]
        largest = self._scratch[0].nbytes
        slots = min(memory.nbytes // largest, _MOST_SLOTS, _MOST_PLACES // longest)
        if slots <= crew.threads:
            slots = crew.threads + 1
            memory = np.ones(max(memory.nbytes, slots * largest), np.uint8)
        window = memory[: slots * largest].view(self._dtype)
        self._window = window.reshape(slots * longest, *shape)
        places = np.random.default_rng(0).permutation(len(self._window)).astype(np.int64)
        # Each chunk goes to the next slot: places all over the window, no two threads at the same.
        self._places = places.reshape(slots, longest)
        self._slots = itertools.cycle(range(slots))

    @property
    def num_rounds(self) -> int:
        """Rounds until every chunk was measured."""
        return math.ceil(len(self._chunks) / self._step)

    def round_chunks(self, number: int) -> list[NDArray[Any]]:
        """Return the chunks of a round: each n-th, so that they come from all over the data."""
        count = self.num_rounds
        chosen = self._chunks[number % count :: count]
        return chosen[: self._step]

    def measure(self, record: CodecRecord, number: int) -> None:
        """Encode and decode the chunks of a round, and check that the first comes back.

        Parameters
        ----------
        record
            Of the way to encode; takes what was measured.
        number
            Of the round.

        Raises
        ------
        RuntimeError
            It does not.
        """
        chunks = self.round_chunks(number)
        chain = default_codecs(self._dtype, **record.choice.options)
        frames: list[bytes] = [b""] * len(chunks)

        def encode(thread: int, place: int) -> None:
            frame = chain.encode(chunks[place])
            crc32(frame)
            frames[place] = frame

        nbytes = sum(chunk.nbytes for chunk in chunks)
        done, seconds = self._crew.time(encode, len(chunks), least_seconds=_LEAST_ENCODE_SECONDS)
        record.encode.append(done * nbytes / len(chunks) / seconds)
        record.encode_seconds = seconds
        record.ratios[number % self.num_rounds] = nbytes / sum(map(len, frames))
        record.chain, record.chunks, record.frames = chain, chunks, frames
        record.decode.append(self.decode_rate(chain, frames, chunks))

    def decode_again(self, record: CodecRecord) -> None:
        """Measure once more how fast what was encoded last is decoded."""
        if record.chain is not None:
            rate = self.decode_rate(record.chain, record.frames, record.chunks)
            record.decode.append(rate)

    def decode_rate(
        self, chain: CodecChain, frames: Sequence[bytes], chunks: Sequence[NDArray[Any]]
    ) -> float:
        """Return the decoded bytes a second of what a loader does with chunks in memory."""
        rows = row_view(self._window)

        def decode(thread: int, number: int) -> None:
            count = len(chunks[number])
            scratch = self._scratch[thread][:count]
            crc32(frames[number])
            chain.decode_into(frames[number], scratch)
            dest = self._places[next(self._slots)][:count]
            scatter_into(row_view(scratch), np.arange(count), dest, rows)

        first = self._scratch[0][: len(chunks[0])]
        chain.decode_into(frames[0], first)
        if first.tobytes() != np.ascontiguousarray(chunks[0]).tobytes():
            raise RuntimeError(f"{chain} does not give back what it was given")
        mean_nbytes = sum(chunk.nbytes for chunk in chunks) / len(chunks)
        done, seconds = self._crew.time(decode, len(chunks), least_seconds=_LEAST_DECODE_SECONDS)
        return done * mean_nbytes / seconds


def decoding_memory(sample: DataSample) -> NDArray[np.uint8]:
    """Return memory for decoded samples whose pages are there: the first touch of one is slow."""
    return np.ones(min(_WINDOW_NBYTES, _MOST_TIMES * sample.taken_nbytes), np.uint8)


def _mean_ratio(ratios: Iterable[float]) -> float:
    """Return the ratio of several sets of equal size together."""
    values = list(ratios)
    return len(values) / sum(1 / ratio for ratio in values)
