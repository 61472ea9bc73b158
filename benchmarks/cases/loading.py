"""How fast do shuffled batches come, beside the bare loop and the peers?

For each data set every loader stores the same data; then all take turns, an epoch each in a round:
warm, cold, and with memory for a fifth of our file. `benchmarks.sides` measures, this file says
what is promised of it. The limit is the fastest variant of the bare loop in the same run.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import chunkstore as cs
from benchmarks.cases import loading_large
from benchmarks.cgroup import reason_against
from benchmarks.data_sets import DATA_SETS, make_task, write_source
from benchmarks.peers import bare_loop, chunkstore_loader
from benchmarks.peers.registry import all_peers
from benchmarks.result import MIB, Result
from benchmarks.sides import (
    KILLED,
    Regime,
    Side,
    measure_rounds,
    running,
    speed_ratios,
    write_files,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.data_sets import DataSet, Source
    from benchmarks.peers.record import Peer, Task
    from benchmarks.result import Settings

# Of the decoded bytes, what a loader may hold to shuffle: under the cap it has to fit in that.
_MEMORY, _CAPPED_MEMORY = 1 / 4, 1 / 16
# Of our file.
_CAP = 1 / 5
_LEAST_MEMORY_NBYTES, _LEAST_CAP_NBYTES = 8 * MIB, 32 * MIB
# Shuffled epochs beside the limit; narrow rows cost more around each decoded byte.
_OF_LIMIT, _OF_LIMIT_NARROW = 0.9, 0.8
_NARROW_NBYTES = 1024
_OF_PEER, _OF_LIMIT_BESIDE_PEER, _PEER_NEAR_LIMIT = 1.25, 0.95, 0.76
# Nothing is promised of a cold epoch.
_MOST_COLD_ROUNDS = 3
_OF_SEQUENTIAL, _OF_UNCHECKED = 0.97, 0.97
_COLUMNS = (
    "of limit", "low", "high", "MB/s", "CPU s", "peak MiB", "read MiB", "device MiB", "file MiB",
)  # fmt: skip


def run(settings: Settings) -> list[Result]:
    """Measure."""
    reason = reason_against()
    if reason:
        print(f"no runs with a memory cap: {reason}", file=sys.stderr)
    results: list[Result] = []
    ran: dict[str, bool] = {}
    for data_set in DATA_SETS:
        if settings.load_sets is not None and data_set.name not in settings.load_sets:
            continue
        print(f"measuring: load {data_set.name}", file=sys.stderr, flush=True)
        # A folder each, removed at once: the next one needs the room.
        with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
            results += loading_large.run(data_set, folder, settings, is_capped=reason is None)
        with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
            for sides, measured in _compare(data_set, folder, settings, is_capped=reason is None):
                results += measured
                for side in sides:
                    # What the cap ends did run; the table says so.
                    if side.peer.is_required and side.note != KILLED:
                        ran[side.peer.name] = ran.get(side.peer.name, True) and side.is_measured
    return [*results, _required(ran)]


def _compare(
    data_set: DataSet, folder: str, settings: Settings, *, is_capped: bool
) -> Iterator[tuple[list[Side], list[Result]]]:
    """Measure all loaders and yield, for each regime, the sides and the results."""
    samples = data_set.count_samples(settings.load_nbytes)
    nbytes = samples * data_set.sample_nbytes
    source = write_source(data_set, folder, samples)
    warm = Regime("warm", max(int(nbytes * _MEMORY), _LEAST_MEMORY_NBYTES))
    own = tempfile.mkdtemp(prefix="ours-", dir=folder)
    task = make_task(data_set, own, samples, memory=warm.memory)
    ours = Side(chunkstore_loader.SHUFFLED, task)
    write_files([ours], source)
    if ours.note:
        raise RuntimeError(f"chunkstore on {data_set.name}: {ours.note}")
    with cs.open(task.store) as store:
        length = store[data_set.arrays[0].name].chunk_length
    task = dataclasses.replace(task, block_samples=length)
    others = [chunkstore_loader.SEQUENTIAL, chunkstore_loader.UNCHECKED, *bare_loop.PEERS]
    others += _choose_peers(data_set, settings)
    sides = [ours, *(Side(peer, _own_task(peer, task, folder)) for peer in others)]
    write_files(sides[1:], source)

    with running(sides, is_capped=False):
        for regime in (warm, dataclasses.replace(warm, name="cold", is_cold=True)):
            yield sides, _measure(data_set, sides, regime, settings, source)
    if is_capped:
        sides = [side.again() for side in sides]
        regime = Regime(
            "capped",
            max(int(nbytes * _CAPPED_MEMORY), _LEAST_MEMORY_NBYTES),
            cap_nbytes=max(int(ours.file_nbytes * _CAP), _LEAST_CAP_NBYTES),
        )
        with running(sides, is_capped=True):
            yield sides, _measure(data_set, sides, regime, settings, source)


def _choose_peers(data_set: DataSet, settings: Settings) -> list[Peer]:
    has_optional = settings.has_optional_peers and data_set.has_all_peers
    return [peer for peer in all_peers() if peer.is_required or has_optional]


def _own_task(peer: Peer, task: Task, folder: str) -> Task:
    return dataclasses.replace(
        task, folder=tempfile.mkdtemp(prefix="peer-", dir=folder), settings=peer.settings
    )


def _measure(
    data_set: DataSet, sides: list[Side], regime: Regime, settings: Settings, source: Source
) -> list[Result]:
    rounds = min(settings.rounds, _MOST_COLD_ROUNDS) if regime.is_cold else settings.rounds
    ways = measure_rounds(sides, regime, rounds=rounds, source=source)
    ours, sequential, unchecked = sides[:3]
    if not ours.is_measured:
        return [_failure(data_set, ours, regime)]
    limits = [s for s in sides if s.peer.module == bare_loop.__name__ and s.is_measured]
    if not limits:
        raise RuntimeError(f"the bare loop did not run on {data_set.name}, {regime.name}")
    limit = min(limits, key=lambda side: side.seconds)
    nbytes = source.samples * data_set.sample_nbytes
    conditions = _conditions(data_set, regime, ours, ways)
    is_judged = not regime.is_cold

    def compare(name: str, other: Side, promised: float | None, **details: Any) -> Result:
        return Result(
            case="load",
            name=f"{data_set.name}, {regime.name}: {name}",
            values=speed_ratios(ours, other),
            direction="at least",
            limit=promised if is_judged else None,
            conditions=conditions,
            ours_seconds=ours.seconds,
            peer_seconds=other.seconds,
            decoded_nbytes=nbytes,
            details=details,
        )

    is_narrow = data_set.sample_nbytes < _NARROW_NBYTES
    rows = [_row(side, limit, nbytes) for side in sides]
    results = [compare(f"/ {limit.peer.name}", limit, _OF_LIMIT_NARROW if is_narrow else _OF_LIMIT)]
    results[0].details["sides"] = rows
    peer = _fastest_peer(sides, regime)
    if peer is not None:
        of_limit = statistics.median(speed_ratios(peer, limit))
        if of_limit > _PEER_NEAR_LIMIT:
            name = f"/ limit, as {peer.peer.name} reaches {of_limit:.2f} of it"
            results.append(compare(name, limit, _OF_LIMIT_BESIDE_PEER))
        else:
            results.append(compare(f"/ {peer.peer.name}, the fastest peer", peer, _OF_PEER))
    if regime.is_cold:
        return results
    if sequential.is_measured:
        results.append(compare("shuffled / sequential", sequential, _OF_SEQUENTIAL))
    if unchecked.is_measured:
        results.append(compare("CRC-32 on / off", unchecked, _OF_UNCHECKED))
    return results


def _fastest_peer(sides: Sequence[Side], regime: Regime) -> Side | None:
    """Return the fastest of those that compete; without a cap, what maps raw bytes does not."""
    own = (bare_loop.__name__, chunkstore_loader.__name__)
    competing = [
        side
        for side in sides
        if side.is_measured
        and side.peer.module not in own
        and (regime.cap_nbytes is not None or not side.peer.is_mapped)
    ]
    return min(competing, key=lambda side: side.seconds, default=None)


def _row(side: Side, limit: Side, nbytes: int) -> dict[str, Any]:
    """Return a side as a row of the table; empty cells where it was not measured."""
    row: dict[str, Any] = {"loader": side.peer.name}
    if not side.is_measured:
        empty = dict.fromkeys(_COLUMNS, None)
        return row | empty | {"rounds": 0, "shuffle": side.note}
    ratios = speed_ratios(side, limit)
    values = (
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        nbytes / side.seconds / 1e6,
        side.median("cpu_seconds"),
        (side.median("peak_nbytes") - side.resident_nbytes) / MIB,
        side.median("called_nbytes") / MIB,
        side.median("device_nbytes") / MIB,
        side.file_nbytes / MIB,
    )
    row |= dict(zip(_COLUMNS, values, strict=True))
    part = min(run.get("part", 1.0) for run in side.runs if run)
    note = "" if part == 1 else f"; measured {part:.0%} of an epoch"
    return row | {"rounds": sum(map(bool, side.runs)), "shuffle": side.peer.shuffle + note}


def _conditions(data_set: DataSet, regime: Regime, ours: Side, ways: Sequence[str]) -> str:
    parts = [f"batches of {data_set.batch_size}, {regime.memory / MIB:.0f} MiB to shuffle in"]
    if regime.cap_nbytes is not None:
        parts.append(
            f"{regime.cap_nbytes / MIB:.0f} MiB for each process above its imports, "
            f"our file has {ours.file_nbytes / MIB:.0f} MiB"
        )
    parts.append(
        "first epoch with opening" if regime.is_cold else "second epoch of a reader, opened before"
    )
    if ways:
        parts.append(f"page cache emptied by {' and '.join(ways)}")
    return "; ".join(parts)


def _failure(data_set: DataSet, ours: Side, regime: Regime) -> Result:
    return Result(
        case="load",
        name=f"{data_set.name}, {regime.name}: chunkstore {ours.note}",
        values=[0.0],
        direction="at least",
        limit=1.0,
        conditions=ours.note,
    )


def _required(ran: dict[str, bool]) -> Result:
    missing = [name for name, did_run in ran.items() if not did_run]
    return Result(
        case="load",
        name="required loaders that ran" + (f", without {', '.join(missing)}" if missing else ""),
        values=[float(len(ran) - len(missing))],
        direction="at least",
        limit=float(len(ran)),
        conditions=", ".join(ran),
        unit="loaders",
    )
