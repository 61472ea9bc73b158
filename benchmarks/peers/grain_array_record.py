"""Grain over ArrayRecord: records of one sample each, in an order shuffled sample by sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers.record import Peer
from benchmarks.peers.records import SampleRecords

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from benchmarks.peers.record import Task

PEERS = (
    Peer(
        name="Grain + ArrayRecord",
        module="benchmarks.peers.grain_array_record",
        packages=("grain==0.2.18", "array-record==0.8.6", "numpy==2.4.6"),
        environment="grain",
        is_required=False,
        is_mapped=False,
        shuffle="all samples",
        # A group of one for random access, as its documentation says; zstd is its default codec.
        settings={"options": "group_size:1", "read_threads": 16},
    ),
)


def import_packages() -> None:
    """Import what reading needs."""
    import grain  # noqa: F401


def _path(task: Task) -> str:
    return f"{task.folder}/data.array_record"


def write(arrays: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Store one record for each sample."""
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(_path(task), task.settings["options"])
    for index in range(task.samples):
        writer.write(b"".join(array[index].tobytes() for array in arrays.values()))
    writer.close()


class Reader:
    """See `benchmarks.peers.record.Reader`."""

    def __init__(self, task: Task) -> None:
        import grain

        self._grain = grain
        self._source = grain.sources.ArrayRecordDataSource(_path(task))
        self._records = SampleRecords(task)
        self._task = task

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch."""
        grain, task = self._grain, self._task
        options = grain.ReadOptions(
            num_threads=task.settings["read_threads"], prefetch_buffer_size=8 * task.batch_size
        )
        return iter(
            grain.MapDataset.source(self._source)
            .shuffle(seed=(task.seed << 16) + number)
            .to_iter_dataset(options)
            .batch(task.batch_size, batch_fn=self._records.stack)
        )

    def close(self) -> None:
        """Close the file."""
        self._source.__exit__(None, None, None)
