"""WebDataset: tar files with one record for each sample, read in sequence by worker processes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers.record import Peer
from benchmarks.peers.records import SampleRecords

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from benchmarks.peers.record import Task

PEERS = (
    Peer(
        name="WebDataset",
        module="benchmarks.peers.webdataset_tar",
        packages=("webdataset==1.0.2", "torch==2.13.0", "numpy==2.4.6"),
        environment="webdataset",
        is_required=False,
        is_mapped=False,
        shuffle="tar files, and a buffer of samples in each worker",
        settings={"shards": 16},
        worker_processes=2,
    ),
)


def import_packages() -> None:
    """Import what reading needs."""
    import webdataset  # noqa: F401


def write(arrays: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Store the samples in tar files of equal size."""
    import webdataset as wds

    bounds = np.linspace(0, task.samples, task.settings["shards"] + 1).astype(int).tolist()
    for shard, (start, stop) in enumerate(itertools.pairwise(bounds)):
        with wds.TarWriter(f"{task.folder}/{shard:04d}.tar") as sink:
            for index in range(start, stop):
                record = b"".join(array[index].tobytes() for array in arrays.values())
                sink.write({"__key__": f"{index:09d}", "bin": record})


class Reader:
    """See `benchmarks.peers.record.Reader`."""

    def __init__(self, task: Task) -> None:
        import webdataset as wds

        files = [str(path) for path in sorted(Path(task.folder).glob("*.tar"))]
        records = SampleRecords(task)
        # The workers share the memory for shuffling.
        buffer = max(task.batch_size, task.memory // (records.nbytes * task.threads))

        def collate(samples: list[tuple[bytes]]) -> tuple[Any, ...]:
            import torch

            batch = records.stack([sample[0] for sample in samples])
            return tuple(torch.from_numpy(array) for array in batch)

        self._data_set = (
            wds.WebDataset(
                files,
                shardshuffle=len(files),
                nodesplitter=wds.split_by_node,
                workersplitter=wds.split_by_worker,
                seed=task.seed,
            )
            .shuffle(buffer)
            .to_tuple("bin")
            .batched(task.batch_size, collation_fn=collate)
        )
        self._loader = wds.WebLoader(
            self._data_set,
            batch_size=None,
            num_workers=task.threads,
            persistent_workers=True,
            prefetch_factor=4,
        )

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch."""
        del number  # the shuffle goes on
        for batch in self._loader:
            yield tuple(tensor.numpy() for tensor in batch)

    def close(self) -> None:
        """End the worker processes."""
        self._loader = None
