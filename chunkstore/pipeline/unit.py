"""How does a thread bring the samples of one unit into a block?"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore import system
from chunkstore.pipeline.scatter import row_view, scatter_into

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chunkstore.pipeline.cache import ChunkCache
    from chunkstore.pipeline.layout import LoadedArray, SampleLayout
    from chunkstore.pipeline.pool import BlockPool
    from chunkstore.pipeline.source import ChunkReader
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
    """

    __slots__ = ("arrays", "num_samples", "rows")

    def __init__(self, layout: SampleLayout, pools: Sequence[BlockPool], num_samples: int) -> None:
        self.num_samples = num_samples
        self.arrays: list[NDArray[Any]] = []
        self.rows: list[NDArray[Any]] = []
        for array, pool in zip(layout.arrays, pools, strict=False):
            values = pool.lease_array((num_samples, *array.sample_shape), array.dtype)
            self.arrays.append(values)
            self.rows.append(row_view(values) if array.is_moved else values)
        if layout.has_index:
            self.arrays.append(pools[-1].lease_array((num_samples,), np.dtype(np.int64)))


class UnitReader:
    """Reads units: fetch, check, decode, scatter. One for each thread.

    Parameters
    ----------
    layout
        What is read.
    cache
        Shared by the threads: decoded chunks of the arrays that are cut differently from the unit.
    direct
        Read past the page cache.

    Attributes
    ----------
    scatter_seconds
        Time spent so far on moving decoded samples.
    num_units
        Units read so far.
    """

    def __init__(self, layout: SampleLayout, cache: ChunkCache, *, direct: bool) -> None:
        self._layout = layout
        self._cache = cache
        self._readers: list[ChunkReader] = []
        self._scratch: list[NDArray[Any]] = []
        self._scratch_rows: list[NDArray[Any]] = []
        self.scatter_seconds = 0.0
        self.num_units = 0
        try:
            for array in layout.arrays:
                self._readers.append(array.source.open_reader(direct=direct))
                self._add_scratch(array)
        except BaseException:
            self.close()
            raise

    @property
    def read_nbytes(self) -> int:
        """Encoded bytes read so far."""
        return sum(reader.read_nbytes for reader in self._readers)

    @property
    def fetch_seconds(self) -> float:
        """Time spent so far on reading bytes."""
        return sum(reader.fetch_seconds for reader in self._readers)

    @property
    def decode_seconds(self) -> float:
        """Time spent so far on checking and decoding."""
        return sum(reader.decode_seconds for reader in self._readers)

    def read_into(self, task: Task, block: BlockArrays, *, is_consecutive: bool) -> None:
        """Bring the samples of a task to their places.

        Parameters
        ----------
        task
            One piece of the block's plan.
        block
            Where the samples go.
        is_consecutive
            Whether the task's ``dest`` counts up by one.
        """
        for i, array in enumerate(self._layout.arrays):
            if array.is_unit:
                self._read_unit_chunk(i, array, task, block, is_consecutive)
            else:
                self._read_covering_chunks(i, array, task, block, is_consecutive)
        if self._layout.has_index:
            first = task.chunk * self._layout.unit_length
            block.arrays[-1][task.dest] = task.samples + first
        self.num_units += 1

    def close(self) -> None:
        """Close the readers; again is allowed."""
        for reader in self._readers:
            reader.close()

    def _add_scratch(self, array: LoadedArray) -> None:
        nbytes = array.chunk_nbytes if array.is_unit else 0
        length = array.source.chunk_length if array.is_unit else 0
        memory = np.frombuffer(system.calls.aligned_buffer(nbytes + 1), np.uint8)[:nbytes]
        scratch = memory.view(array.source.dtype).reshape(length, *array.sample_shape)
        self._scratch.append(scratch)
        self._scratch_rows.append(row_view(scratch) if array.is_moved else scratch)

    def _read_unit_chunk(
        self, i: int, array: LoadedArray, task: Task, block: BlockArrays, is_consecutive: bool
    ) -> None:
        if is_consecutive and array.is_moved:
            start, stop = int(task.dest[0]), int(task.dest[0]) + self._layout.unit_length
            # A whole chunk in file order is decoded where it belongs.
            if len(task.samples) == self._layout.unit_length and stop <= block.num_samples:
                self._readers[i].read_chunk_into(task.chunk, block.arrays[i][start:stop])
                return
        self._readers[i].read_chunk_into(task.chunk, self._scratch[i])
        started = time.perf_counter()
        scatter_into(
            self._scratch_rows[i],
            task.samples,
            task.dest,
            block.rows[i],
            is_consecutive=is_consecutive,
        )
        self.scatter_seconds += time.perf_counter() - started

    def _read_covering_chunks(
        self, i: int, array: LoadedArray, task: Task, block: BlockArrays, is_consecutive: bool
    ) -> None:
        """Take the samples out of every chunk that holds some of them."""
        length = array.source.chunk_length
        numbers = task.samples + task.chunk * self._layout.unit_length
        first, last = int(numbers[0]) // length, int(numbers[-1]) // length
        if first == last:
            self._scatter_covering_chunk(i, array, first, numbers, task.dest, block, is_consecutive)
            return
        bounds = np.searchsorted(numbers, np.arange(first, last + 2) * length).tolist()
        for chunk_index, (start, stop) in enumerate(pairwise(bounds), start=first):
            if start < stop:
                part, dest = numbers[start:stop], task.dest[start:stop]
                self._scatter_covering_chunk(
                    i, array, chunk_index, part, dest, block, is_consecutive
                )

    def _scatter_covering_chunk(
        self,
        i: int,
        array: LoadedArray,
        chunk_index: int,
        numbers: NDArray[np.int64],
        dest: NDArray[np.int64],
        block: BlockArrays,
        is_consecutive: bool,
    ) -> None:
        chunk = self._cache.chunk(
            i,
            chunk_index,
            shape=(array.source.chunk_length, *array.sample_shape),
            dtype=array.source.dtype,
            decode_into=self._readers[i].read_chunk_into,
        )
        started = time.perf_counter()
        scatter_into(
            row_view(chunk) if array.is_moved else chunk,
            numbers - chunk_index * array.source.chunk_length,
            dest,
            block.rows[i],
            is_consecutive=is_consecutive,
        )
        self.scatter_seconds += time.perf_counter() - started
