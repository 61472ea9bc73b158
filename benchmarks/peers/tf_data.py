"""tf.data over TFRecord files."""

from __future__ import annotations

import itertools
import os
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
        name="tf.data + TFRecord",
        module="benchmarks.peers.tf_data",
        packages=("tensorflow-cpu==2.21.0",),
        environment="tensorflow",
        is_required=False,
        is_mapped=False,
        shuffle="files, interleaved, and a buffer of samples",
        settings={"files": 16},
    ),
)


def import_packages() -> None:
    """Import what reading needs."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow  # noqa: F401


def write(arrays: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Store the samples as bytes in files of equal size."""
    import tensorflow as tf

    bounds = np.linspace(0, task.samples, task.settings["files"] + 1).astype(int).tolist()
    for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
        with tf.io.TFRecordWriter(f"{task.folder}/{number:04d}.tfrecord") as writer:
            for index in range(start, stop):
                writer.write(b"".join(array[index].tobytes() for array in arrays.values()))


class Reader:
    """See `benchmarks.peers.record.Reader`."""

    def __init__(self, task: Task) -> None:
        import tensorflow as tf

        files = [str(path) for path in sorted(Path(task.folder).glob("*.tfrecord"))]
        records = SampleRecords(task)
        fields = records.fields

        def decode(batch: Any) -> tuple[Any, ...]:
            # batch: (batch_size,) of strings
            parts = []
            for start, stop, dtype, shape in fields:
                values = tf.io.decode_raw(tf.strings.substr(batch, start, stop - start), dtype)
                parts.append(tf.reshape(values, (-1, *shape)))
            return tuple(parts)

        self._data_set = (
            tf.data.Dataset.from_tensor_slices(files)
            .shuffle(len(files), seed=task.seed)
            .interleave(
                tf.data.TFRecordDataset,
                cycle_length=8,
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=False,
            )
            .shuffle(max(task.batch_size, task.memory // records.nbytes), seed=task.seed)
            .batch(task.batch_size, num_parallel_calls=tf.data.AUTOTUNE)
            .map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
            .prefetch(tf.data.AUTOTUNE)
        )

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch."""
        del number  # each iteration shuffles anew
        return self._data_set.as_numpy_iterator()

    def close(self) -> None:
        """Give back the dataset."""
        self._data_set = None
