"""LitData: chunks of serialised samples, compressed by zstd, streamed by worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import TYPE_CHECKING, Any

from benchmarks.peers.record import Peer
from benchmarks.peers.records import SampleRecords

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from benchmarks.peers.record import Task

PEERS = (
    Peer(
        name="LitData",
        module="benchmarks.peers.litdata_stream",
        packages=("litdata==0.2.76", "torch==2.13.0", "numpy==2.4.6"),
        environment="litdata",
        is_required=False,
        is_mapped=False,
        shuffle="chunks, then the samples inside a chunk",
        settings={"chunk_bytes": 16 << 20},
        worker_processes=2,
    ),
)


def import_packages() -> None:
    """Import what reading needs."""
    import litdata  # noqa: F401


def write(arrays: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Store the samples as bytes, uncompressed as its documentation advises for local disks."""
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(task.folder, chunk_bytes=task.settings["chunk_bytes"])
    for index in range(task.samples):
        writer[index] = b"".join(array[index].tobytes() for array in arrays.values())
    writer.done()
    writer.merge()


class Reader:
    """See `benchmarks.peers.record.Reader`."""

    def __init__(self, task: Task) -> None:
        # Local chunks are read where they are.
        os.environ.setdefault("DATA_OPTIMIZER_CACHE_FOLDER", f"{task.folder}/cache")
        import litdata

        records = SampleRecords(task)

        def collate(samples: list[bytes]) -> tuple[Any, ...]:
            import torch

            return tuple(torch.from_numpy(array) for array in records.stack(samples))

        data_set = litdata.StreamingDataset(
            task.folder, shuffle=True, seed=task.seed, drop_last=False
        )
        self._loader = litdata.StreamingDataLoader(
            data_set,
            batch_size=task.batch_size,
            num_workers=task.threads,
            collate_fn=collate,
            persistent_workers=True,
            prefetch_factor=4,
        )

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch."""
        del number  # the loader counts
        for batch in self._loader:
            yield tuple(tensor.numpy() for tensor in batch)

    def close(self) -> None:
        """End the worker processes.

        Asked to end, they are waited for until a limit of five seconds each.
        """
        handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join()
        self._loader = None
        signal.signal(signal.SIGCHLD, handler)
