"""h5py: HDF5 with chunks, compressed by Blosc (hdf5plugin) or LZF, in block-shuffled windows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from benchmarks.peers.blocks import BlockShuffle
from benchmarks.peers.record import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from benchmarks.peers.record import Task

_MODULE = "benchmarks.peers.h5py_file"
_SHUFFLE = "a window of blocks, sample by sample"

PEERS = (
    Peer(
        name="h5py + Blosc",
        module=_MODULE,
        packages=("h5py==3.16.0", "hdf5plugin==7.1.0"),
        environment="bench",
        is_required=True,
        is_mapped=False,
        shuffle=_SHUFFLE,
        settings={"filter": "blosc", "cname": "zstd", "clevel": 1},
    ),
    Peer(
        name="h5py + LZF",
        module=_MODULE,
        packages=("h5py==3.16.0",),
        environment="bench",
        is_required=True,
        is_mapped=False,
        shuffle=_SHUFFLE,
        settings={"filter": "lzf"},
    ),
)


def import_packages() -> None:
    """Import what reading needs."""
    import h5py  # noqa: F401
    import hdf5plugin  # noqa: F401


def _path(task: Task) -> str:
    return f"{task.folder}/data.h5"


def write(arrays: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Store the arrays in chunks as long as our widest array's."""
    import h5py
    import hdf5plugin

    with h5py.File(_path(task), "w", libver="latest") as file:
        for name, array in arrays.items():
            if task.settings["filter"] == "lzf":
                options: dict[str, Any] = {"compression": "lzf", "shuffle": array.itemsize > 1}
            else:
                options = dict(
                    hdf5plugin.Blosc(
                        cname=task.settings["cname"],
                        clevel=task.settings["clevel"],
                        shuffle=hdf5plugin.Blosc.SHUFFLE,
                    )
                )
            length = min(task.block_samples, len(array))
            data_set = file.create_dataset(
                name, array.shape, array.dtype, chunks=(length, *array.shape[1:]), **options
            )
            for start in range(0, len(array), length):
                data_set[start : start + length] = array[start : start + length]


class Reader:
    """See `benchmarks.peers.record.Reader`."""

    def __init__(self, task: Task) -> None:
        # The filter decodes a chunk with so many threads; it reads this when it first runs.
        os.environ["BLOSC_NTHREADS"] = str(task.threads)
        import h5py
        import hdf5plugin  # noqa: F401 - registers the filter

        # Whole chunks are read once: a cache of them would only be a copy more.
        self._file = h5py.File(_path(task), "r", rdcc_nbytes=0)
        self._sets = [self._file[name] for name in task.arrays]
        self._length = task.block_samples
        # One: HDF5 has one lock for everything.
        self._shuffle = BlockShuffle(task, self._read_block, threads=1)

    def _read_block(self, block: int, parts: tuple[NDArray[Any], ...]) -> None:
        import numpy as np

        start = block * self._length
        for data_set, part in zip(self._sets, parts, strict=True):
            data_set.read_direct(part, np.s_[start : start + len(part)])

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch."""
        return self._shuffle.epoch(number)

    def close(self) -> None:
        """End the thread, close the file."""
        self._shuffle.close()
        self._file.close()
