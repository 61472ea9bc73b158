"""How do peers without a loader of their own deliver shuffled batches?

With the block shuffle that loaders on top of them use: permute the blocks, decode as many as the
memory holds into one buffer, permute the samples in it, take batches. The next buffer is filled by
threads while this one is consumed.
"""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from benchmarks.peers.record import Task


class BlockShuffle:
    """Shuffled batches out of blocks.

    Parameters
    ----------
    task
        What to load.
    read_block
        Called with a block's number and, for each array, where its samples go, shape
        ``(count, *sample_shape)``. Called by several threads at once.
    threads
        That read.
    """

    def __init__(
        self,
        task: Task,
        read_block: Callable[[int, tuple[NDArray[Any], ...]], None],
        *,
        threads: int,
    ) -> None:
        self._task = task
        self._read_block = read_block
        self._pool = concurrent.futures.ThreadPoolExecutor(threads)
        length = task.block_samples
        self._num_blocks = -(-task.samples // length)
        forms = [(np.dtype(dtype), shape) for dtype, shape in task.arrays.values()]
        self._window = window_blocks(task)
        # Two windows: one is filled while the other is consumed.
        self._buffers = [
            tuple(np.empty((self._window * length, *shape), dtype) for dtype, shape in forms)
            for _ in range(2)
        ]

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch."""
        rng = np.random.default_rng([self._task.seed, number])
        order = rng.permutation(self._num_blocks).tolist()
        windows = [order[i : i + self._window] for i in range(0, len(order), self._window)]
        filled = self._fill(windows[0], self._buffers[0])
        # Samples that did not fill a batch wait for the next window.
        rest: tuple[NDArray[Any], ...] | None = None
        size = self._task.batch_size
        for place in range(len(windows)):
            buffers = self._buffers[place % 2]
            count = sum(part.result() for part in filled)
            if place + 1 < len(windows):
                filled = self._fill(windows[place + 1], self._buffers[(place + 1) % 2])
            samples = rng.permutation(count)
            start = 0
            if rest is not None:
                start = min(size - len(rest[0]), count)
                taken = [buffer[samples[:start]] for buffer in buffers]
                rest = tuple(np.concatenate(pair) for pair in zip(rest, taken, strict=True))
                if len(rest[0]) < size:
                    continue
                yield rest
                rest = None
            for stop in range(start + size, count + 1, size):
                yield tuple(buffer[samples[start:stop]] for buffer in buffers)
                start = stop
            if start < count:
                rest = tuple(buffer[samples[start:]] for buffer in buffers)
        if rest is not None:
            yield rest

    def _fill(
        self, blocks: list[int], buffers: tuple[NDArray[Any], ...]
    ) -> list[concurrent.futures.Future[int]]:
        filled = []
        start = 0
        for block in blocks:
            count = block_length(self._task, block)
            parts = tuple(buffer[start : start + count] for buffer in buffers)
            filled.append(self._pool.submit(self._read, block, parts))
            start += count
        return filled

    def _read(self, block: int, parts: tuple[NDArray[Any], ...]) -> int:
        self._read_block(block, parts)
        return len(parts[0])

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)


def block_length(task: Task, block: int) -> int:
    """Return the samples of a block; the last one may be shorter."""
    return min(task.block_samples, task.samples - block * task.block_samples)


def window_blocks(task: Task) -> int:
    """Return how many blocks a window holds, two of which fit in the task's memory."""
    sample_nbytes = sum(
        np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in task.arrays.values()
    )
    return max(1, task.memory // (2 * sample_nbytes * task.block_samples))
