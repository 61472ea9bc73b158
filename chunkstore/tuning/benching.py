"""How fast does a person's own file load, and what limits it?"""

from __future__ import annotations

import math
import os
import time
from contextlib import ExitStack
from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING, Any, Final

from chunkstore.pipeline.loader import Loader
from chunkstore.pipeline.room import cache_room
from chunkstore.progress import progress_bar
from chunkstore.store.store import Store, open_store
from chunkstore.system import ReadFile
from chunkstore.tuning.bench_report import BenchPass, BenchReport
from chunkstore.tuning.crew import Deadline
from chunkstore.tuning.interrupts import check_interrupt, heeded_interrupts
from chunkstore.tuning.results import Notes, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from chunkstore.pipeline.stats import LoaderStats
    from chunkstore.pipeline.structure import Names

_ROUNDS: Final = 5
_WAYS: Final[dict[str, dict[str, Any]]] = {
    "sequential": {"shuffle": False, "io": "buffered"},
    "shuffled": {"shuffle": True, "io": "buffered"},
    "shuffled, direct": {"shuffle": True, "io": "direct"},
}


def bench(
    source: Any,
    names: Names | None = None,
    *,
    batch_size: int = 64,
    memory: int | str = "512MiB",
    threads: int | None = None,
    transform: Mapping[str, Callable[..., Any]] | None = None,
    step: Callable[[Any], Any] | None = None,
    seconds: float = 20.0,
    seed: int = 0,
    progress: bool | None = None,
) -> BenchReport:
    """Measure how fast a file loads in order, shuffled, and past the page cache.

    Parameters
    ----------
    source
        A path or store, a mapping of arrays, or whatever else a `chunkstore.Loader` takes.
    names
        Which arrays make a batch; see `chunkstore.Loader`. None takes all with a value a sample.
    batch_size, memory, threads, transform
        Of the loader.
    step
        Called with each batch, as a step of training would; by default nothing is done with it.
    seconds
        Time that it may take; passes over large files stop early.
    seed
        Of the order.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Returns
    -------
    report
        Print it, or take its numbers: ``report["shuffled"].speed.median``, in bytes a second.

    Raises
    ------
    ValueError
        There are no samples, or an argument is wrong.
    KeyError
        There is no such array.
    ChunkStoreError
        The file cannot be read.

    Notes
    -----
    The ways take turns, each behind a pass that is not counted, so that what fits in the page cache
    is there; passes of one way read the same samples.

    Examples
    --------
    >>> import numpy as np, chunkstore as cs
    >>> cs.save("a.zarr.zip", {"x": np.zeros((1000, 64), "f4"), "y": np.arange(1000)})
    >>> report = cs.bench("a.zarr.zip", ("x", "y"), seconds=0.5)
    >>> [found.name for found in report.passes][:2]
    ['sequential', 'shuffled']
    """
    if not seconds > 0:
        raise ValueError(f"seconds must be positive, got {seconds!r}")
    notes = Notes()
    with heeded_interrupts(), ExitStack() as stack:
        if isinstance(source, str | os.PathLike):
            source = stack.enter_context(open_store(source))
        if names is None and isinstance(source, Store):
            names = {name: name for name in source.sample_arrays}
        options: dict[str, Any] = {
            "batch_size": batch_size,
            "memory": memory,
            "threads": threads,
            "transform": transform,
            "seed": seed,
            "last": "keep",
        }
        with Loader(source, names, **options) as loader:
            if loader.num_samples == 0:
                raise ValueError(f"{_name_of(source)} has no samples: there is nothing to measure")
            sample_nbytes = _sample_nbytes(loader)
            about = {
                "num_samples": loader.num_samples,
                "batch_size": batch_size,
                "threads": loader.threads,
                "memory": loader.memory,
            }
            used = loader._setup.structure.names
        ways = dict(_WAYS)
        if not _has_direct(source, notes):
            del ways["shuffled, direct"]
        _note_room(source, used, notes)
        advance = stack.enter_context(
            progress_bar(len(ways) * (_ROUNDS + 1), what="measuring", unit="passes", show=progress)
        )
        runs = _measure(
            {way: partial(Loader, source, names, **options, **more) for way, more in ways.items()},
            step,
            seconds=seconds,
            advance=advance,
        )
    return BenchReport(
        _name_of(source),
        tuple(used),
        sample_nbytes=sample_nbytes,
        passes=tuple(
            BenchPass(
                way,
                Spread(tuple(run.samples * sample_nbytes / run.seconds for run in found)),
                samples=found[0].samples,
                is_whole=found[0].is_whole,
                seconds=sum(run.seconds for run in found),
                stats=reduce(add, (run.stats for run in found)),
            )
            for way, found in runs.items()
        ),
        notes=tuple(notes.lines),
        **about,
    )


class _Pass:
    """One pass of a fresh loader over the epoch 0, or what there is time for."""

    def __init__(
        self,
        loader: Loader,
        step: Callable[[Any], Any] | None,
        *,
        seconds: float,
        batches: int | None,
    ) -> None:
        deadline = Deadline(seconds)
        self.num_batches = 0
        with loader:
            started = time.perf_counter()
            for batch in loader.iter_epoch(0):
                if step is not None:
                    step(batch)
                check_interrupt()
                self.num_batches += 1
                if self.num_batches == batches or (batches is None and deadline.is_over):
                    break
            self.seconds = time.perf_counter() - started
            self.stats: LoaderStats = loader.stats()
            self.is_whole = self.num_batches == len(loader)
        self.samples = self.stats.samples


def _measure(
    make: Mapping[str, Callable[[], Loader]],
    step: Callable[[Any], Any] | None,
    *,
    seconds: float,
    advance: Callable[[int], None],
) -> dict[str, list[_Pass]]:
    """Return the passes of each way, taken in turns."""
    deadline = Deadline(seconds)
    # As long as leaves time for the passes that are not counted and two rounds.
    share = seconds / (3 * len(make))
    lengths: dict[str, int] = {}
    for way, loader in make.items():
        lengths[way] = _Pass(loader(), step, seconds=share, batches=None).num_batches
        advance(1)
    runs: dict[str, list[_Pass]] = {way: [] for way in make}
    for number in range(_ROUNDS):
        if number and deadline.is_over:
            break
        for way in make if number % 2 else reversed(list(make)):
            # Cut where the first pass was cut: the same samples, whatever they cost this time.
            runs[way].append(_Pass(make[way](), step, seconds=share, batches=lengths[way]))
            advance(1)
    return runs


def _sample_nbytes(loader: Loader) -> int:
    """Return the bytes of one sample as it is decoded, over all arrays of a batch."""
    sources = [array.source for array in loader._setup.layout.arrays]
    return sum(math.prod(source.shape[1:]) * source.dtype.itemsize for source in sources)


def _name_of(source: Any) -> str:
    place = getattr(source, "path", None)
    return str(place) if place is not None else type(source).__name__


def _has_direct(source: Any, notes: Notes) -> bool:
    """Tell whether reads can go past the page cache."""
    if not isinstance(source, Store):
        notes.add("reads past the page cache were not measured: they are for files of chunkstore")
        return False
    file = ReadFile(source.path)
    try:
        found = file.has_direct
    finally:
        file.close()
    if not found:
        notes.add("the file system has no reads past the page cache")
    return found


def _note_room(source: Any, names: tuple[str, ...] | list[str], notes: Notes) -> None:
    """Say so where the page cache cannot hold what is read."""
    if isinstance(source, Store):
        stored = sum(source[name].encoded_nbytes for name in set(names) if name in source)
        room = cache_room()
        if room is not None and stored > room:
            notes.add(
                f"the arrays take {stored / 2**20:,.0f} MiB, and the page cache has room for "
                f"{room / 2**20:,.0f}: buffered passes read from the disk"
            )
