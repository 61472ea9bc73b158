"""Blosc2 NDArray in a contiguous file, in block-shuffled windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers.blocks import BlockShuffle
from benchmarks.peers.record import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from benchmarks.peers.record import Task

PEERS = (
    Peer(
        name="blosc2 NDArray",
        module="benchmarks.peers.blosc2_array",
        packages=("blosc2==4.14.1",),
        environment="bench",
        is_required=True,
        is_mapped=False,
        shuffle="a window of blocks, sample by sample",
        settings={"clevel": 1},
    ),
)


def import_packages() -> None:
    """Import what reading needs."""
    import blosc2  # noqa: F401


def _path(task: Task, name: str) -> str:
    return f"{task.folder}/{name}.b2nd"


def write(arrays: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Store each array in chunks as long as our widest array's; Blosc2 chooses their blocks."""
    import blosc2

    for name, array in arrays.items():
        length = min(task.block_samples, len(array))
        stored = blosc2.empty(
            array.shape,
            array.dtype,
            chunks=(length, *array.shape[1:]),
            urlpath=_path(task, name),
            contiguous=True,
            mode="w",
            cparams={
                "codec": blosc2.Codec.ZSTD,
                "clevel": task.settings["clevel"],
                "filters": [blosc2.Filter.SHUFFLE],
            },
        )
        for start in range(0, len(array), length):
            stored[start : start + length] = array[start : start + length]


class Reader:
    """See `benchmarks.peers.record.Reader`."""

    def __init__(self, task: Task) -> None:
        import blosc2

        # Its threads share a chunk's blocks; a second reader would only wait for them.
        blosc2.set_nthreads(task.threads)
        self._arrays = [
            blosc2.open(_path(task, name), mode="r", mmap_mode="r") for name in task.arrays
        ]
        self._length = task.block_samples
        self._shuffle = BlockShuffle(task, self._read_block, threads=1)

    def _read_block(self, block: int, parts: tuple[NDArray[Any], ...]) -> None:
        start = block * self._length
        for array, part in zip(self._arrays, parts, strict=True):
            part[...] = array[start : start + len(part)]

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch."""
        return self._shuffle.epoch(number)

    def close(self) -> None:
        """End the thread, give up the maps."""
        self._shuffle.close()
        self._arrays = []
