"""What would h5py give for the same samples, with LZF and with gzip?

In memory, so that only the filters are measured. HDF5 has one lock for all threads: its speeds are
those of one thread, however many the machine has.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.tuning.results import PeerSpeed, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from chunkstore.tuning.crew import Deadline

_FILTERS: Final[dict[str, dict[str, Any]]] = {
    "h5py LZF": {"compression": "lzf", "shuffle": True},
    "h5py gzip-4": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
}
_ROUNDS: Final = 3
MISSING: Final = "h5py is not installed, so it is not in the table: pip install 'chunkstore[hdf5]'"


def measure_hdf5(
    chunks: Sequence[NDArray[Any]],
    *,
    deadline: Deadline,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[PeerSpeed], str | None]:
    """Measure h5py's own filters.

    Parameters
    ----------
    chunks
        In stored form, of one shape.
    deadline
        Behind the first round, ends the rounds.
    clock
        Seconds.

    Returns
    -------
    peers, note
        The note says why there are none.
    """
    try:
        import h5py
    except ImportError:
        return [], MISSING
    samples = np.concatenate(chunks)
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in _FILTERS}
    for number in range(_ROUNDS):
        if number and deadline.is_over:
            break
        for name in _FILTERS if number % 2 else reversed(_FILTERS):
            runs[name].append(_measure(h5py, samples, len(chunks[0]), _FILTERS[name], clock))
    return [
        PeerSpeed(
            name,
            found[0][0],
            Spread(tuple(encode for _, encode, _ in found)),
            Spread(tuple(decode for _, _, decode in found)),
        )
        for name, found in runs.items()
    ], None


def _measure(
    h5py: Any,
    samples: NDArray[Any],
    chunk_length: int,
    options: dict[str, Any],
    clock: Callable[[], float],
) -> tuple[float, float, float]:
    """Return ratio, and decoded bytes a second of writing and reading; no chunk is cached."""
    out = np.empty_like(samples)
    with h5py.File("tune", "w", driver="core", backing_store=False, rdcc_nbytes=0) as file:
        started = clock()
        data_set = file.create_dataset(
            "x", data=samples, chunks=(chunk_length, *samples.shape[1:]), **options
        )
        file.flush()
        encode = samples.nbytes / (clock() - started)
        stored = data_set.id.get_storage_size()
        started = clock()
        data_set.read_direct(out)
        decode = samples.nbytes / (clock() - started)
    return samples.nbytes / max(1, stored), encode, decode
