"""numpy.memmap over npy files: sample by sample at random, and in block-shuffled windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers.blocks import BlockShuffle
from benchmarks.peers.record import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from benchmarks.peers.record import Task

_MODULE = "benchmarks.peers.memory_map"


def _peer(name: str, shuffle: str, *, blocks: bool) -> Peer:
    return Peer(
        name=name,
        module=_MODULE,
        packages=("numpy==2.4.6",),
        environment="bench",
        is_required=True,
        is_mapped=True,
        shuffle=shuffle,
        settings={"blocks": blocks},
    )


PEERS = (
    _peer("memmap, random", "all samples", blocks=False),
    _peer("memmap, block-shuffled", "a window of blocks, sample by sample", blocks=True),
)


def import_packages() -> None:
    """Import nothing more."""


def _path(task: Task, name: str) -> str:
    return f"{task.folder}/{name}.npy"


def write(arrays: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Store each array as it is."""
    for name, array in arrays.items():
        np.save(_path(task, name), array)


class Reader:
    """See `benchmarks.peers.record.Reader`."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._arrays = [np.load(_path(task, name), mmap_mode="r") for name in task.arrays]
        self._shuffle = None
        if task.settings["blocks"]:
            self._shuffle = BlockShuffle(task, self._read_block, threads=task.threads)

    def _read_block(self, block: int, parts: tuple[NDArray[Any], ...]) -> None:
        start = block * self._task.block_samples
        for array, part in zip(self._arrays, parts, strict=True):
            part[...] = array[start : start + len(part)]

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch."""
        return self._random(number) if self._shuffle is None else self._shuffle.epoch(number)

    def _random(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        task = self._task
        order = np.random.default_rng([task.seed, number]).permutation(task.samples)
        for start in range(0, task.samples, task.batch_size):
            # Sorted inside a batch: neighbours in the file are read in one go.
            samples = np.sort(order[start : start + task.batch_size])
            yield tuple(np.asarray(array[samples]) for array in self._arrays)

    def close(self) -> None:
        """End the threads, give up the maps."""
        if self._shuffle is not None:
            self._shuffle.close()
        self._arrays = []
