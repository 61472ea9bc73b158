"""How fast do image files come over, beside decoding and resizing them alone?

Both sides use all cores, and the same decoder: what is measured is what an import adds, which is
looking at all files first, encoding, writing, and, in a number of its own, comparing the new file
with what was decoded. The files are JPEGs of two sizes, and one set of PNGs.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import chunkstore as cs
from benchmarks.photographs import cut_crops
from benchmarks.probe import run_apart
from benchmarks.result import MIB, Result, measure_in_turns, ratio
from benchmarks.values import check_equal
from chunkstore import system

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.result import Settings

_LEAST_SPEED = 0.9
_SIZE = (224, 224)
_CROP = (300, 400, 3)
# A large image is made of so many crops along each side.
_TILES = 5
# Files of which one thread or process decodes some before it takes others.
_BLOCK = 16
_LINKS = 4
_MEMORY_TIMES = 3
_MOST_NBYTES = 256 << 20


def write_files(folder: str, count: int, *, suffix: str, tiles: int) -> None:
    """Write photographs, each put together from crops."""
    from PIL import Image

    Path(folder).mkdir()
    for number in range(count):
        crops = cut_crops(tiles * tiles, _CROP, start=number)
        rows = [np.concatenate(crops[i * tiles : (i + 1) * tiles], axis=1) for i in range(tiles)]
        options = {"quality": 90} if suffix == "jpg" else {"compress_level": 6}
        Image.fromarray(np.concatenate(rows)).save(f"{folder}/{number:05d}.{suffix}", **options)
    link_files(folder, _LINKS)


def link_files(folder: str, times: int) -> None:
    """Let each file stand there so many times: runs are longer, and disks no fuller."""
    for path in sorted(Path(folder).iterdir()):
        for number in range(1, times):
            os.link(path, path.with_name(f"{path.stem}-{times}-{number}{path.suffix}"))


def time_import(folder: str, target: str, codec: str, *, verify: bool) -> float:
    """Return the seconds of an import."""
    # Modules are imported on access, which is not timed.
    import_images = cs.import_images
    started = time.perf_counter()
    import_images(folder, target, size=_SIZE, codec=codec, verify=verify, progress=False)
    seconds = time.perf_counter() - started
    with cs.open(target) as store:
        names = store["name"][...].tolist()
        path = f"{folder}/{names[-1]}"
        check_equal(store["x"][-1], decode_block([path])[0], "the last image")
    return seconds


def time_decoding(folder: str, target: str, codec: str) -> float:
    """Return the seconds of decoding and resizing by threads, the results in scratch memory."""
    del target, codec
    blocks = _blocks(folder)
    decode_block(blocks[0][:1])
    started = time.perf_counter()
    with ThreadPoolExecutor(system.calls.available_cores()) as pool:
        for _ in pool.map(decode_block, blocks):
            pass
    return time.perf_counter() - started


def time_processes(folder: str, target: str, codec: str) -> float:
    """Return the seconds of the same by processes that were started before and send pixels back."""
    del target, codec
    blocks = _blocks(folder)
    cores = system.calls.available_cores()
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(decode_block, [blocks[0][:1]] * (4 * cores)))
        started = time.perf_counter()
        for _ in pool.map(decode_block, blocks):
            pass
        return time.perf_counter() - started


def decode_block(paths: Sequence[str]) -> np.ndarray:
    """Return some files, decoded and resized as an import does."""
    from PIL import Image

    from chunkstore.importers.images.conversion import Conversion
    from chunkstore.importers.images.decoding import decode_image_into
    from chunkstore.importers.images.geometry import Geometry

    conversion, geometry = Conversion(), Geometry(size=_SIZE)
    out = np.empty((len(paths), *_SIZE, 3), np.uint8)
    for sample, path in zip(out, paths, strict=True):
        with Image.open(path) as image:
            size = image.height, image.width
        decode_image_into(path, sample, conversion=conversion, geometry=geometry, size=size)
    return out


def measure_memory(folder: str, target: str) -> int:
    """Return the bytes by which the peak of an import is above its start."""
    import_images = cs.import_images
    before = _status("VmRSS")
    import_images(folder, target, size=_SIZE, progress=False)
    return _status("VmHWM") - before


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) << 10


def _blocks(folder: str) -> list[list[str]]:
    paths = [str(path) for path in sorted(Path(folder).iterdir())]
    return [paths[start : start + _BLOCK] for start in range(0, len(paths), _BLOCK)]


def run(settings: Settings) -> list[Result]:
    """Measure."""
    count = max(16, settings.patches // 150)
    results = []
    for what, suffix, tiles, times, codecs in (
        ("JPEGs of 400x300", "jpg", 1, count, ("zstd", "lz4")),
        ("JPEGs of 2000x1500", "jpg", _TILES, max(4, count // 8), ("zstd",)),
        ("PNGs of 400x300", "png", 1, count // 2, ("zstd",)),
    ):
        folder = f"{settings.folder}/{suffix}-{tiles}"
        write_files(folder, times, suffix=suffix, tiles=tiles)
        try:
            results += _compare(settings, what, folder, codecs=codecs)
            if tiles == _TILES:
                results.append(_memory(settings, what, folder))
        finally:
            _remove(folder)
    return results


def _compare(settings: Settings, what: str, folder: str, *, codecs: Sequence[str]) -> list[Result]:
    target = f"{settings.folder}/imported.zarr.zip"

    def timed(function: Callable[..., float], **options: Any) -> float:
        try:
            return run_apart(function, folder=folder, target=target, **options)
        finally:
            Path(target).unlink(missing_ok=True)
            # What one side leaves to write back must not meet the next one.
            os.sync()

    results = []
    for codec in codecs:
        measured = measure_in_turns(
            [
                partial(timed, time_import, codec=codec, verify=False),
                partial(timed, time_import, codec=codec, verify=True),
                partial(timed, time_decoding, codec=codec),
                partial(timed, time_processes, codec=codec),
            ],
            rounds=settings.rounds,
            has_warm_up=settings.has_warm_up,
        )
        about: dict[str, Any] = {
            "case": "import-images",
            "conditions": f"disk, warm page cache, to {_SIZE[0]}x{_SIZE[1]}, {codec} level 1",
            "decoded_nbytes": len(list(Path(folder).iterdir())) * _SIZE[0] * _SIZE[1] * 3,
        }
        for ours, peer, name, limit in (
            (0, 2, f"import of {what} / decoding and resizing alone", _LEAST_SPEED),
            (1, 2, f"import and comparison of {what} / decoding and resizing alone", None),
            (2, 3, f"{what}: decoding by threads / by processes", None),
        ):
            if ours == 2 and codec != codecs[0]:
                continue
            results.append(
                ratio(
                    measured,
                    ours=ours,
                    peer=peer,
                    direction="at least",
                    limit=limit,
                    name=f"{name}, {codec}" if ours < 2 else name,
                    **about,
                )
            )
    return results


def _memory(settings: Settings, what: str, folder: str) -> Result:
    """Return the peak of an import of the files, each several times."""
    target = f"{settings.folder}/imported.zarr.zip"
    link_files(folder, _MEMORY_TIMES)
    try:
        peak = run_apart(measure_memory, folder=folder, target=target)
    finally:
        Path(target).unlink(missing_ok=True)
    return Result(
        case="import-images",
        name=f"peak memory of an import of {what} above its start",
        values=[peak / MIB],
        direction="at most",
        limit=_MOST_NBYTES / MIB,
        conditions=f"to {_SIZE[0]}x{_SIZE[1]}, zstd level 1",
        unit="MiB",
    )


def _remove(folder: str) -> None:
    for path in Path(folder).iterdir():
        path.unlink()
    Path(folder).rmdir()
