"""How fast does a Loader read the sample, stored in some way?

A model of disk and decoder says which codec is best. How fast an epoch will be is better seen: the
sample is written with the chosen options, and a real Loader reads it in shuffled batches, one epoch
after the other, so that the threads never stop.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chunkstore.container.checksum import crc32
from chunkstore.format.codecs import default_codecs
from chunkstore.pipeline.loader import Loader
from chunkstore.store.creating import create
from chunkstore.store.spec import ArraySpec
from chunkstore.store.store import open_store
from chunkstore.system import ReadFile
from chunkstore.tuning.crew import Deadline
from chunkstore.tuning.disk import can_forget, forget
from chunkstore.tuning.interrupts import check_interrupt
from chunkstore.tuning.results import LoaderSpeed, Spread
from chunkstore.tuning.sampling import spread_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chunkstore.pipeline.direct import Io
    from chunkstore.store.store import Store
    from chunkstore.tuning.crew import Crew
    from chunkstore.tuning.disk import Way
    from chunkstore.tuning.sampling import DataSample

_MOST_ROUNDS: Final = 9
# Of one measurement: epochs follow each other until so much time has passed, or this part of all.
_LEAST_SECONDS: Final = 0.25
_LEAST_SHARE: Final = 0.05
# The Loader's own default: smaller windows cost more each.
_MEMORY: Final = 512 << 20
# Not counted: the first touch of the memory of both blocks that alternate.
_WARM_UP_EPOCHS: Final = 2


def try_loader(
    sample: DataSample,
    options: Mapping[str, Any],
    *,
    folder: str,
    crew: Crew,
    batch_size: int,
    threads: int | None,
    deadline: Deadline,
) -> LoaderSpeed:
    """Write the sample with some options and read it as training would.

    Parameters
    ----------
    sample
        The data.
    options
        See `chunkstore.create`.
    folder
        For the file, which is removed.
    crew
        Threads that encode.
    batch_size, threads
        Of the loader; None takes as many threads as it takes by itself.
    deadline
        Ends the rounds behind the first.
    """
    least_seconds = min(_LEAST_SECONDS, deadline.seconds * _LEAST_SHARE)
    path = str(Path(folder) / "trial.zarr.zip")
    # Half the time for encoding, half for reading.
    is_whole = _write(sample, options, path, crew, Deadline(deadline.seconds / 2))
    try:
        with open_store(path) as store:
            array = store["x"]
            away = _disk_way(store)
            runs: dict[Way, list[float]] = {"cached": []}
            if away is not None:
                runs[away] = []
            for number in range(_MOST_ROUNDS):
                if number and deadline.is_over:
                    break
                for way in runs if number % 2 else reversed(list(runs)):
                    rate = _epoch_rate(
                        store,
                        way,
                        batch_size=batch_size,
                        threads=threads,
                        least_seconds=least_seconds,
                    )
                    runs[way].append(rate)
            return LoaderSpeed(
                array.nbytes / max(1, array.encoded_nbytes),
                is_whole,
                Spread(tuple(runs["cached"])),
                None if away is None else Spread(tuple(runs[away])),
            )
    finally:
        Path(path).unlink(missing_ok=True)


def _write(
    sample: DataSample, options: Mapping[str, Any], path: str, crew: Crew, deadline: Deadline
) -> bool:
    """Write the sample; where the time ends first, its first encoded chunks again and again.

    Returns
    -------
    Whether each chunk is there once.
    """
    spec = ArraySpec(sample.stored_dtype, sample.stored_sample_shape)
    length = sample.chunk_length(options["chunk_nbytes"])
    chunks = sample.chunks(options["chunk_nbytes"])
    with create(path, arrays={"x": spec}, overwrite=True, **options) as writer:
        if len(chunks[0]) != length or writer.chunk_length != length:
            # Not one whole chunk.
            for piece in sample.pieces:
                writer.append_mapping({"x": piece}, owned=True)
            return True
        chain = default_codecs(
            sample.stored_dtype,
            **{key: value for key, value in options.items() if key != "chunk_nbytes"},
        )
        order = spread_order(len(chunks))
        frames: dict[int, bytes] = {}

        def encode(thread: int, number: int) -> None:
            if number < crew.threads or not deadline.is_over:
                chunk = chunks[order[number]]
                frames[order[number]] = chain.encode(chunk.reshape(length, *chunk.shape[1:]))

        crew.time(encode, len(chunks), least_seconds=0)
        encoded = itertools.cycle(sorted(frames.items()))
        writer.use_codecs("x", chain)
        with writer.arrays_apart() as (arrays, pipeline):
            for _, (_, frame) in zip(chunks, encoded, strict=False):
                entry = arrays["x"].append_encoded(memoryview(frame), crc32(frame))
                pipeline.submit_encoded([entry], lambda: None)
    return len(frames) == len(chunks)


def _epoch_rate(
    store: Store, way: Way, *, batch_size: int, threads: int | None, least_seconds: float
) -> float:
    """Return the decoded bytes a second of shuffled epochs, behind some that are not counted.

    Where the page cache is used and must not help, it is emptied of the file before each epoch.
    """
    io: Io = "direct" if way == "direct" else "buffered"
    nbytes = store["x"].nbytes
    # Chunks of samples that are very large need more.
    memory = max(_MEMORY, 8 * store["x"].chunk_length * (nbytes // len(store["x"])))
    with Loader(store, "x", batch_size=batch_size, memory=memory, io=io, threads=threads) as loader:
        for _ in range(_WARM_UP_EPOCHS):
            _read_epoch(loader)
        epochs, started = 0, time.perf_counter()
        while True:
            if way == "buffered":
                forget(store.path)
            _read_epoch(loader)
            epochs += 1
            seconds = time.perf_counter() - started
            if seconds > least_seconds:
                return epochs * nbytes / seconds


def _read_epoch(loader: Loader) -> None:
    for _ in loader:
        check_interrupt()


def _disk_way(store: Store) -> Way | None:
    """Return how the file is read from the disk; None where that cannot be seen."""
    file = ReadFile(store.path)
    try:
        if file.has_direct:
            return "direct"
    finally:
        file.close()
    return "buffered" if can_forget() else None
