"""TensorStore on our very file, in block-shuffled windows."""

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
        name="TensorStore (our file)",
        module="benchmarks.peers.tensorstore_file",
        packages=("tensorstore==0.1.86",),
        environment="bench",
        is_required=True,
        is_mapped=False,
        shuffle="a window of blocks, sample by sample",
    ),
)


def import_packages() -> None:
    """Import what reading needs."""
    import tensorstore  # noqa: F401


def write(arrays: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Write nothing: our file is read."""
    del arrays, task


class Reader:
    """See `benchmarks.peers.record.Reader`."""

    def __init__(self, task: Task) -> None:
        import tensorstore as ts

        self._ts = ts
        # Its own threads decode, one a processor. No cache: each chunk is read once.
        context = ts.Context(
            {
                "cache_pool": {"total_bytes_limit": 0},
                "data_copy_concurrency": {"limit": task.threads},
                "file_io_concurrency": {"limit": 2 * task.threads},
            }
        )
        self._arrays = [
            ts.open(
                {
                    "driver": "zarr3",
                    "kvstore": {
                        "driver": "zip",
                        "base": {"driver": "file", "path": task.store},
                        "path": f"{name}/",
                    },
                },
                context=context,
                open=True,
                read=True,
            ).result()
            for name in task.arrays
        ]
        self._length = task.block_samples
        # These only wait for TensorStore's own threads.
        self._shuffle = BlockShuffle(task, self._read_block, threads=2 * task.threads)

    def _read_block(self, block: int, parts: tuple[NDArray[Any], ...]) -> None:
        start = block * self._length
        writes = [
            self._ts.array(part).write(array[start : start + len(part)])
            for array, part in zip(self._arrays, parts, strict=True)
        ]
        for write in writes:
            write.result()

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch."""
        return self._shuffle.epoch(number)

    def close(self) -> None:
        """End the threads."""
        self._shuffle.close()
