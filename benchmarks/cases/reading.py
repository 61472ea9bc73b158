"""What do a slice of one chunk and the CRC-32 cost beside the bare work?

The bare work on a chunk is: pread into a buffer that is there, CRC-32, guard of the Blosc header,
decode into an array that is there. A slice through `Array` adds finding the chunk, comparing its
local header, and new memory for the caller.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numcodecs import blosc

import chunkstore as cs
from benchmarks.photographs import PATCH_SHAPE, patches_file
from benchmarks.probe import run_apart
from benchmarks.result import MIB, Result, ratio
from benchmarks.values import check_equal
from chunkstore.container.checksum import crc32
from chunkstore.container.layout import LOCAL
from chunkstore.format.blosc_frame import check_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.result import Settings

_SEED = 3


def stored_patches(
    folder: str, source: str, count: int, *, codec: str, level: int, chunk_nbytes: int
) -> str:
    """Return a file with patches in chunks of some size, written when it is not there yet."""
    path = f"{folder}/{codec}-{level}-{chunk_nbytes}-{count}.zarr.zip"
    if not Path(path).exists():
        patches = np.load(source, mmap_mode="r")[:count]
        cs.save(
            path,
            {"x": patches},
            codec=codec,
            level=level,
            chunk_nbytes=chunk_nbytes,
            overwrite=True,
        )
    return path


def compare_slices(path: str, source: str, count: int, reads: int, rounds: int) -> Any:
    """Return the times of a slice and of the bare work on the same chunk, round by round.

    A slice is the half of a chunk, and begins at a random place in it. The two sides alternate
    read by read.
    """
    patches = np.load(source, mmap_mode="r")[:count]
    rng = np.random.default_rng(_SEED)
    with cs.open(path) as store, Path(path).open("rb") as file:
        x = store["x"]
        length = x.chunk_length
        width = max(1, length // 2)
        chunks = rng.integers(0, len(x) // length, reads)
        starts = (chunks * length + rng.integers(0, length - width + 1, reads)).tolist()
        names = [f"x/c/{i}/0/0/0".encode() for i in chunks]
        _, places = x._node.table.stored()
        where = [
            (
                int(places.offset[i]) + LOCAL.size + len(name),
                int(places.encoded_nbytes[i]),
                int(places.crc[i]),
            )
            for i, name in zip(chunks.tolist(), names, strict=True)
        ]
        decoded = np.empty((length, *PATCH_SHAPE), np.uint8)
        buffer = memoryview(bytearray(int(places.encoded_nbytes.max())))
        descriptor = file.fileno()

        def bare_read(place: tuple[int, int, int]) -> None:
            offset, nbytes, crc = place
            frame = buffer[:nbytes]
            assert os.preadv(descriptor, [frame], offset) == nbytes
            assert crc32(frame) == crc
            check_frame(frame, decoded.nbytes)
            blosc.decompress(frame, decoded)

        def time_pair(number: int, place: tuple[int, int, int], start: int) -> tuple[float, float]:
            times = [0.0, 0.0]
            for side in (0, 1) if number % 2 else (1, 0):
                started = time.perf_counter()
                if side:
                    bare_read(place)
                else:
                    x[start : start + width]
                times[side] = time.perf_counter() - started
            return times[0], times[1]

        for chunk, place, start in zip(chunks.tolist(), where, starts, strict=True):
            bare_read(place)
            check_equal(decoded, patches[chunk * length : (chunk + 1) * length], "bare read")
            check_equal(x[start : start + width], patches[start : start + width], "slice")
        measured = []
        for _ in range(rounds):
            pairs = [time_pair(i, *one) for i, one in enumerate(zip(where, starts, strict=True))]
            measured.append(_medians(pairs))
    return {"measured": measured, "nbytes": decoded.nbytes}


def compare_checks(path: str, source: str, count: int, rounds: int) -> Any:
    """Return the times of a chunk with and without its checksum, over the whole file.

    The two sides alternate chunk by chunk, and each reads every chunk once in a round.
    """
    patches = np.load(source, mmap_mode="r")[:count]
    with cs.open(path) as store:
        x = store["x"]
        out = np.empty((x.chunk_length, *PATCH_SHAPE), np.uint8)

        for check in (True, False):
            reader = x.open_reader(check=check)
            for chunk_index in range(x.num_chunks):
                start = chunk_index * x.chunk_length
                expected = patches[start : start + x.chunk_length]
                reader.read_chunk_into(chunk_index, out)
                check_equal(out[: len(expected)], expected, f"check={check}")
            reader.close()
        measured = []
        for _ in range(rounds):
            readers = [x.open_reader(check=check) for check in (True, False)]
            pairs = []
            for number in range(x.num_chunks):
                times = [0.0, 0.0]
                for side in (0, 1) if number % 2 else (1, 0):
                    # Half the file apart: neither side finds its chunk in the processor's cache.
                    chunk_index = (number + side * (x.num_chunks // 2)) % x.num_chunks
                    started = time.perf_counter()
                    readers[side].read_chunk_into(chunk_index, out)
                    times[side] = time.perf_counter() - started
                pairs.append((times[0], times[1]))
            measured.append(_medians(pairs))
            for reader in readers:
                reader.close()
    return {"measured": measured, "nbytes": out.nbytes}


def _medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the median time of a read on either side: what else the machine did falls out."""
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def run_slices(settings: Settings) -> list[Result]:
    """Measure slices of one chunk."""
    results = []
    for chunk_nbytes, size in ((64 << 10, "64 KiB"), (MIB, "1 MiB")):
        results += _compare_codecs(
            settings,
            lambda **where: run_apart(compare_slices, reads=settings.reads, **where),
            count=min(settings.patches, 8000),
            chunk_nbytes=chunk_nbytes,
            case="slice",
            name=f"half a chunk of {size}, {{codec}} / bare work",
            direction="at most",
            limit=1.3,
            conditions="disk, warm page cache",
        )
    return results


def run_checks(settings: Settings) -> list[Result]:
    """Measure the CRC-32 on against off."""
    return _compare_codecs(
        settings,
        lambda **where: run_apart(compare_checks, **where),
        count=settings.patches,
        chunk_nbytes=MIB,
        case="check",
        name="whole file {codec}, CRC-32 on / off",
        direction="at least",
        limit=0.97,
        conditions="disk, warm page cache, one thread",
    )


def _compare_codecs(
    settings: Settings,
    compare: Callable[..., Any],
    *,
    count: int,
    chunk_nbytes: int,
    name: str,
    **promise: Any,
) -> list[Result]:
    """Return the ratio of two sides for a file of each codec.

    Parameters
    ----------
    settings
        Codecs and rounds.
    compare
        Called with ``path``, ``source``, ``count`` and ``rounds``; returns both sides' times.
    count, chunk_nbytes
        Patches of a file, and the bytes of its chunks.
    name
        Of the result, with a place for the codec.
    **promise
        Further fields of the result.
    """
    source = patches_file(settings.folder, settings.patches)
    results = []
    for codec, level in settings.codecs:
        path = stored_patches(
            settings.folder, source, count, codec=codec, level=level, chunk_nbytes=chunk_nbytes
        )
        found = compare(path=path, source=source, count=count, rounds=3 * settings.rounds)
        results.append(
            ratio(
                found["measured"],
                ours=0,
                peer=1,
                name=name.format(codec=f"{codec}-{level}"),
                decoded_nbytes=found["nbytes"],
                **promise,
            )
        )
    return results
