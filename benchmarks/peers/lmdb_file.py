"""LMDB: one record for each sample, fetched in an order shuffled sample by sample."""

from __future__ import annotations

import struct
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
        name="LMDB",
        module="benchmarks.peers.lmdb_file",
        packages=("lmdb==3.0.0",),
        environment="bench",
        is_required=True,
        is_mapped=True,
        shuffle="all samples",
    ),
)
_KEY = struct.Struct(">q")
_COMMIT_SAMPLES = 4096


def import_packages() -> None:
    """Import what reading needs."""
    import lmdb  # noqa: F401


def _path(task: Task) -> str:
    return f"{task.folder}/data.lmdb"


def write(arrays: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Store each sample under its number, in the order of the keys, as LMDB writes fastest."""
    import lmdb

    nbytes = sum(array.nbytes for array in arrays.values())
    environment = lmdb.open(
        _path(task), map_size=4 * nbytes + (64 << 20), subdir=False, writemap=True, sync=False
    )
    for start in range(0, task.samples, _COMMIT_SAMPLES):
        stop = min(start + _COMMIT_SAMPLES, task.samples)
        with environment.begin(write=True) as transaction:
            for index in range(start, stop):
                record = b"".join(array[index].tobytes() for array in arrays.values())
                transaction.put(_KEY.pack(index), record, append=True)
    environment.sync(True)
    environment.close()
    Path(f"{_path(task)}-lock").unlink(missing_ok=True)


class Reader:
    """See `benchmarks.peers.record.Reader`."""

    def __init__(self, task: Task) -> None:
        import lmdb

        # For random access: nothing is read ahead. Buffers instead of copies.
        self._environment = lmdb.open(
            _path(task), subdir=False, readonly=True, lock=False, readahead=False, meminit=False
        )
        self._transaction = self._environment.begin(buffers=True)
        self._records = SampleRecords(task)
        self._task = task

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch."""
        task = self._task
        order = np.random.default_rng([task.seed, number]).permutation(task.samples)
        get, pack = self._transaction.get, _KEY.pack
        for start in range(0, task.samples, task.batch_size):
            indices = order[start : start + task.batch_size].tolist()
            yield self._records.stack([get(pack(index)) for index in indices])

    def close(self) -> None:
        """Close the file."""
        self._transaction.abort()
        self._environment.close()
