"""How fast is a bcolz folder brought over, and in how much memory?

The import is measured beside the slower of its two halves alone: reading and decoding every chunk
of the folder, and encoding and writing the same samples from memory. Each uses all cores. No bcolz
is needed: the folders are written here, as it writes them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numcodecs import blosc

import chunkstore as cs
from benchmarks.imports import beside_its_halves
from benchmarks.photographs import patches_file
from benchmarks.probe import run_apart
from benchmarks.result import MIB, Result
from benchmarks.values import check_equal
from chunkstore import system
from chunkstore.store.striping import for_each

if TYPE_CHECKING:
    from benchmarks.result import Settings

# Decoded bytes of a chunk, as bcolz chooses them for arrays of this size.
_CHUNK_NBYTES = 512 << 10
_FEATURES_SHAPE = (2048,)
# So many times the folder that is timed, for the memory: what grows with the source would show.
_MEMORY_TIMES = 4
_MOST_TIMES = 1.2
_MOST_NBYTES = 256 << 20


def features(count: int) -> np.ndarray:
    """Return sparse features, half of them zero."""
    rng = np.random.Generator(np.random.Philox(0))
    return np.maximum(rng.standard_normal((count, *_FEATURES_SHAPE), np.float32), 0)


def write_folder(folder: str, source: str, codec: str) -> None:
    """Write a carray with the samples of an ``.npy`` file, at level 5 with the byte shuffle."""
    values = np.load(source, mmap_mode="r")
    length = max(1, _CHUNK_NBYTES // values[:1].nbytes)
    for name in ("meta", "data"):
        Path(folder, name).mkdir(parents=True)
    for i, start in enumerate(range(0, len(values), length)):
        chunk = np.ascontiguousarray(values[start : start + length])
        frame = blosc.compress(chunk, codec.encode(), 5, 1)
        head = struct.pack("<4sB3xq", b"blpk", 1, 1)
        Path(folder, "data", f"__{i}.blp").write_bytes(head + frame)
    _write_sizes(folder, values.shape, values.nbytes)
    storage = {
        "dtype": values.dtype.str,
        "cparams": {"clevel": 5, "shuffle": 1, "cname": codec, "quantize": 0},
        "chunklen": length,
        "expectedlen": len(values),
        "dflt": 0,
    }
    Path(folder, "meta", "storage").write_text(json.dumps(storage))


def repeat_folder(folder: str, times: int) -> int:
    """Link the full chunks of a carray again and again; return the decoded bytes of all."""
    storage = json.loads(Path(folder, "meta", "storage").read_text())
    shape = json.loads(Path(folder, "meta", "sizes").read_text())["shape"]
    length = storage["chunklen"]
    num_full = shape[0] // length
    for i in range(num_full, times * num_full):
        target = Path(folder, "data", f"__{i}.blp")
        target.unlink(missing_ok=True)
        os.link(Path(folder, "data", f"__{i % num_full}.blp"), target)
    shape[0] = times * num_full * length
    nbytes = int(np.prod(shape)) * np.dtype(storage["dtype"]).itemsize
    _write_sizes(folder, tuple(shape), nbytes)
    return nbytes


def _write_sizes(folder: str, shape: tuple[int, ...], nbytes: int) -> None:
    sizes = {"shape": list(shape), "nbytes": nbytes, "cbytes": 0}
    Path(folder, "meta", "sizes").write_text(json.dumps(sizes))


def time_import(folder: str, source: str, target: str, *, verify: bool) -> float:
    """Return the seconds of an import."""
    # Modules are imported on access, which is not timed.
    import_bcolz = cs.import_bcolz
    started = time.perf_counter()
    import_bcolz({"x": folder}, target, verify=verify, progress=False)
    seconds = time.perf_counter() - started
    with cs.open(target) as store:
        check_equal(store["x"][...], np.load(source, mmap_mode="r"), "the import")
    return seconds


def time_reading(folder: str, source: str, target: str) -> float:
    """Return the seconds of reading and decoding every chunk into scratch memory."""
    del target
    last: dict[int, np.ndarray] = {}
    open_bcolz = cs.open_bcolz
    started = time.perf_counter()
    with open_bcolz(folder, progress=False) as store:
        array = store[""]

        def decode(reader: Any, chunk_index: int) -> None:
            reader.read_chunk_into(chunk_index, scratch[reader])
            if chunk_index == array.num_chunks - 1:
                last[0] = scratch[reader].copy()

        scratch: dict[Any, np.ndarray] = {}

        @contextlib.contextmanager
        def opened() -> Any:
            reader = array.open_reader()
            scratch[reader] = np.empty(array.chunk_shape, array.dtype)
            with contextlib.closing(reader):
                yield reader

        for_each(
            range(array.num_chunks),
            decode,
            open_tool=opened,
            threads=system.calls.available_cores(),
            name="benchmark-read",
        )
        seconds = time.perf_counter() - started
        start = (array.num_chunks - 1) * array.chunk_length
        values = np.load(source, mmap_mode="r")[start:]
        check_equal(last[0][: len(values)], values, "reading alone")
    return seconds


def time_writing(folder: str, source: str, target: str) -> float:
    """Return the seconds of chunkstore.save from memory."""
    del folder
    values, save = np.load(source), cs.save
    started = time.perf_counter()
    save(target, {"x": values})
    return time.perf_counter() - started


def measure_memory(folder: str, target: str) -> int:
    """Return the bytes by which the peak of an import is above its start."""
    import_bcolz = cs.import_bcolz
    before = _status("VmRSS")
    import_bcolz({"x": folder}, target, progress=False)
    return _status("VmHWM") - before


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) << 10


def run(settings: Settings) -> list[Result]:
    """Measure."""
    # Some 200 MiB of each.
    count = max(1, settings.patches // 3)
    patches = patches_file(settings.folder, count)
    features_path = f"{settings.folder}/features-{count}.npy"
    np.save(features_path, features(count))
    results = []
    for what, source in (("photographs", patches), ("features", features_path)):
        for codec in dict.fromkeys(codec for codec, _ in settings.codecs):
            folder = f"{settings.folder}/{what}-{codec}.bc"
            try:
                write_folder(folder, source, codec)
                results += _compare(settings, f"{what} in {codec}", folder, source)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return results


def _compare(settings: Settings, what: str, folder: str, source: str) -> list[Result]:
    target = f"{settings.folder}/imported.zarr.zip"
    about: dict[str, Any] = {
        "case": "bcolz",
        "conditions": "disk, warm page cache, chunks of 512 KiB, level 5, zstd-1 written",
        "decoded_nbytes": int(np.load(source, mmap_mode="r").nbytes),
    }
    results = beside_its_halves(
        settings,
        what,
        importing=time_import,
        reading=time_reading,
        writing=time_writing,
        arguments={"folder": folder, "source": source, "target": target},
        direction="at most",
        limit=_MOST_TIMES,
        **about,
    )
    nbytes = repeat_folder(folder, _MEMORY_TIMES)
    try:
        peak = run_apart(measure_memory, folder=folder, target=target)
    finally:
        Path(target).unlink(missing_ok=True)
    results.append(
        Result(
            values=[peak / MIB],
            direction="at most",
            limit=_MOST_NBYTES / MIB,
            name=f"peak memory of an import of {what} above its start",
            unit="MiB",
            **about | {"decoded_nbytes": nbytes},
        )
    )
    return results
