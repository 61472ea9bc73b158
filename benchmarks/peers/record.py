"""What does the benchmark know of a peer, and what is a peer asked to do?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Peer:
    """A package with the settings that its documentation recommends.

    Attributes
    ----------
    name
        As the table shows it.
    module
        With ``write`` and ``Reader``.
    packages
        What must be installed, pinned as for pip.
    environment
        ``"bench"``: the one that `make bench` runs in. Another name: one of its own, see
        `benchmarks.peers.install`.
    is_required
        Whether a run without it counts as failed.
    is_mapped
        Whether it hands out uncompressed bytes of mapped memory: as long as they fit, that is no
        loading. It competes only under the memory cap then.
    shuffle
        How well it shuffles, in words.
    settings
        For ``write`` and ``Reader``; JSON values.
    worker_processes
        Processes beside its own that read.
    """

    name: str
    module: str
    packages: tuple[str, ...]
    environment: str
    is_required: bool
    is_mapped: bool
    shuffle: str
    settings: dict[str, Any] = field(default_factory=dict)
    worker_processes: int = 0


@dataclass(frozen=True)
class Task:
    """What a peer is to load.

    Attributes
    ----------
    folder
        The peer's own, for its files.
    store
        Our file with the same data.
    samples
        Of each array.
    arrays
        Array name to dtype and sample shape; the first is the widest. A batch has them in this
        order.
    block_samples
        Samples in a chunk of our widest array: peers that store blocks take the same.
    batch_size
        Samples of a batch; the last ones of an epoch may be smaller.
    memory
        Decoded bytes among which a peer may shuffle.
    threads
        Processors to use.
    seed
        Of the order.
    settings
        The peer's.
    """

    folder: str
    store: str
    samples: int
    arrays: dict[str, tuple[str, tuple[int, ...]]]
    block_samples: int
    batch_size: int
    memory: int
    threads: int
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Task:
        """Return a task from what `dataclasses.asdict` gave, perhaps through JSON."""
        arrays = {name: (dtype, tuple(shape)) for name, (dtype, shape) in values["arrays"].items()}
        return cls(**{**values, "arrays": arrays})


class Reader(Protocol):
    """Open files of a peer.

    ``Reader(task)`` opens. Batches are tuples of C-contiguous numpy arrays in the order of the
    task's arrays.
    """

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Return the batches of an epoch: every sample once, in another order each epoch."""

    def close(self) -> None:
        """End threads and processes."""
