"""What does a framework's view of a loader cost, beyond the loader's own iteration?

Every side iterates over the same file with a loader of its own, and each batch is timed. What
counts is the median over the batches of an epoch: a batch that is there, without the wait for a
window. JAX moves a batch to its device whoever asks for it, so its peer is the loader with a plain
``jax.device_put`` of each batch.
"""

from __future__ import annotations

import contextlib
import functools
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import chunkstore as cs
from benchmarks.keras_backends import interpreters, missing_backends
from benchmarks.probe import Session
from benchmarks.result import MIB, Result, measure_in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.result import Settings

_BATCH_SIZE = 128
_SAMPLE_SHAPE = (64, 64, 3)
_BATCH_NBYTES = _BATCH_SIZE * 64 * 64 * 3
_LEAST_BATCHES, _MOST_BATCHES = 8, 64
_MEMORY = 256 * MIB
_LIMIT_MICROSECONDS = 50.0
_SEED = 12

# Of each framework: title, side, the side it is measured beside, whether the limit is promised.
_COMPARED = {
    "jax": [
        ("loader.jax() beyond the loader with device_put", "jax", "device_put", True),
        ("jax.device_put alone", "device_put", "loader", False),
    ],
    "torch": [
        ("DataLoader over loader.torch()", "DataLoader", "loader", True),
        ("loader.torch() by itself", "torch", "loader", False),
        ("the same with a worker process", "worker", "loader", False),
        ("DataLoader with a random sampler, by='sample'", "sample", "loader", False),
    ],
    "tensorflow": [("loader.tf()", "tf", "loader", False)],
}
# They take long, and a quick run leaves them out.
_SLOW = ("worker", "sample")


def run(settings: Settings) -> list[Result]:
    """Measure."""
    found = interpreters(settings, needs=())
    if not found:
        print(missing_backends(), file=sys.stderr)
        return []
    num_batches = min(_MOST_BATCHES, max(_LEAST_BATCHES, settings.load_nbytes // _BATCH_NBYTES))
    path = _write_file(settings.folder, num_batches)
    results = []
    for framework, python in found.items():
        compared = [
            row
            for row in _COMPARED[framework]
            if settings.has_optional_peers or row[1] not in _SLOW
        ]
        with Session(python) as session:
            measured = session.call(
                measure_sides,
                path=path,
                sides=sorted({side for _, *pair, _ in compared for side in pair}),
                rounds=settings.rounds,
            )
        results += [
            _result(framework, *row, measured=measured, num_batches=num_batches) for row in compared
        ]
    return results


def _write_file(folder: str, num_batches: int) -> str:
    """Write a file of so many batches; what is in it does not matter here."""
    num_samples = num_batches * _BATCH_SIZE
    rng = np.random.default_rng(_SEED)
    path = f"{folder}/adapters-{num_batches}.zarr.zip"
    x = rng.integers(0, 256, (num_samples, *_SAMPLE_SHAPE), np.uint8)
    cs.save(path, {"x": x, "y": np.arange(num_samples, dtype=np.int32)}, codec="lz4", level=1)
    return path


def _result(
    framework: str,
    title: str,
    ours: str,
    peer: str,
    is_promised: bool,
    *,
    measured: dict[str, Any],
    num_batches: int,
) -> Result:
    typical, mean = measured["typical_seconds"], measured["mean_seconds"]
    return Result(
        case="adapters",
        name=f"{framework}: {title}",
        values=[(a - b) * 1e6 for a, b in zip(typical[ours], typical[peer], strict=True)],
        direction="at most",
        limit=_LIMIT_MICROSECONDS if is_promised else None,
        conditions=(
            f"batches of {_BATCH_NBYTES / 1e6:.1f} MB, {num_batches} an epoch, warm page cache; "
            f"beside: {peer}"
        ),
        ours_seconds=statistics.median(typical[ours]),
        peer_seconds=statistics.median(typical[peer]),
        unit="us",
        details={"mean_seconds": {side: mean[side] for side in (ours, peer)}},
    )


def measure_sides(path: str, sides: list[str], rounds: int) -> Any:
    """Return the seconds of a batch for each side and round: the epoch's median, and its mean."""
    sum_of_labels = int(cs.load(path, ["y"])["y"].sum(dtype=np.int64))
    times: dict[str, list[list[float]]] = {side: [] for side in sides}
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(cs.open(path))
        measure = []
        for side in sides:
            loader = stack.enter_context(
                cs.Loader(store, ("x", "y"), batch_size=_BATCH_SIZE, memory=_MEMORY, seed=_SEED)
            )
            batches = _SIDES[side](loader)
            measure.append(functools.partial(_time_epoch, batches, times[side], sum_of_labels))
        measure_in_turns(measure, rounds=rounds)
    # The first round warms up.
    return {
        "typical_seconds": {
            side: [statistics.median(epoch) for epoch in times[side][1:]] for side in sides
        },
        "mean_seconds": {
            side: statistics.median(statistics.fmean(epoch) for epoch in times[side][1:])
            for side in sides
        },
    }


def _time_epoch(batches: Iterable[Any], times: list[list[float]], sum_of_labels: int) -> float:
    """Iterate an epoch, keep the seconds of each batch, check that every sample came."""
    epoch: list[float] = []
    found = 0
    started = time.perf_counter()
    for _, y in batches:
        epoch.append(time.perf_counter() - started)
        found += int(np.asarray(y).sum(dtype=np.int64))
        started = time.perf_counter()
    if found != sum_of_labels:
        raise ValueError(f"labels add up to {found}, expected {sum_of_labels}")
    times.append(epoch)
    return sum(epoch)


# ---------------------------------------------------------------- the sides


class _WithDevicePut:
    """The batches of a loader, each moved to JAX' default device when it is asked for."""

    def __init__(self, loader: cs.Loader) -> None:
        self._loader = loader

    def __iter__(self) -> Any:
        import jax

        return map(jax.device_put, self._loader)


def _data_loader(loader: cs.Loader, num_workers: int = 0) -> Any:
    from torch.utils.data import DataLoader

    return DataLoader(loader.torch(), batch_size=None, num_workers=num_workers)


def _sample_loader(loader: cs.Loader) -> Any:
    import torch
    from torch.utils.data import DataLoader

    torch.manual_seed(_SEED)
    return DataLoader(loader.torch(by="sample"), batch_size=_BATCH_SIZE, shuffle=True)


_SIDES: dict[str, Callable[[Any], Any]] = {
    "loader": lambda loader: loader,
    "device_put": _WithDevicePut,
    "jax": lambda loader: loader.jax(),
    "torch": lambda loader: loader.torch(),
    "DataLoader": _data_loader,
    "worker": lambda loader: _data_loader(loader, 1),
    "sample": _sample_loader,
    "tf": lambda loader: loader.tf(),
}
