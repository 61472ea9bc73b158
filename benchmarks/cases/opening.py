"""How long does a file of a million chunks take to open, and how much memory?

Beside the standard library's zipfile, which makes an object for every entry. Two files: one as
written, and one whose entries lie beyond 4 GiB, as those of real chunks would (a hole takes the
place of the first bytes).
"""

from __future__ import annotations

import shutil
import statistics
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import chunkstore as cs
from benchmarks.probe import run_apart
from benchmarks.result import Result, measure_in_turns, ratio
from benchmarks.values import WrongValuesError, check_equal
from chunkstore.container import directory
from chunkstore.container.reader import Container
from chunkstore.container.writer import ContainerWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.result import Settings

_ARRAY = "images"
# Axes as images have them: the names are as long as theirs.
_SAMPLE_SHAPE = (1, 1, 1)
_HOLE_NBYTES = 5 << 30
_METADATA_ENTRIES = 2


def expected_samples(count: int) -> np.ndarray:
    """Return what a file of so many chunks holds: one sample in each."""
    return (np.arange(count) % 251).astype(np.uint8).reshape(-1, *_SAMPLE_SHAPE)


def many_chunks_file(folder: str, count: int) -> str:
    """Return a file with so many chunks, written when it is not there yet."""
    path = f"{folder}/chunks-{count}.zarr.zip"
    if not Path(path).exists():
        spec = cs.ArraySpec("u1", _SAMPLE_SHAPE, chunk_length=1, codec="raw")
        samples = expected_samples(count)
        with cs.create(path, arrays={_ARRAY: spec}, overwrite=True) as writer:
            writer.append(**{_ARRAY: samples})
    return path


def shifted_file(path: str) -> str:
    """Return a copy of a file with its chunks moved up by 5 GiB, made when it is not there yet."""
    shifted = path.replace(".zarr.zip", "-beyond-4GiB.zarr.zip")
    if Path(shifted).exists():
        return shifted
    unfinished = shifted + ".unfinished"
    Path(unfinished).unlink(missing_ok=True)
    container = Container(path)
    count = container.checkpoint.num_records
    writer = ContainerWriter(unfinished, create=True)
    writer.start_at(_HOLE_NBYTES + container.checkpoint.directory_start)

    def records() -> Iterator[bytes]:
        for part in container.iter_records(in_order=True):
            moved = directory.build_records(
                part.names, part.offset + _HOLE_NBYTES, part.nbytes, part.crc
            )
            yield moved

    try:
        with Path(path).open("rb") as source, Path(unfinished).open("r+b") as target:
            target.seek(_HOLE_NBYTES)
            shutil.copyfileobj(source, target, 1 << 22)
            target.truncate(_HOLE_NBYTES + container.checkpoint.directory_start)
        writer.checkpoint(records(), count)
    finally:
        writer.close()
        container.close()
    Path(unfinished).rename(shifted)
    return shifted


def measure_open(path: str, warm_up: str, count: int, *, ours: bool) -> dict[str, float]:
    """Return seconds and bytes a chunk, resident and at the peak, of opening a file.

    A small file is opened first: what a first call imports or allocates is no matter of chunks.
    """
    opener: Callable[[str], Any] = cs.open if ours else zipfile.ZipFile
    opener(warm_up).close()
    before, _ = resident_nbytes(reset=True)
    started = time.perf_counter()
    opened = opener(path)
    seconds = time.perf_counter() - started
    after, peak = resident_nbytes()
    _check_opened(opened, count)
    opened.close()
    return {
        "seconds": seconds,
        "resident": (after - before) / count,
        "peak": (peak - before) / count,
    }


def _check_opened(opened: Any, count: int) -> None:
    places = np.random.default_rng(count).integers(0, count, 20)
    expected = expected_samples(count)[places]
    if isinstance(opened, zipfile.ZipFile):
        if len(opened.namelist()) != count + _METADATA_ENTRIES:
            raise WrongValuesError(f"zipfile lists {len(opened.namelist())} entries")
        found = [np.frombuffer(opened.read(f"{_ARRAY}/c/{i}/0/0/0"), np.uint8) for i in places]
        check_equal(np.array(found).reshape(expected.shape), expected, "zipfile")
    else:
        array = opened[_ARRAY]
        if array.num_chunks != count:
            raise WrongValuesError(f"{array.num_chunks} chunks of {count}")
        check_equal(array[places.tolist()], expected, "chunkstore")


def resident_nbytes(*, reset: bool = False) -> tuple[int, int]:
    """Return this process's resident memory and its peak, in bytes (Linux).

    Parameters
    ----------
    reset
        Let the peak begin anew.
    """
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return tuple(1024 * int(fields[name].split()[0]) for name in ("VmRSS", "VmHWM"))


def run(settings: Settings) -> list[Result]:
    """Measure."""
    plain = many_chunks_file(settings.folder, settings.chunks)
    warm_up = many_chunks_file(settings.folder, 100)
    results = []
    for path, offsets in ((plain, "below 4 GiB"), (shifted_file(plain), "beyond 4 GiB")):
        taken: list[dict[str, float]] = []

        def seconds(
            *, ours: bool, path: str = path, taken: list[dict[str, float]] = taken
        ) -> float:
            measured = run_apart(
                measure_open, path=path, warm_up=warm_up, count=settings.chunks, ours=ours
            )
            taken.append(measured | {"ours": ours})
            return measured["seconds"]

        measured = measure_in_turns(
            [lambda s=seconds: s(ours=True), lambda s=seconds: s(ours=False)],
            rounds=settings.rounds,
            has_warm_up=settings.has_warm_up,
        )
        memory = [one for one in taken if one["ours"]][-settings.rounds :]
        conditions = f"warm page cache, a fresh process each, offsets {offsets}"
        details = {
            "chunks": settings.chunks,
            "zipfile_peak_nbytes_a_chunk": statistics.median(
                one["peak"] for one in taken if not one["ours"]
            ),
        }
        results.append(
            ratio(
                measured,
                ours=0,
                peer=1,
                direction="at most",
                limit=0.1,
                case="open",
                name=f"open {settings.chunks} chunks, {offsets} / zipfile.ZipFile",
                conditions=conditions,
                details=details,
            )
        )
        results += [
            Result(
                case="open",
                name=f"{what} memory a chunk, {offsets}",
                values=[one[key] for one in memory],
                direction="at most",
                limit=40.0,
                conditions=conditions,
                unit="bytes",
                details=details,
            )
            for key, what in (("resident", "resident"), ("peak", "peak"))
        ]
    return results
