"""MosaicML Streaming: MDS shards of samples, streamed by worker processes."""

from __future__ import annotations

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
        name="MosaicML Streaming",
        module="benchmarks.peers.mosaic_streaming",
        packages=("mosaicml-streaming==0.13.0", "torch==2.13.0"),
        environment="mosaic",
        is_required=False,
        is_mapped=False,
        shuffle="py1e: each sample moves by up to half the shuffle block",
        settings={"size_limit": 16 << 20},
        worker_processes=2,
    ),
)
_OPERATORS = tuple(
    f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")
)
# An operator lives as long as its library.
_LIBRARIES: list[Any] = []


def import_packages() -> None:
    """Import what reading needs.

    Streaming imports torchvision, whose wheel is built for graphics cards. Without their libraries
    its import fails at operators that Streaming never calls; declared, they are not missed.
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for declaration in _OPERATORS:
            library.define(declaration)
        _LIBRARIES.append(library)
    import streaming  # noqa: F401


def write(arrays: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Store the samples as bytes, uncompressed as its documentation advises for local disks."""
    import_packages()
    from streaming import MDSWriter

    with MDSWriter(
        out=task.folder, columns={"record": "bytes"}, size_limit=task.settings["size_limit"]
    ) as writer:
        for index in range(task.samples):
            record = b"".join(array[index].tobytes() for array in arrays.values())
            writer.write({"record": record})


class Reader:
    """See `benchmarks.peers.record.Reader`."""

    def __init__(self, task: Task) -> None:
        import_packages()
        import torch
        from streaming import StreamingDataset
        from streaming.base.util import clean_stale_shared_memory

        clean_stale_shared_memory()
        records = SampleRecords(task)

        def collate(samples: list[dict[str, bytes]]) -> tuple[Any, ...]:
            batch = records.stack([sample["record"] for sample in samples])
            return tuple(torch.from_numpy(array) for array in batch)

        data_set = StreamingDataset(
            local=task.folder,
            shuffle=True,
            shuffle_algo="py1e",
            shuffle_block_size=max(task.batch_size, task.memory // records.nbytes),
            shuffle_seed=task.seed,
            num_canonical_nodes=1,
            batch_size=task.batch_size,
        )
        self._loader = torch.utils.data.DataLoader(
            data_set,
            batch_size=task.batch_size,
            num_workers=task.threads,
            collate_fn=collate,
            persistent_workers=True,
            prefetch_factor=4,
        )

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch."""
        del number  # the dataset counts
        for batch in self._loader:
            yield tuple(np.asarray(tensor.numpy()) for tensor in batch)

    def close(self) -> None:
        """End the worker processes."""
        self._loader = None
