"""What does a framework's view of a loader cost, beyond the loader's own iteration?

Two sides iterate over the same file, each with a loader of its own, and every batch is timed. What
counts is the median over the batches of an epoch: a batch that is there, without the wait for a
window. The sides take turns epoch by epoch, or batch by batch: then caches are colder and two
loaders read at a time, but what the machine does and where memory lies meets both alike. JAX moves
a batch to its device whoever asks for it, so its peer is the loader with a plain `device_put`.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import chunkstore as cs
from benchmarks.keras_backends import interpreters, missing_backends
from benchmarks.probe import Session
from benchmarks.result import MIB, Result
from benchmarks.values import WrongValuesError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.result import Settings

_BATCH_SIZE = 128
_SAMPLE_SHAPE = (64, 64, 3)
_BATCH_NBYTES = _BATCH_SIZE * 64 * 64 * 3
_LEAST_BATCHES, _MOST_BATCHES = 8, 64
_MEMORY = 256 * MIB
_LIMIT_MICROSECONDS = 50.0
_SEED = 12

# Of each framework: title, side, the side it is measured beside, whether they take turns batch by
# batch, whether the limit is promised.
_COMPARED = {
    "jax": [
        ("loader.jax() beyond the loader with device_put", "jax", "device_put", True, True),
        ("jax.device_put alone", "device_put", "loader", True, False),
    ],
    "torch": [
        ("DataLoader over loader.torch()", "DataLoader", "loader", False, True),
        ("the same in turns batch by batch", "DataLoader", "loader", True, False),
        ("loader.torch() by itself", "torch", "loader", False, False),
        ("DataLoader with a worker process", "worker", "loader", False, False),
        ("DataLoader with a random sampler, by='sample'", "sample", "loader", False, False),
    ],
    "tensorflow": [("loader.tf()", "tf", "loader", False, False)],
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
        for title, ours, peer, is_by_batch, is_promised in compared:
            with Session(python) as session:
                measured = session.call(
                    compare,
                    path=path,
                    sides=[ours, peer],
                    is_by_batch=is_by_batch,
                    rounds=settings.rounds,
                )
            results.append(
                Result(
                    case="adapters",
                    name=f"{framework}: {title}",
                    values=[(a - b) * 1e6 for a, b in measured],
                    direction="at most",
                    limit=_LIMIT_MICROSECONDS if is_promised else None,
                    conditions=(
                        f"batches of {_BATCH_NBYTES / 1e6:.1f} MB, {num_batches} an epoch, warm "
                        f"page cache; beside: {peer}"
                    ),
                    ours_seconds=statistics.median(a for a, _ in measured),
                    peer_seconds=statistics.median(b for _, b in measured),
                    unit="us",
                )
            )
    return results


def _write_file(folder: str, num_batches: int) -> str:
    """Write a file of so many batches; what is in it does not matter here."""
    num_samples = num_batches * _BATCH_SIZE
    rng = np.random.default_rng(_SEED)
    path = f"{folder}/adapters-{num_batches}.zarr.zip"
    x = rng.integers(0, 256, (num_samples, *_SAMPLE_SHAPE), np.uint8)
    cs.save(path, {"x": x, "y": np.arange(num_samples, dtype=np.int32)}, codec="lz4", level=1)
    return path


def compare(path: str, sides: list[str], is_by_batch: bool, rounds: int) -> Any:
    """Return the seconds of a batch on both sides, the median of an epoch, round by round."""
    sum_of_labels = int(cs.load(path, ["y"])["y"].sum(dtype=np.int64))
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(cs.open(path))
        views = []
        for side in sides:
            loader = stack.enter_context(
                cs.Loader(store, ("x", "y"), batch_size=_BATCH_SIZE, memory=_MEMORY, seed=_SEED)
            )
            views.append(_SIDES[side](loader))

        def time_round(number: int) -> list[float]:
            if is_by_batch:
                return _time_epoch(views, sum_of_labels)
            order = (0, 1) if number % 2 else (1, 0)
            found = {place: _time_epoch([views[place]], sum_of_labels)[0] for place in order}
            return [found[0], found[1]]

        # The first round warms up.
        return [time_round(number) for number in range(rounds + 1)][1:]


def _time_epoch(sides: Sequence[Iterable[Any]], sum_of_labels: int) -> list[float]:
    """Iterate an epoch of the sides in turns; return the median seconds of a batch of each."""
    iterators = [iter(side) for side in sides]
    seconds: list[list[float]] = [[] for _ in sides]
    found = [0] * len(sides)
    is_more = True
    step = 0
    while is_more:
        for place in sorted(range(len(sides)), reverse=bool(step % 2)):
            started = time.perf_counter()
            batch = next(iterators[place], None)
            ended = time.perf_counter()
            is_more = batch is not None
            if is_more:
                seconds[place].append(ended - started)
                found[place] += int(np.asarray(batch[1]).sum(dtype=np.int64))
            del batch
        step += 1
    if found != [sum_of_labels] * len(sides):
        raise WrongValuesError(f"labels add up to {found}, expected {sum_of_labels} of each side")
    return [statistics.median(side) for side in seconds]


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
