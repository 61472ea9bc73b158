"""Does a file of ten times the memory load within the declared memory, and start without a scan?"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chunkstore as cs
from benchmarks import epochs, page_cache
from benchmarks.cgroup import memory_group
from benchmarks.data_sets import make_task, write_source
from benchmarks.peers import chunkstore_loader
from benchmarks.probe import EndedError, Session, run_apart
from benchmarks.result import MIB, Result

if TYPE_CHECKING:
    from benchmarks.cgroup import MemoryGroup
    from benchmarks.data_sets import DataSet
    from benchmarks.peers.record import Task
    from benchmarks.result import Settings

# So many times the data of the other runs.
_TIMES = 4
_CAP = 1 / 10
# Of the decoded bytes.
_MEMORY = 1 / 32
_LEAST_MEMORY_NBYTES, _LEAST_CAP_NBYTES = 8 * MIB, 16 * MIB
_PEAK_SLACK_NBYTES, _PEAK_CHUNK_NBYTES = 64 * MIB, 64
# Directory and metadata; an entry of the directory takes about so much.
_OPENING_NBYTES, _OPENING_CHUNK_NBYTES = MIB, 128


def run(data_set: DataSet, folder: str, settings: Settings, *, is_capped: bool) -> list[Result]:
    """Measure one data set, with files in a folder."""
    samples = data_set.count_samples(settings.load_nbytes * _TIMES)
    nbytes = samples * data_set.sample_nbytes
    source = write_source(data_set, folder, samples)
    memory = max(int(nbytes * _MEMORY), _LEAST_MEMORY_NBYTES)
    task = make_task(data_set, folder, samples, memory=memory)
    run_apart(
        epochs.write,
        module=chunkstore_loader.__name__,
        task=dataclasses.asdict(task),
        paths=source.paths,
    )
    with cs.open(task.store) as store:
        chunks = sum(store[form.name].num_chunks for form in data_set.arrays)
        encoded = sum(store[form.name].encoded_nbytes for form in data_set.arrays)
    cap = max(int(encoded * _CAP), _LEAST_CAP_NBYTES) if is_capped else None
    rounds = min(settings.rounds, 3)
    measured = [_measure(task, dataclasses.asdict(source), cap) for _ in range(rounds)]
    about = f"{encoded / MIB:.0f} MiB in {chunks} chunks, memory {memory / MIB:.0f} MiB"
    capped = "no cap" if cap is None else f"{cap / MIB:.0f} MiB for the process above its imports"
    slack = _PEAK_SLACK_NBYTES + chunks * _PEAK_CHUNK_NBYTES
    window = encoded * memory / nbytes
    opening = _OPENING_NBYTES + chunks * _OPENING_CHUNK_NBYTES
    common = {"case": "load", "direction": "at most", "unit": "MiB"}
    return [
        Result(
            name=f"{data_set.name}: peak memory above imports",
            values=[one["peak"] / MIB for one in measured],
            limit=(memory + slack) / MIB,
            conditions=f"{about}; {capped}; first epoch, page cache emptied",
            **common,
        ),
        Result(
            name=f"{data_set.name}: bytes read until the first batch",
            values=[one["first"]["called_nbytes"] / MIB for one in measured],
            limit=(window + opening) / MIB,
            conditions=f"{about}; fresh process, page cache emptied",
            details={"seconds": [one["first"]["seconds"] for one in measured]},
            **common,
        ),
    ]


def _measure(task: Task, source: dict[str, Any], cap: int | None) -> dict[str, Any]:
    """Return bytes until the first batch, and the peak of an epoch, of a process each."""
    given = {"module": chunkstore_loader.__name__, "task": dataclasses.asdict(task)}
    files = [Path(task.store)]
    page_cache.drop(files)
    with Session() as session:
        session.call(epochs.prepare, module=given["module"])
        first = session.call(epochs.first_batch, **given)
    page_cache.drop(files)
    with contextlib.ExitStack() as stack:
        group = None if cap is None else stack.enter_context(memory_group("large"))
        session = stack.enter_context(Session())
        if group is not None:
            group.add(session.process)
        imported = session.call(epochs.prepare, module=given["module"])
        if group is not None:
            group.limit(group.usage_nbytes() + cap)
        peak = _peak(session, group, given, source)
    return {"first": first, "peak": peak - imported["resident_nbytes"]}


def _peak(
    session: Session, group: MemoryGroup | None, given: dict[str, Any], source: dict[str, Any]
) -> float:
    """Return the peak of an epoch; infinite where the cap ended the process."""
    try:
        return session.call(epochs.measure, source=source, skip_epochs=0, **given)["peak_nbytes"]
    except EndedError:
        if group is not None and group.was_killed():
            return float("inf")
        raise
