"""torch's DataLoader over npy files: worker processes take the samples of a batch at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers.record import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.peers.record import Task

PEERS = (
    Peer(
        name="torch DataLoader over npy",
        module="benchmarks.peers.torch_loader",
        # An exact version: the newest one without it pulls gigabytes of graphics card libraries.
        packages=("torch==2.13.0", "numpy==2.4.6"),
        environment="torch",
        is_required=False,
        is_mapped=True,
        shuffle="all samples",
        worker_processes=2,
    ),
)


def import_packages() -> None:
    """Import what reading needs."""
    import torch.utils.data  # noqa: F401


def _path(task: Task, name: str) -> str:
    return f"{task.folder}/{name}.npy"


def write(arrays: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Store each array as it is."""
    for name, array in arrays.items():
        np.save(_path(task, name), array)


class _Samples:
    """A map-style dataset that fetches a whole batch at once."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._arrays = [np.load(_path(task, name), mmap_mode="r") for name in task.arrays]

    def __len__(self) -> int:
        return self._task.samples

    def __getitems__(self, indices: Sequence[int]) -> tuple[NDArray[Any], ...]:
        # Sorted: neighbours in the file are read in one go.
        samples = np.sort(np.asarray(indices))
        return tuple(np.asarray(array[samples]) for array in self._arrays)


def to_tensors(batch: tuple[NDArray[Any], ...]) -> tuple[Any, ...]:
    """Return tensors, which travel from the workers through shared memory."""
    import torch

    return tuple(torch.from_numpy(array) for array in batch)


class Reader:
    """See `benchmarks.peers.record.Reader`."""

    def __init__(self, task: Task) -> None:
        import torch

        generator = torch.Generator()
        generator.manual_seed(task.seed)
        self._loader = torch.utils.data.DataLoader(
            _Samples(task),
            batch_size=task.batch_size,
            shuffle=True,
            num_workers=task.threads,
            collate_fn=to_tensors,
            persistent_workers=True,
            prefetch_factor=4,
            generator=generator,
        )

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch."""
        del number  # the generator goes on
        for batch in self._loader:
            yield tuple(tensor.numpy() for tensor in batch)

    def close(self) -> None:
        """End the worker processes."""
        self._loader = None
