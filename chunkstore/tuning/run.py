"""How are a person's data and machine measured, within a time?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chunkstore import system
from chunkstore.progress import progress_bar
from chunkstore.settings import DEFAULT_CHUNK_NBYTES
from chunkstore.tuning.chunk_sizes import CHUNK_NBYTES
from chunkstore.tuning.crew import Crew, Deadline
from chunkstore.tuning.disk import scratch_folder
from chunkstore.tuning.interrupts import heeded_interrupts
from chunkstore.tuning.results import Notes
from chunkstore.tuning.sampling import take_sample
from chunkstore.tuning.source import open_source
from chunkstore.tuning.stages import SHARES, TuneRun

if TYPE_CHECKING:
    import os

    from chunkstore.tuning.report import TuneReport

_SAMPLE_NBYTES: Final = 64 << 20
# Loaders take no more threads by themselves.
_LOADER_THREADS: Final = 4


def tune(
    data: Any,
    *,
    array: str | None = None,
    seconds: float = 30.0,
    folder: str | os.PathLike[str] | None = None,
    in_memory: bool | None = None,
    batch_size: int = 64,
    threads: int | None = None,
    size: tuple[int, int] | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> TuneReport:
    """Measure which codec suits some data on this machine.

    Pieces from all over the data are encoded and decoded with every sensible codec, level, shuffle
    and element size; the disk is measured with a scratch file; and the best of each goal is tried
    with a real Loader. Nothing is kept.

    Parameters
    ----------
    data
        An array: NumPy, h5py, zarr, dask, of a store, or anything with ``shape``, ``dtype`` and
        slices; a store or mapping of arrays; or the path of a store, of an npy, npz or HDF5 file,
        or of a folder of bcolz, zarr, npy files or images.
    array
        Which array of several; by default the one with most bytes.
    seconds
        Time that it may take. With less, fewer ways are measured, and less often; some ten are
        needed to compare all.
    folder
        On the disk where the file shall lie; by default where the data lie, and for data in memory
        the working folder.
    in_memory
        Whether training will find the file in the machine's memory after the first epoch; by
        default that is so where it fits into the memory that is free now.
    batch_size
        Of the Loader whose speed is predicted.
    threads
        That encode, decode and read; by default the processors of this process.
    size
        Height and width of the images of a folder, where these have several sizes.
    seed
        Of the places that the pieces are taken from.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Returns
    -------
    report
        Print it, plot it, and give ``**report.fastest_training.options`` to `chunkstore.create`.

    Raises
    ------
    ValueError
        The data hold nothing, or an argument is wrong.
    TypeError
        Elements that cannot be stored, such as Python objects.
    KeyError
        There is no such array.
    ChunkStoreError
        A file that cannot be read, or a disk that cannot be written.

    Notes
    -----
    Memory: some 64 MiB of samples, as much for decoded ones, and what the Loader takes: 512 MiB at
    most. Of samples that are larger than 64 MiB one is read, and the Loader takes some eight times
    as much. Time: the last measurement of a stage ends behind its share of ``seconds``.
    Threads: the measurements need the processors for themselves; what else runs shows as spread.

    Examples
    --------
    >>> import numpy as np, chunkstore as cs
    >>> values = np.random.default_rng(0).normal(size=(2000, 64)).astype("float32").round(1)
    >>> report = cs.tune(values, seconds=1)
    >>> sorted(report.fastest_training.options)
    ['chunk_nbytes', 'codec', 'level', 'shuffle', 'typesize']
    >>> with cs.create("values.zarr.zip", **report.fastest_training.options) as writer:
    ...     writer.append(x=values)
    """
    _check(seconds, threads, batch_size)
    started = time.perf_counter()
    notes = Notes()
    cores = threads or system.calls.available_cores()
    with (
        heeded_interrupts(),
        open_source(data, array=array, size=size, notes=notes) as source,
        progress_bar(100, what="tuning", unit="%", show=progress) as advance,
    ):
        sample = take_sample(
            source,
            nbytes=max(_SAMPLE_NBYTES, 2 * cores * DEFAULT_CHUNK_NBYTES),
            piece_nbytes=CHUNK_NBYTES[-1],
            seed=seed,
            deadline=Deadline(seconds * SHARES["sample"]),
            notes=notes,
        )
        place = str(folder) if folder is not None else source.folder or str(Path.cwd())
        # As a Loader does: past the page cache, some threads wait while others decode.
        num_readers = threads or 2 * cores
        with (
            Crew(cores) as crew,
            Crew(num_readers) as readers,
            scratch_folder(place, notes) as scratch,
        ):
            run = TuneRun(
                sample,
                crew,
                readers,
                place=place,
                scratch=scratch,
                notes=notes,
                seconds=seconds,
                advance=advance,
                batch_size=batch_size,
                loader_threads=threads or (cores if cores > _LOADER_THREADS else None),
                in_memory=in_memory,
            )
            return run.report(seed=seed, started=started)


def _check(seconds: float, threads: int | None, batch_size: int) -> None:
    if not seconds > 0:
        raise ValueError(f"seconds must be positive, got {seconds!r}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size!r}")
