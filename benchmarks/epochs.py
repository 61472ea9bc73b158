"""What does one peer's epoch cost, and does it hold the right samples?

Runs in a process of the peer (`benchmarks.probe.Session`), in the peer's environment: it imports
NumPy and what the peer imports, nothing else.
"""

from __future__ import annotations

import gc
import importlib
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import processes
from benchmarks.digests import digest_samples, probe_batch
from benchmarks.peers.record import Task
from benchmarks.values import WrongValuesError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

# What grows with the samples of an epoch.
_GROWING = ("seconds", "cpu_seconds", "called_nbytes", "device_nbytes")


def write(*, module: str, task: dict[str, Any], paths: dict[str, str]) -> float:
    """Store a source's arrays as the peer does, and return the time in seconds."""
    arrays = {name: np.load(path, mmap_mode="r") for name, path in paths.items()}
    started = time.perf_counter()
    importlib.import_module(module).write(arrays, Task.from_json(task))
    return time.perf_counter() - started


def prepare(*, module: str) -> dict[str, Any]:
    """Import what the peer imports; what follows is measured above this."""
    importlib.import_module(module).import_packages()
    return {"resident_nbytes": processes.usage().resident_nbytes}


def warm_up_workers(*, module: str, task: dict[str, Any], batches: int) -> None:
    """Deliver a few batches, so that worker processes have taken what they need."""
    reader = importlib.import_module(module).Reader(Task.from_json(task))
    try:
        iterator = reader.epoch(0)
        for _ in range(batches):
            next(iterator)
        del iterator
    finally:
        reader.close()


def check(*, module: str, task: dict[str, Any], source: dict[str, Any]) -> None:
    """Deliver two epochs and raise unless both hold every sample once, with the right values.

    Parameters
    ----------
    module, task
        The peer, and what it loads.
    source
        `benchmarks.data_sets.Source` as JSON.

    Raises
    ------
    WrongValuesError
        They do not.
    """
    given = Task.from_json(task)
    expected = np.load(source["digests"])
    reader = importlib.import_module(module).Reader(given)
    try:
        if hasattr(reader, "check_epoch"):
            _check_sums(reader.check_epoch(0), given, source)
            return
        orders = [
            np.concatenate([digest_samples(_checked(b, given)) for b in reader.epoch(number)])
            for number in range(2)
        ]
    finally:
        reader.close()
    for number, delivered in enumerate(orders):
        if not np.array_equal(np.sort(delivered), expected):
            raise WrongValuesError(
                f"{module}: epoch {number} has {len(delivered)} samples, expected each of "
                f"{len(expected)} once"
            )
    if given.settings.get("shuffle", True) and np.array_equal(*orders):
        raise WrongValuesError(f"{module}: both epochs have the same order")


def measure(
    *,
    module: str,
    task: dict[str, Any],
    source: dict[str, Any],
    skip_epochs: int,
    most_seconds: float = math.inf,
) -> dict[str, Any]:
    """Return what an epoch took.

    Parameters
    ----------
    module, task
        The peer, and what it loads.
    source
        `benchmarks.data_sets.Source` as JSON: samples and sums that the epoch must give.
    skip_epochs
        Epochs of the same reader before the one that counts, without a break. With 0, opening
        counts too.
    most_seconds
        An epoch that takes longer is broken off, and what was measured of it scaled to a whole one:
        ``"part"`` says how much it was.

    Raises
    ------
    WrongValuesError
        Samples are missing or have other values.
    """
    given = Task.from_json(task)
    sums: list[tuple[int, list[int]]] = []
    whole: list[bool] = []

    def run_epoch(reader: Any, number: int) -> None:
        deadline = time.perf_counter() + most_seconds
        sums.append(_drain(reader.epoch(number), given, deadline))
        whole.append(time.perf_counter() <= deadline)

    taken = _measured(module, given, skip_epochs, run_epoch)
    part = sums[-1][0] / given.samples
    for found, is_whole in zip(sums, whole, strict=True):
        if is_whole:
            _check_sums(found, given, source)
    for key in _GROWING:
        taken[key] /= part
    return taken | {"part": part}


def measure_limit(
    *, module: str, task: dict[str, Any], source: dict[str, Any], skip_epochs: int
) -> dict[str, Any]:
    """Return what the bare loop's epoch took: see `measure`; it delivers no batches."""
    given = Task.from_json(task)
    counts: list[int] = []

    def run_epoch(reader: Any, number: int) -> None:
        counts.append(reader.run_epoch(number))

    taken = _measured(module, given, skip_epochs, run_epoch)
    if set(counts) != {source["samples"]}:
        raise WrongValuesError(f"epochs of {counts} samples, expected {source['samples']}")
    return taken


def first_batch(*, module: str, task: dict[str, Any]) -> dict[str, Any]:
    """Return time and bytes read from before opening until the first batch."""
    given = Task.from_json(task)
    peer = importlib.import_module(module)
    before, started = processes.usage(), time.perf_counter()
    reader = peer.Reader(given)
    try:
        _checked(next(reader.epoch(0)), given)
        seconds, after = time.perf_counter() - started, processes.usage()
    finally:
        reader.close()
    return {"seconds": seconds, "called_nbytes": after.called_nbytes - before.called_nbytes}


def _measured(
    module: str, task: Task, skip_epochs: int, run_epoch: Callable[[Any, int], None]
) -> dict[str, Any]:
    peer = importlib.import_module(module)
    processes.reset_peak()
    before, started = processes.usage(), time.perf_counter()
    reader = peer.Reader(task)
    try:
        for number in range(skip_epochs):
            run_epoch(reader, number)
        if skip_epochs:
            before, started = processes.usage(), time.perf_counter()
        run_epoch(reader, skip_epochs)
        seconds = time.perf_counter() - started
        after = processes.usage()
    finally:
        reader.close()
        # Pages stay in the cache as long as a map of them is alive.
        del reader
        gc.collect()
    return {
        "seconds": seconds,
        "cpu_seconds": after.cpu_seconds - before.cpu_seconds,
        "called_nbytes": after.called_nbytes - before.called_nbytes,
        "device_nbytes": after.device_nbytes - before.device_nbytes,
        "peak_nbytes": after.peak_nbytes,
    }


def _drain(
    batches: Iterator[tuple[NDArray[Any], ...]], task: Task, deadline: float
) -> tuple[int, list[int]]:
    """Take all batches that come in time; return samples and the arrays' probes."""
    count, sums = 0, [0] * len(task.arrays)
    for batch in batches:
        count += len(batch[0])
        for place, array in enumerate(_checked(batch, task)):
            sums[place] = (sums[place] + probe_batch(array)) % (1 << 64)
        if time.perf_counter() > deadline:
            break
    return count, sums


def _check_sums(found: tuple[int, list[int]], task: Task, source: dict[str, Any]) -> None:
    expected = (source["samples"], [source["probes"][name] for name in task.arrays])
    if (found[0], list(found[1])) != expected:
        raise WrongValuesError(
            f"an epoch has {found[0]} samples that sum to {found[1]}, expected {expected[0]} and "
            f"{expected[1]}"
        )


def _checked(batch: tuple[NDArray[Any], ...], task: Task) -> tuple[NDArray[Any], ...]:
    for array, (name, (dtype, shape)) in zip(batch, task.arrays.items(), strict=True):
        form = (type(array), array.dtype.str, array.shape[1:], array.flags.c_contiguous)
        wanted = (np.ndarray, np.dtype(dtype).str, shape, True)
        if form != wanted or not 0 < len(array) <= task.batch_size:
            raise WrongValuesError(
                f"{name}: a batch is {form} with {len(array)} samples, expected {wanted} with up "
                f"to {task.batch_size}"
            )
    return batch
