"""How are several loaders measured in turns, each in a process of its own?"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import epochs, page_cache
from benchmarks.cgroup import memory_group
from benchmarks.peers import bare_loop
from benchmarks.peers.environments import advice, find_python
from benchmarks.probe import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.cgroup import MemoryGroup
    from benchmarks.data_sets import Source
    from benchmarks.peers.record import Peer, Task

# What a side may take in a regime, with opening and closing; it is left out of later rounds then.
_SIDE_SECONDS = 12.0
_CALL_SECONDS = 240.0
# Enough for worker processes to have started.
_WARM_UP_BATCHES = 3
KILLED = "killed at the cap"


@dataclass(frozen=True)
class Regime:
    """State of the caches, and the memory.

    Attributes
    ----------
    name
        As the table shows it.
    memory
        Decoded bytes among which a side may shuffle.
    is_cold
        Whether the files leave the page cache before each epoch; opening counts then. Else an epoch
        is the second one of its reader.
    cap_nbytes
        Memory for what a process takes above its imports, its cached pages included; None for no
        cap.
    """

    name: str
    memory: int
    is_cold: bool = False
    cap_nbytes: int | None = None


@dataclass
class Side:
    """One loader and what was measured of it.

    Attributes
    ----------
    peer, task
        What loads, and what it is asked to do.
    runs, spent_seconds
        What `benchmarks.epochs.measure` returned, round by round; None for a round left out. And
        the time that it took, with opening and closing.
    note
        Why it was not measured.
    resident_nbytes
        After its imports.
    file_nbytes
        Of its files.
    """

    peer: Peer
    task: Task
    runs: list[dict[str, Any] | None] = field(default_factory=list)
    note: str = ""
    resident_nbytes: int = 0
    file_nbytes: int = 0
    spent_seconds: float = 0.0
    session: Session | None = None
    group: MemoryGroup | None = None

    @property
    def is_measured(self) -> bool:
        """Whether there is at least one round, and none failed."""
        return not self.note and any(self.runs)

    @property
    def is_running(self) -> bool:
        """Whether it has a process and nothing failed."""
        return self.session is not None and not self.note

    @property
    def seconds(self) -> float:
        """Median time of an epoch."""
        return self.median("seconds")

    def median(self, key: str) -> float:
        """Return the median of something measured."""
        return statistics.median(run[key] for run in self.runs if run)

    def fail(self, error: Exception) -> None:
        """Note why this side cannot be measured."""
        if self.group is not None and self.group.was_killed():
            self.note = KILLED
        else:
            self.note = f"failed: {str(error).strip().splitlines()[-1]}"

    def again(self) -> Side:
        """Return this side with nothing measured, for another regime."""
        return Side(self.peer, self.task, note=self.note, file_nbytes=self.file_nbytes)


def speed_ratios(ours: Side, other: Side) -> list[float]:
    """Return how many times as fast as another side ours was, in each round that has both."""
    return [
        b["seconds"] / a["seconds"]
        for a, b in zip(ours.runs, other.runs, strict=False)
        if a is not None and b is not None
    ]


def write_files(sides: Sequence[Side], source: Source) -> None:
    """Let each side store the data, and check what it loads.

    A side that is not installed, fails or delivers wrong values says so in its note.
    """
    with contextlib.ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for side in sides:
            python = find_python(side.peer)
            if python is None:
                side.note = advice(side.peer)
                continue
            key = side.peer.module
            if key not in sessions:
                sessions[key] = stack.enter_context(Session(python))
            task = dataclasses.asdict(side.task)
            common = {"module": side.peer.module, "task": task, "timeout": _CALL_SECONDS}
            try:
                sessions[key].call(epochs.write, paths=source.paths, **common)
                sessions[key].call(epochs.check, source=dataclasses.asdict(source), **common)
            except RuntimeError as error:
                side.fail(error)
            side.file_nbytes = sum(_stored_nbytes(path) for path in side_files(side))


def side_files(side: Side) -> list[Path]:
    """Return the files that a side reads."""
    own = page_cache.iter_files(side.task.folder)
    return own or [Path(side.task.store)]


def _stored_nbytes(path: Path) -> int:
    """Return what a file takes on the disk: one made with room to grow has holes."""
    return min(path.stat().st_size, path.stat().st_blocks * 512)


@contextlib.contextmanager
def running(sides: Sequence[Side], *, is_capped: bool) -> Iterator[None]:
    """Start a process for each side that can be measured, with its imports done.

    The variants of the bare loop share one.

    Parameters
    ----------
    sides
        Those with a note are left out.
    is_capped
        Whether each gets a control group of its own; `measure_rounds` sets the cap.
    """
    with contextlib.ExitStack() as stack:
        limit: Side | None = None
        for number, side in enumerate(sides):
            if side.note:
                continue
            if side.peer.module == bare_loop.__name__ and limit is not None:
                side.session, side.group = limit.session, limit.group
                side.resident_nbytes = limit.resident_nbytes
                continue
            if is_capped:
                side.group = stack.enter_context(memory_group(str(number)))
            side.session = stack.enter_context(Session(find_python(side.peer)))
            if side.group is not None:
                side.group.add(side.session.process)
            _prepare(side, is_capped=is_capped)
            if side.peer.module == bare_loop.__name__:
                limit = side
        yield


def _prepare(side: Side, *, is_capped: bool) -> None:
    common = {"module": side.peer.module, "timeout": _CALL_SECONDS}
    try:
        side.resident_nbytes = side.session.call(epochs.prepare, **common)["resident_nbytes"]
        if side.peer.worker_processes and is_capped:
            task = dataclasses.asdict(side.task)
            side.session.call(epochs.warm_up_workers, task=task, batches=_WARM_UP_BATCHES, **common)
    except RuntimeError as error:
        side.fail(error)


def measure_rounds(
    sides: Sequence[Side], regime: Regime, *, rounds: int, source: Source
) -> list[str]:
    """Measure an epoch of every side in each round, every other round in the opposite order.

    Returns
    -------
    How the page cache was emptied: the ways that were used.
    """
    ways = set()
    for side in sides:
        side.runs, side.spent_seconds = [], 0.0
        if not side.is_running:
            continue
        if regime.cap_nbytes is not None:
            ways.add(page_cache.drop(side_files(side)))
            side.group.limit(side.group.usage_nbytes() + regime.cap_nbytes)
    for number in range(rounds):
        for side in sides if number % 2 else reversed(sides):
            run = None
            if side.is_running and side.spent_seconds < _SIDE_SECONDS:
                run = _measure(side, regime, source, ways)
            side.runs.append(run)
    return sorted(ways)


def _measure(side: Side, regime: Regime, source: Source, ways: set[str]) -> dict[str, Any] | None:
    task = dataclasses.replace(side.task, memory=regime.memory)
    is_limit = side.peer.module == bare_loop.__name__
    started = time.perf_counter()
    try:
        if regime.is_cold:
            ways.add(page_cache.drop(side_files(side)))
        return side.session.call(
            epochs.measure_limit if is_limit else epochs.measure,
            **({} if is_limit else {"most_seconds": _SIDE_SECONDS}),
            module=side.peer.module,
            task=dataclasses.asdict(task),
            source=dataclasses.asdict(source),
            skip_epochs=0 if regime.is_cold else 1,
            timeout=_CALL_SECONDS,
        )
    except (RuntimeError, page_cache.CachedError) as error:
        side.fail(error)
        return None
    finally:
        side.spent_seconds += time.perf_counter() - started
