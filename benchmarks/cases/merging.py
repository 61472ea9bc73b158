"""How fast are files joined, and read through dask?

Merging copies encoded chunks, so it is measured beside copying the same files with the system's
own call, both until the bytes are on the device. A sum over a dask array, by dask's threads, is
measured beside our own sequential read with the same sum.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import chunkstore as cs
from benchmarks.photographs import patches_file
from benchmarks.probe import run_apart
from benchmarks.result import Result, measure_in_turns, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.result import Settings

_OF_COPY, _OF_READING = 0.8, 0.9
_NUM_PARTS = 2


def write_parts(source: str, folder: str) -> list[str]:
    """Write files of whole chunks; return their paths."""
    values = np.load(source, mmap_mode="r")
    length = max(1, (1 << 20) // values[:1].nbytes)
    count = max(1, len(values) // length // _NUM_PARTS) * length
    paths = []
    for i in range(_NUM_PARTS):
        path = f"{folder}/part-{i}.zarr.zip"
        spec = cs.ArraySpec(values.dtype, values.shape[1:], codec="lz4", chunk_length=length)
        with cs.create(path, arrays={"x": spec}, overwrite=True) as writer:
            writer.append(x=values[:count])
        paths.append(path)
    return paths


def time_merge(parts: list[str], target: str) -> float:
    """Return the seconds of a merge."""
    merge = cs.merge
    started = time.perf_counter()
    merge(parts, target, progress=False)
    return time.perf_counter() - started


def time_copy(parts: list[str], target: str) -> float:
    """Return the seconds of copying the files, and of bringing them to the device."""
    started = time.perf_counter()
    for i, part in enumerate(parts):
        copy = f"{target}.{i}"
        shutil.copyfile(part, copy)
        with Path(copy).open("rb+") as file:
            os.fdatasync(file.fileno())
    seconds = time.perf_counter() - started
    for i in range(len(parts)):
        Path(f"{target}.{i}").unlink()
    return seconds


def time_dask(parts: list[str], target: str) -> float:
    """Return the seconds of a sum over a dask array."""
    del target
    with cs.open(parts[0]) as store:
        array = store["x"].to_dask()
        started = time.perf_counter()
        total = int(array.sum(dtype=np.uint64).compute(scheduler="threads"))
        seconds = time.perf_counter() - started
        if total != int(store["x"][:].sum(dtype=np.uint64)):
            raise AssertionError("the sum through dask is wrong")
    return seconds


def time_reading(parts: list[str], target: str) -> float:
    """Return the seconds of the same sum over our own sequential read."""
    del target
    with cs.open(parts[0]) as store:
        started = time.perf_counter()
        total = sum(int(chunk.sum(dtype=np.uint64)) for chunk in store["x"].iter_chunks())
        seconds = time.perf_counter() - started
        if not total:
            raise AssertionError("there is nothing to sum")
    return seconds


def run(settings: Settings) -> list[Result]:
    """Measure."""
    source = patches_file(settings.folder, max(1, settings.patches // 3))
    parts = write_parts(source, settings.folder)
    target = f"{settings.folder}/merged.zarr.zip"

    def side(function: Callable[..., float]) -> Callable[[], float]:
        def timed() -> float:
            try:
                return run_apart(function, parts=parts, target=target)
            finally:
                Path(target).unlink(missing_ok=True)
                # What one side leaves to write back must not meet the next one.
                os.sync()

        return timed

    measured = measure_in_turns(
        [side(time_merge), side(time_copy), side(time_dask), side(time_reading)],
        rounds=settings.rounds,
        has_warm_up=settings.has_warm_up,
    )
    nbytes = sum(_decoded_nbytes(part) for part in parts)
    about: dict[str, Any] = {
        "case": "merge",
        "conditions": "disk, warm page cache, photographs in lz4, chunks of 1 MiB",
        "direction": "at least",
    }
    for part in parts:
        Path(part).unlink()
    return [
        ratio(
            measured,
            ours=0,
            peer=1,
            limit=_OF_COPY,
            name="merge of two files / copying them, both with fdatasync",
            decoded_nbytes=nbytes,
            **about,
        ),
        ratio(
            measured,
            ours=2,
            peer=3,
            limit=_OF_READING,
            name="sum of to_dask() by threads / of our own sequential read",
            decoded_nbytes=nbytes // _NUM_PARTS,
            **about,
        ),
    ]


def _decoded_nbytes(path: str) -> int:
    with cs.open(path) as store:
        return store.nbytes
