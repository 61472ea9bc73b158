"""How do the samples of a file come into a random order, and back?"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from chunkstore.pipeline.budget import parse_memory
from chunkstore.rewriting.contents import read_contents
from chunkstore.rewriting.file import check_out, index_of, report_of
from chunkstore.rewriting.job import ShuffleJob
from chunkstore.rewriting.options import RewriteOptions
from chunkstore.rewriting.order import RandomOrder, StoredOrder
from chunkstore.store.store import open_store

if TYPE_CHECKING:
    from chunkstore.rewriting.contents import Contents
    from chunkstore.rewriting.report import RewriteReport

# The array that says which sample of the source each one is.
INDEX: Final = "source_index"


def shuffle(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    memory: int | str = "512MiB",
    quick: bool = False,
    index: str | None = INDEX,
    codec: str | None = None,
    level: int | None = None,
    chunk_length: int | None = None,
    chunk_nbytes: int | None = None,
    threads: int | None = None,
    verify: bool = True,
    resume: bool = True,
    overwrite: bool = False,
    progress: bool | None = None,
) -> RewriteReport:
    """Write the samples of a file in a random order into a new one, once and for all.

    Where neighbours in a file are alike, such as all pictures of a class, no loader can mix them
    well within its memory. After this, any batch of the new file is as good as one that was drawn
    from all samples.

    Parameters
    ----------
    source
        Any file that `chunkstore.open` reads.
    out
        The new file; it appears when it is complete.
    seed
        Of the order, in ``[0, 2**64)``.
    memory
        What may be taken: bytes, or ``"512MiB"``. What does not fit is dealt to piles in a file
        beside the new one, as large as the decoded samples and 8 bytes for each.
    quick
        Mix in windows of chunks that fit in the memory, as one epoch of a loader does, instead of
        over the whole file: half the reading and writing. Neighbours are spread over as many
        chunks as a window has. See ``docs/rewriting.md`` for how good that is.
    index
        Name of a new array that says which sample of the source each one is, for `unshuffle` and
        to join other data; None leaves it out. A file that was shuffled before keeps the one it
        has, which goes on to say the numbers in the first file.
    codec, level, chunk_length, chunk_nbytes, threads, verify, resume, overwrite, progress
        See `chunkstore.recompress`.

    Returns
    -------
    report
        What was done.

    Raises
    ------
    ValueError
        An argument is wrong, ``out`` is the source, or the memory is too small; says how much is
        enough.
    CorruptionError
        A chunk of the source is damaged; nothing is written then.
    ChunkStoreError
        See `chunkstore.open` and `chunkstore.create`; a full disk names the file. Nothing is left
        behind, but by a process that was killed: the same call goes on where that one was.

    Notes
    -----
    Every order is equally likely, but with ``quick``. The order follows from the seed and the
    number of samples; the memory, the threads, the codecs and the values do not change it. That of
    ``quick`` follows from the seed, the memory and the chunks of the source.

    Each byte is read twice and written twice, once each where all samples fit in the memory or with
    ``quick``; ``verify`` reads the new file once more.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> folder = tempfile.mkdtemp()
    >>> path, mixed = (os.path.join(folder, name) for name in ("a.zarr.zip", "mixed.zarr.zip"))
    >>> cs.save(path, {"y": np.repeat(["cat", "dog"], 4)})
    >>> report = cs.shuffle(path, mixed, seed=1)
    >>> cs.load(mixed)["y"].tolist()
    ['cat', 'dog', 'dog', 'dog', 'cat', 'cat', 'cat', 'dog']
    >>> y = np.repeat(["cat", "dog"], 4)[cs.load(mixed)["source_index"]]
    >>> bool((y == cs.load(mixed)["y"]).all())
    True
    """
    started = time.perf_counter()
    nbytes = parse_memory(memory)
    options = RewriteOptions(
        codec=codec,
        level=level,
        chunk_length=chunk_length,
        chunk_nbytes=chunk_nbytes,
        threads=threads,
        verify=verify,
        resume=resume,
        overwrite=overwrite,
        progress=progress,
    )
    check_out(source, out)
    with open_store(source) as store:
        contents = read_contents(store)
        job = ShuffleJob(
            os.fspath(out), contents, options, memory=nbytes, new_index=_new_index(contents, index)
        )
        about: dict[str, Any] = {
            "shuffled": True,
            "method": "exact",
            "seed": seed,
            "index": _index_told(contents, index),
        }
        order = RandomOrder(contents.num_samples, seed=seed)
        if quick and job.has_values:
            about |= {"method": "quick", "memory": nbytes, **job.window_facts(seed)}
            job.write_windows("shuffle", about, seed=seed, window=about["window"])
        else:
            job.write_sorted("shuffle", about, order)
        return report_of(
            contents,
            out,
            about["method"],
            options=options,
            started=started,
            is_verified=verify,
            scratch_nbytes=job.scratch_nbytes,
        )


def unshuffle(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    index: str | None = None,
    memory: int | str = "512MiB",
    codec: str | None = None,
    level: int | None = None,
    chunk_length: int | None = None,
    chunk_nbytes: int | None = None,
    threads: int | None = None,
    verify: bool = True,
    resume: bool = True,
    overwrite: bool = False,
    progress: bool | None = None,
) -> RewriteReport:
    """Write the samples of a shuffled file in the order that they had before.

    Parameters
    ----------
    source
        A file that `shuffle` wrote, or a part of one: samples are put in the ascending order of
        their numbers.
    out
        The new file; it appears when it is complete.
    index
        The array of those numbers, which the new file does not have; by default the one that the
        file itself names.
    memory, codec, level, chunk_length, chunk_nbytes, threads, verify, resume, overwrite, progress
        See `shuffle`.

    Raises
    ------
    KeyError
        The file has no such array, or does not say which.
    ChunkStoreError
        See `shuffle`.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> names = ("a.zarr.zip", "mixed.zarr.zip", "again.zarr.zip")
    >>> folder = tempfile.mkdtemp()
    >>> path, mixed, again = (os.path.join(folder, name) for name in names)
    >>> cs.save(path, {"y": np.arange(6)})
    >>> report = cs.shuffle(path, mixed)
    >>> report = cs.unshuffle(mixed, again)
    >>> cs.load(again)
    {'y': array([0, 1, 2, 3, 4, 5])}
    """
    started = time.perf_counter()
    nbytes = parse_memory(memory)
    options = RewriteOptions(
        codec=codec,
        level=level,
        chunk_length=chunk_length,
        chunk_nbytes=chunk_nbytes,
        threads=threads,
        verify=verify,
        resume=resume,
        overwrite=overwrite,
        progress=progress,
    )
    check_out(source, out)
    with open_store(source) as store:
        contents = read_contents(store)
        name = index or index_of(contents.before)
        if name is None:
            raise KeyError(
                f"{store.path} does not say which array holds the places that its samples had; "
                "name it with index= (--index)"
            )
        if name not in contents.samples:
            raise KeyError(
                f"{store.path}: there is no array {name!r} of samples, only "
                f"{', '.join(contents.samples) or 'none'}"
            )
        order = StoredOrder(contents.samples[name])
        about = {"shuffled": False, "method": "undo", "index": name}
        job = ShuffleJob(os.fspath(out), contents.without(name), options, memory=nbytes)
        job.write_sorted("unshuffle", about, order)
        return report_of(
            contents,
            out,
            "undo",
            options=options,
            started=started,
            is_verified=verify,
            scratch_nbytes=job.scratch_nbytes,
        )


def _index_told(contents: Contents, index: str | None) -> str | None:
    """Return the array of the new file that says which sample each one is, if it has one."""
    known = index_of(contents.before) if index is None else index
    # One that an earlier shuffle wrote goes on to be right, whatever is asked for now.
    return known if contents.samples and (index is not None or known in contents.samples) else None


def _new_index(contents: Contents, index: str | None) -> str | None:
    """Return the array to add, or None where the file has one already, or none is wanted."""
    if index is None or not contents.samples:
        return None
    if index not in contents.samples and index not in contents.beside:
        return index
    if index in contents.samples and index_of(contents.before) == index:
        return None
    raise ValueError(
        f"{contents.store.path} has an array {index!r} already; index='another name' (--index) "
        "says what the array of the samples' numbers is called, index=None (--no-index) leaves it "
        "out"
    )
