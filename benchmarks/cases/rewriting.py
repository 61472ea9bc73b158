"""What does writing a file anew cost: shuffled, recompressed?

A shuffle in a fifth of the data's size is measured beside twice the time of writing the same file
anew in its own order, as it reads and writes everything twice; a quick one beside once that time.
How much is read, written and held in memory is told by the system. Nothing is verified, so that
each pass is counted once; all end with the bytes on the device.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import chunkstore as cs
from benchmarks.photographs import patches_file
from benchmarks.probe import run_apart
from benchmarks.result import MIB, Result, measure_in_turns, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.result import Settings

# Of the time of two passes, or one; of the data; of the memory and 64 MiB.
_OF_TWO_PASSES, _OF_ONE_PASS = 0.8, 0.75
_TRAFFIC, _PEAK = 1.05, 1.0
_MEMORY_PARTS = 5
_LEAST_MEMORY = 16 * MIB
_ALLOWANCE = 64 * MIB


def write_source(patches: str, path: str) -> None:
    """Write the patches in the order of their brightness, beside which they stand."""
    values = np.load(patches, mmap_mode="r")
    brightness = np.concatenate(
        [values[i : i + 1000].mean(axis=(1, 2, 3)) for i in range(0, len(values), 1000)]
    )
    order = np.argsort(brightness)
    with cs.create(path, codec="lz4", level=5, overwrite=True) as writer:
        for start in range(0, len(order), 1000):
            numbers = order[start : start + 1000]
            writer.append(x=values[np.sort(numbers)], y=brightness[np.sort(numbers)])


def time_anew(source: str, out: str, memory: int) -> float:
    """Return the seconds of writing the file anew in its own order."""
    del memory
    rewrite = cs.recompress
    started = time.perf_counter()
    rewrite(source, out, codec="lz4", level=5, verify=False, progress=False)
    return time.perf_counter() - started


def time_shuffle(source: str, out: str, memory: int, *, quick: bool = False) -> float:
    """Return the seconds of a shuffle."""
    shuffle = cs.shuffle
    started = time.perf_counter()
    shuffle(source, out, memory=memory, quick=quick, verify=False, progress=False)
    return time.perf_counter() - started


def time_quick(source: str, out: str, memory: int) -> float:
    """Return the seconds of a quick shuffle."""
    return time_shuffle(source, out, memory, quick=True)


def cost_of_shuffle(source: str, out: str, memory: int, *, quick: bool) -> dict[str, int]:
    """Return what a shuffle reads, writes and holds above what was held before, in bytes."""
    shuffle = cs.shuffle
    with cs.open(source) as store:
        _ = store["x"][:1]
    before, resident = _traffic(), _status("VmRSS")
    report = shuffle(source, out, memory=memory, quick=quick, verify=False, progress=False)
    after = _traffic()
    return {
        "read": after["rchar"] - before["rchar"],
        "written": after["wchar"] - before["wchar"],
        "peak": _status("VmHWM") - resident,
        "scratch": report.scratch_nbytes,
        "source": report.source_nbytes,
        "file": report.file_nbytes,
    }


def check(source: str, out: str) -> None:
    """Raise AssertionError unless a shuffled file holds each sample of its source once."""
    with cs.open(source) as before, cs.open(out) as after:
        numbers = after["source_index"][:]
        if not np.array_equal(np.sort(numbers), np.arange(before.num_samples)):
            raise AssertionError("the shuffled file does not hold each sample once")
        some = np.linspace(0, before.num_samples - 1, 50).astype(int)
        if not np.array_equal(after["x"][some], before["x"][numbers[some]]):
            raise AssertionError("the shuffled file holds other samples than its source")


def run(settings: Settings) -> list[Result]:
    """Measure."""
    folder = settings.folder
    source, out = f"{folder}/sorted.zarr.zip", f"{folder}/anew.zarr.zip"
    write_source(patches_file(folder, settings.patches), source)
    with cs.open(source) as store:
        nbytes = store.nbytes
    memory = max(nbytes // _MEMORY_PARTS, _LEAST_MEMORY)
    arguments: dict[str, Any] = {"source": source, "out": out, "memory": memory}

    def side(function: Callable[..., float]) -> Callable[[], float]:
        def timed() -> float:
            try:
                return float(run_apart(function, **arguments))
            finally:
                Path(out).unlink(missing_ok=True)
                # What one side leaves to write back must not meet the next one.
                os.sync()

        return timed

    measured = measure_in_turns(
        [side(time_shuffle), side(time_quick), side(time_anew)],
        rounds=settings.rounds,
        has_warm_up=settings.has_warm_up,
    )
    costs = {}
    for quick in (False, True):
        costs[quick] = run_apart(cost_of_shuffle, quick=quick, **arguments)
        check(source, out)
        Path(out).unlink()
    Path(source).unlink()
    about: dict[str, Any] = {
        "case": "rewrite",
        "conditions": "disk, warm page cache, photographs in lz4 sorted by brightness, memory a "
        f"fifth of the data ({memory // MIB} MiB), not verified",
        "decoded_nbytes": nbytes,
    }
    twice = [(*times, 2 * times[2]) for times in measured]
    return [
        ratio(
            twice,
            ours=0,
            peer=3,
            direction="at least",
            limit=_OF_TWO_PASSES,
            name="exact shuffle / writing the file anew twice",
            **about,
        ),
        ratio(
            measured,
            ours=1,
            peer=2,
            direction="at least",
            limit=_OF_ONE_PASS,
            name="quick shuffle / writing the file anew once",
            **about,
        ),
        *_traffic_results(costs, memory, about),
    ]


def _traffic_results(
    costs: dict[bool, dict[str, int]], memory: int, about: dict[str, Any]
) -> list[Result]:
    results = []
    for quick, cost in costs.items():
        name = "quick" if quick else "exact"
        for what, ends in (("read", "source"), ("written", "file")):
            # Through the piles, and once the file itself.
            expected = cost["scratch"] + cost[ends]
            results.append(
                Result(
                    name=f"{name} shuffle: bytes {what} / size of the file and of the piles",
                    values=[cost[what] / expected],
                    direction="at most",
                    limit=_TRAFFIC,
                    details=cost,
                    **about,
                )
            )
        results.append(
            Result(
                name=f"{name} shuffle: peak of the memory / what is declared and 64 MiB",
                values=[cost["peak"] / (memory + _ALLOWANCE)],
                direction="at most",
                limit=_PEAK,
                details=cost,
                **about,
            )
        )
    return results


def _traffic() -> dict[str, int]:
    """Return what this process has read and written, the page cache included."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}


def _status(field: str) -> int:
    """Return a size that the system tells of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))
