"""zarr-python: a folder of chunks with the same codec as ours, in block-shuffled windows."""

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
        name="zarr-python",
        module="benchmarks.peers.zarr_python",
        packages=("zarr==3.1.6",),
        environment="bench",
        is_required=True,
        is_mapped=False,
        shuffle="a window of blocks, sample by sample",
        settings={"cname": "zstd", "clevel": 1},
    ),
)


def import_packages() -> None:
    """Import what reading needs."""
    import zarr  # noqa: F401


def _path(task: Task) -> str:
    return f"{task.folder}/data.zarr"


def write(arrays: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Store the arrays in chunks as long as our widest array's."""
    import zarr

    group = zarr.create_group(_path(task), overwrite=True)
    for name, array in arrays.items():
        length = min(task.block_samples, len(array))
        stored = group.create_array(
            name,
            shape=array.shape,
            dtype=array.dtype,
            chunks=(length, *array.shape[1:]),
            compressors=zarr.codecs.BloscCodec(
                cname=task.settings["cname"], clevel=task.settings["clevel"], shuffle="shuffle"
            ),
        )
        for start in range(0, len(array), length):
            stored[start : start + length] = array[start : start + length]


class Reader:
    """See `benchmarks.peers.record.Reader`."""

    def __init__(self, task: Task) -> None:
        import zarr
        from numcodecs import blosc

        # Its threads decode chunks side by side; Blosc's own would get in their way.
        blosc.use_threads = False
        zarr.config.set(
            {"async.concurrency": 2 * task.threads, "threading.max_workers": task.threads}
        )
        group = zarr.open_group(_path(task), mode="r")
        self._arrays = [group[name] for name in task.arrays]
        self._length = task.block_samples
        self._shuffle = BlockShuffle(task, self._read_block, threads=2 * task.threads)

    def _read_block(self, block: int, parts: tuple[NDArray[Any], ...]) -> None:
        start = block * self._length
        for array, part in zip(self._arrays, parts, strict=True):
            part[...] = array[start : start + len(part)]

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch."""
        return self._shuffle.epoch(number)

    def close(self) -> None:
        """End the threads."""
        self._shuffle.close()
