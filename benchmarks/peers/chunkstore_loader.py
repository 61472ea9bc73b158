"""Ours: the Loader on our file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers.record import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from benchmarks.peers.record import Task
    from chunkstore.store.array import Array
    from chunkstore.store.array_reader import ArrayReader

_MODULE = "benchmarks.peers.chunkstore_loader"


def _peer(name: str, mixing: str = "a window of chunks, sample by sample", **settings: Any) -> Peer:
    return Peer(
        name=name,
        module=_MODULE,
        packages=(),
        environment="bench",
        is_required=True,
        is_mapped=False,
        shuffle=mixing,
        settings=settings,
    )


SHUFFLED = _peer("chunkstore")
SEQUENTIAL = _peer("chunkstore, sequential", "none", shuffle=False)
UNCHECKED = _peer("chunkstore, CRC-32 off", check=False)
PEERS = (SHUFFLED, SEQUENTIAL, UNCHECKED)


def import_packages() -> None:
    """Import what reading needs."""
    import chunkstore.pipeline.loader  # noqa: F401


def write(arrays: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Store the arrays with the default codec, unless another variant has."""
    import chunkstore as cs

    if not Path(task.store).exists():
        cs.save(task.store, dict(arrays))


class _Unchecked:
    """An array whose readers leave out the CRC-32."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def __getattr__(self, name: str) -> Any:
        return getattr(self._array, name)

    def open_reader(self, *, direct: bool = False) -> ArrayReader:
        """Return a reader that compares no checksums."""
        return self._array.open_reader(direct=direct, check=False)


class Reader:
    """See `benchmarks.peers.record.Reader`."""

    def __init__(self, task: Task) -> None:
        import chunkstore as cs

        self._store = cs.open(task.store)
        arrays: Any = self._store
        if not task.settings.get("check", True):
            arrays = {name: _Unchecked(self._store[name]) for name in task.arrays}
        self._loader = cs.Loader(
            arrays,
            tuple(task.arrays),
            batch_size=task.batch_size,
            memory=task.memory,
            shuffle=task.settings.get("shuffle", True),
            seed=task.seed,
        )

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch."""
        del number  # the loader counts
        return iter(self._loader)

    def close(self) -> None:
        """End the loader's threads."""
        self._loader.close()
        self._store.close()
