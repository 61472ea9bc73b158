"""How does a thread bring the samples of one unit into a block?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore import system
from chunkstore.pipeline.casting import check_range, may_overflow
from chunkstore.pipeline.scatter import is_run, place_into, row_view, scatter_into, take_samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chunkstore.pipeline.cache import ChunkCache
    from chunkstore.pipeline.layout import LayoutPart, LoadedArray, SampleLayout
    from chunkstore.pipeline.pool import BlockPool
    from chunkstore.pipeline.source import ChunkReader
    from chunkstore.pipeline.transforming import DrawOrigin
    from chunkstore.plan.epoch import Task


class BlockArrays:
    """The memory of one block, as arrays.

    Parameters
    ----------
    layout
        What the block holds.
    pools
        Memory for each array, and for the sample numbers behind them if the layout has them.
    num_samples
        Samples of the block.

    Attributes
    ----------
    arrays
        For each array, and the sample numbers, shape ``(num_samples, *sample_shape)``.
    rows
        The same as opaque items where decoded chunks are moved as they are, see `row_view`.
    skipped
        Which samples are not there because a chunk is damaged, shape ``(num_samples,)``; None if
        all are.
    """

    __slots__ = ("arrays", "num_samples", "rows", "skipped")

    def __init__(self, layout: SampleLayout, pools: Sequence[BlockPool], num_samples: int) -> None:
        self.num_samples = num_samples
        self.arrays: list[NDArray[Any]] = []
        self.rows: list[NDArray[Any]] = []
        self.skipped: NDArray[np.bool_] | None = None
        for array, pool in zip(layout.arrays, pools, strict=False):
            values = pool.lease_array((num_samples, *array.sample_shape), array.dtype)
            self.arrays.append(values)
            self.rows.append(row_view(values) if array.is_moved else values)
        if layout.has_index:
            self.arrays.append(pools[-1].lease_array((num_samples,), np.dtype(np.int64)))

    def skip(self, places: NDArray[np.int64]) -> None:
        """Mark samples as not there."""
        if self.skipped is None:
            self.skipped = np.zeros(self.num_samples, np.bool_)
        self.skipped[places] = True


class UnitReader:
    """Reads units: fetch, check, decode, transform, scatter. One for each thread.

    Parameters
    ----------
    layout
        What is read. The readers of one part are open at a time.
    cache
        Shared by the threads: decoded chunks of the arrays that are cut differently from the unit.
    direct
        Read past the page cache.

    Attributes
    ----------
    transform_seconds, scatter_seconds
        Time spent so far in transforms, and on moving samples to their places.
    num_units
        Units read so far.
    """

    def __init__(self, layout: SampleLayout, cache: ChunkCache, *, direct: bool) -> None:
        self._layout = layout
        self._cache = cache
        self._direct = direct
        self._part_index = 0
        self._readers: list[ChunkReader] = []
        self._memory: list[memoryview] = []
        self._scratch: list[NDArray[Any]] = []
        self._scratch_rows: list[NDArray[Any]] = []
        # What the readers of parts that are closed by now have done.
        self._read_nbytes = 0
        self._fetch_seconds = 0.0
        self._decode_seconds = 0.0
        self.transform_seconds = 0.0
        self.scatter_seconds = 0.0
        self.num_units = 0
        for i in range(len(layout.arrays)):
            chunks = [part.arrays[i] for part in layout.parts if part.arrays[i].is_unit]
            nbytes = max((array.chunk_nbytes for array in chunks), default=0)
            self._memory.append(system.calls.aligned_buffer(nbytes + 1))
        self._open_part(0)

    @property
    def read_nbytes(self) -> int:
        """Encoded bytes read so far."""
        return self._read_nbytes + sum(reader.read_nbytes for reader in self._readers)

    @property
    def fetch_seconds(self) -> float:
        """Time spent so far on reading bytes."""
        return self._fetch_seconds + sum(reader.fetch_seconds for reader in self._readers)

    @property
    def decode_seconds(self) -> float:
        """Time spent so far on checking and decoding."""
        return self._decode_seconds + sum(reader.decode_seconds for reader in self._readers)

    def read_into(
        self, task: Task, block: BlockArrays, *, origin: DrawOrigin, is_consecutive: bool
    ) -> None:
        """Bring the samples of a task to their places.

        Parameters
        ----------
        task
            One piece of the block's plan.
        block
            Where the samples go.
        origin
            What the random numbers of the block's samples depend on.
        is_consecutive
            Whether the task's ``dest`` counts up by one.
        """
        part_index = self._layout.part_of(task.chunk)
        if part_index != self._part_index:
            self._close_readers()
            self._open_part(part_index)
        part = self._layout.parts[part_index]
        unit = task.chunk - part.first_unit
        piece = _Piece(
            part=part,
            unit=unit,
            samples=task.samples,
            dest=task.dest,
            block=block,
            origin=origin,
            is_consecutive=is_consecutive,
        )
        for i, array in enumerate(part.arrays):
            if array.is_unit:
                self._read_unit_chunk(i, array, piece)
            else:
                self._read_covering_chunks(i, array, piece)
        if self._layout.has_index:
            block.arrays[-1][task.dest] = piece.numbers + part.first_sample
        self.num_units += 1

    def close(self) -> None:
        """Close the readers; again is allowed."""
        for reader in self._readers:
            reader.close()

    def _close_readers(self) -> None:
        self._read_nbytes = self.read_nbytes
        self._fetch_seconds = self.fetch_seconds
        self._decode_seconds = self.decode_seconds
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.close()

    def _open_part(self, part_index: int) -> None:
        self._part_index = part_index
        self._scratch, self._scratch_rows = [], []
        try:
            for i, array in enumerate(self._layout.parts[part_index].arrays):
                self._readers.append(array.source.open_reader(direct=self._direct))
                self._add_scratch(i, array)
        except BaseException:
            self.close()
            raise

    def _add_scratch(self, i: int, array: LoadedArray) -> None:
        shape = array.chunk_shape if array.is_unit else (0, *array.chunk_shape[1:])
        nbytes = array.chunk_nbytes if array.is_unit else 0
        memory = np.frombuffer(self._memory[i], np.uint8)[:nbytes]
        scratch = memory.view(array.source.dtype).reshape(shape)
        self._scratch.append(scratch)
        self._scratch_rows.append(row_view(scratch) if array.is_moved else scratch)

    def _read_unit_chunk(self, i: int, array: LoadedArray, piece: _Piece) -> None:
        block, length = piece.block, piece.part.unit_length
        if piece.is_consecutive and array.is_moved and piece.is_whole_unit:
            start = int(piece.dest[0])
            # A whole chunk in file order is decoded where it belongs.
            if start + length <= block.num_samples:
                self._readers[i].read_chunk_into(
                    piece.unit, block.arrays[i][start : start + length]
                )
                return
        self._readers[i].read_chunk_into(piece.unit, self._scratch[i])
        self._scatter(i, array, self._scratch_rows[i], piece.samples, slice(None), piece)

    def _read_covering_chunks(self, i: int, array: LoadedArray, piece: _Piece) -> None:
        """Take the samples out of every chunk that holds some of them."""
        length = array.source.chunk_length
        numbers = piece.numbers
        first, last = int(numbers[0]) // length, int(numbers[-1]) // length
        bounds = [0, len(numbers)]
        if first != last:
            bounds = np.searchsorted(numbers, np.arange(first, last + 2) * length).tolist()
        for chunk_index, (start, stop) in enumerate(pairwise(bounds), start=first):
            if start < stop:
                chunk = self._cache.chunk(
                    # Parts have chunks of their own.
                    self._part_index * len(self._readers) + i,
                    chunk_index,
                    shape=array.chunk_shape,
                    dtype=array.source.dtype,
                    decode_into=self._readers[i].read_chunk_into,
                )
                rows = row_view(chunk) if array.is_moved else chunk
                within = numbers[start:stop] - chunk_index * length
                self._scatter(i, array, rows, within, slice(start, stop), piece)

    def _scatter(
        self,
        i: int,
        array: LoadedArray,
        chunk: NDArray[Any],
        samples: NDArray[np.int64],
        wanted: slice,
        piece: _Piece,
    ) -> None:
        """Bring ``samples`` of a chunk, the ``wanted`` ones of the piece, to their places."""
        started = time.perf_counter()
        dest, out = piece.dest[wanted], piece.block.rows[i]
        if array.transform is None and not may_overflow(array.source.dtype, array.dtype):
            scatter_into(chunk, samples, dest, out, is_consecutive=piece.is_consecutive)
        else:
            taken = take_samples(chunk, samples)
            numbers = piece.numbers[wanted] + piece.part.first_sample
            if array.transform is not None:
                taken = array.transform(
                    # The function may write to what it is given; a cached chunk is others' too.
                    taken if array.is_unit else taken.copy(),
                    numbers=numbers,
                    positions=dest,
                    origin=piece.origin,
                )
                now = time.perf_counter()
                self.transform_seconds += now - started
                started = now
            if may_overflow(taken.dtype, array.dtype):
                check_range(array.name, taken, array.dtype, numbers)
            place_into(taken, dest, out, is_consecutive=piece.is_consecutive)
        self.scatter_seconds += time.perf_counter() - started


@dataclass(slots=True, kw_only=True)
class _Piece:
    """What is read of one unit, and where it goes."""

    part: LayoutPart
    unit: int
    samples: NDArray[np.int64]
    dest: NDArray[np.int64]
    block: BlockArrays
    origin: DrawOrigin
    is_consecutive: bool

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The samples' places in the part."""
        return self.samples + self.unit * self.part.unit_length

    @property
    def is_whole_unit(self) -> bool:
        """Whether each sample of a unit of full length comes once."""
        length = self.part.unit_length
        return len(self.samples) == length and is_run(self.samples)
