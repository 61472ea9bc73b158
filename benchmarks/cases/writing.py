"""How fast are photographs written, beside encoding alone and beside zarr-python?

Ours includes creating the file, choosing the shuffle, the CRC-32, fdatasync and the rename.
Encoding alone makes the same calls of numcodecs.blosc in a pool of threads, one for each core,
and writes the bytes to /dev/null. zarr-python writes the same chunks with the same codec into a
ZipStore, and does not sync.
"""

from __future__ import annotations

import contextlib
import os
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numcodecs import blosc

import chunkstore as cs
from benchmarks.photographs import PATCH_SHAPE, patches_file
from benchmarks.probe import run_apart
from benchmarks.result import measure_in_turns, ratio
from benchmarks.values import check_equal
from chunkstore import system

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.result import Result, Settings

# Samples of one call of Writer.append: some 3 MiB, as an importer would do.
_APPEND_LENGTH = 256
_SHUFFLES = {"none": 0, "byte": 1, "bit": 2}


def chosen_layout(source: str, codec: str, level: int) -> dict[str, Any]:
    """Return chunk length and shuffle that chunkstore chooses for the patches."""
    patches = np.load(source, mmap_mode="r")
    path = source + f".{codec}.layout"
    cs.save(path, {"x": patches[:2000]}, codec=codec, level=level, overwrite=True)
    with cs.open(path) as store:
        layout = {
            "chunk_length": store["x"].chunk_length,
            "shuffle": store["x"].codec.split()[-1],
        }
    Path(path).unlink()
    return layout


def time_save(source: str, target: str, codec: str, level: int, layout: dict[str, Any]) -> float:
    """Return the seconds of chunkstore.save."""
    patches = np.load(source)
    save = cs.save  # imported on access, which is not timed
    started = time.perf_counter()
    save(target, {"x": patches}, codec=codec, level=level)
    seconds = time.perf_counter() - started
    _check_store(target, patches, layout)
    return seconds


def time_append(source: str, target: str, codec: str, level: int, layout: dict[str, Any]) -> float:
    """Return the seconds of a Writer to which the patches are appended bit by bit."""
    patches = np.load(source)
    create = cs.create  # imported on access, which is not timed
    started = time.perf_counter()
    with create(target, codec=codec, level=level) as writer:
        for start in range(0, len(patches), _APPEND_LENGTH):
            writer.append(x=patches[start : start + _APPEND_LENGTH])
    seconds = time.perf_counter() - started
    _check_store(target, patches, layout)
    return seconds


def time_encoding(
    source: str, target: str, codec: str, level: int, layout: dict[str, Any]
) -> float:
    """Return the seconds of encoding the same chunks on all cores into /dev/null."""
    del target
    patches = np.load(source)
    length, shuffle = layout["chunk_length"], _SHUFFLES[layout["shuffle"]]
    name = codec.encode()
    null = os.open(os.devnull, os.O_WRONLY)

    def encode(start: int) -> int:
        chunk = patches[start : start + length]
        return os.write(null, blosc.compress(chunk, name, level, shuffle, 0, 1))

    started = time.perf_counter()
    with ThreadPool(system.calls.available_cores()) as pool:
        written = sum(pool.imap_unordered(encode, range(0, len(patches), length)))
    seconds = time.perf_counter() - started
    os.close(null)
    frame = blosc.compress(patches[:length], name, level, shuffle, 0, 1)
    decoded = np.frombuffer(blosc.decompress(frame), np.uint8).reshape(-1, *PATCH_SHAPE)
    check_equal(decoded, patches[:length], "encoding alone")
    assert written > 0
    return seconds


def time_zarr(source: str, target: str, codec: str, level: int, layout: dict[str, Any]) -> float:
    """Return the seconds of zarr-python into a ZipStore."""
    import zarr
    from zarr.codecs import BloscCodec

    shuffles = {"none": "noshuffle", "byte": "shuffle", "bit": "bitshuffle"}
    patches = np.load(source)
    started = time.perf_counter()
    store = zarr.storage.ZipStore(target, mode="w")
    array = zarr.create_array(
        store,
        name="x",
        shape=patches.shape,
        dtype=patches.dtype,
        chunks=(layout["chunk_length"], *PATCH_SHAPE),
        compressors=BloscCodec(
            cname=codec, clevel=level, shuffle=shuffles[layout["shuffle"]], typesize=1
        ),
    )
    array[...] = patches
    store.close()
    seconds = time.perf_counter() - started
    with cs.open(target) as stored:
        check_equal(stored["x"][...], patches, "zarr-python")
    return seconds


def _check_store(path: str, patches: np.ndarray, layout: dict[str, Any]) -> None:
    with cs.open(path) as store:
        array = store["x"]
        assert array.chunk_length == layout["chunk_length"], array
        assert array.codec.split()[-1] == layout["shuffle"], array
        check_equal(array[...], patches, "chunkstore")


def run(settings: Settings) -> list[Result]:
    """Measure."""
    source = patches_file(settings.folder, settings.patches)
    nbytes = settings.patches * int(np.prod(PATCH_SHAPE))
    sides = (time_save, time_append, time_encoding, time_zarr)
    results = []
    for codec, level in settings.codecs:
        layout = chosen_layout(source, codec, level)
        for tier, folder in settings.tiers():
            target = f"{folder}/written.zarr.zip"

            def side(
                function: Callable[..., float],
                target: str = target,
                codec: str = codec,
                level: int = level,
                layout: dict[str, Any] = layout,
            ) -> Callable[[], float]:
                def timed() -> float:
                    try:
                        return run_apart(
                            function,
                            source=source,
                            target=target,
                            codec=codec,
                            level=level,
                            layout=layout,
                        )
                    finally:
                        with contextlib.suppress(FileNotFoundError):
                            Path(target).unlink()
                        # What one side leaves to write back must not meet the next one.
                        os.sync()

                return timed

            measured = measure_in_turns(
                [side(f) for f in sides],
                rounds=settings.rounds,
                has_warm_up=settings.has_warm_up,
            )
            for ours, call in enumerate(("save", "append")):
                for peer, name, limit in ((2, "encoding alone", 0.9), (3, "zarr-python", 3.0)):
                    results.append(
                        ratio(
                            measured,
                            ours=ours,
                            peer=peer,
                            direction="at least",
                            limit=limit,
                            case="write",
                            name=f"{call} {codec}-{level} on {tier} / {name}",
                            conditions=f"{tier}, source in memory, chunks of "
                            f"{layout['chunk_length']} patches, shuffle {layout['shuffle']}",
                            decoded_nbytes=nbytes,
                        )
                    )
    return results
