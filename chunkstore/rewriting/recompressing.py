"""How does a file get other codecs or other chunks?"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from chunkstore.rewriting.contents import read_contents
from chunkstore.rewriting.file import check_out, provenance_of, report_of
from chunkstore.rewriting.options import RewriteOptions
from chunkstore.rewriting.reading import SampleReader
from chunkstore.rewriting.streams import BLOCK_NBYTES, FileStream
from chunkstore.rewriting.writing import NewFile, write
from chunkstore.store.compacting import compact
from chunkstore.store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chunkstore.rewriting.report import RewriteReport


def recompress(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    codec: str | None = None,
    level: int | None = None,
    shuffle: str | None = None,
    typesize: int | None = None,
    chunk_length: int | None = None,
    chunk_nbytes: int | None = None,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
    threads: int | None = None,
    verify: bool = True,
    resume: bool = True,
    overwrite: bool = False,
    progress: bool | None = None,
) -> RewriteReport:
    """Write a file anew with other codecs or chunks, and check that its values are the same.

    What is not named stays as it is: codecs, chunks, attributes, data types, the order of the
    samples, and arrays that are no samples. Where nothing is to change, the stored chunks are
    copied as they are. Memory is bounded: some 64 MiB of samples are read ahead.

    Parameters
    ----------
    source
        Any file that `chunkstore.open` reads: also zarr zips of other writers, of format 2 and 3,
        sharded ones among them. What they store with codecs that are not written here gets the
        default ones, and chunks of the default size.
    out
        The new file; it appears when it is complete and was compared.
    codec, level, shuffle, typesize
        See `chunkstore.create`. With ``codec`` alone, the others are the defaults. A typesize is
        for the arrays whose samples hold whole elements of it.
    chunk_length, chunk_nbytes
        Samples in a chunk of the widest array, or decoded bytes that it aims at; the other arrays
        follow.
    arrays
        Those to take: names, or names by the names that they get, ``{"x": "images"}``. By default
        all.
    threads
        That read and decode; by default the processors of this process.
    verify
        Read the new file before it gets its name, and compare it, bit by bit, with what was read.
    resume
        Go on with an unfinished file of the same call that was killed; False begins anew.
    overwrite
        Replace an existing file, or an unfinished one of other work.
    progress
        Show bars on stderr; None shows them on a terminal when the work takes over a second.

    Returns
    -------
    report
        Sizes before and after, and what could not be kept as it was.

    Raises
    ------
    KeyError, ValueError
        An argument is wrong, or ``out`` is the source; says what is allowed.
    CorruptionError
        A chunk of the source is damaged; says which, and which samples are lost with it.
    ChunkStoreError
        See `chunkstore.open` and `chunkstore.create`. What was done stays in ``out + ".partial"``;
        the same call goes on with it.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> folder = tempfile.mkdtemp()
    >>> path, small = (os.path.join(folder, name) for name in ("a.zarr.zip", "small.zarr.zip"))
    >>> cs.save(path, {"x": np.arange(100_000)}, codec="lz4")
    >>> report = cs.recompress(path, small, codec="zstd", level=9)
    >>> report.file_nbytes < report.source_nbytes, cs.open(small)["x"].codec
    (True, 'blosc zstd-9 bit')
    """
    started = time.perf_counter()
    options = RewriteOptions(
        codec=codec,
        level=level,
        shuffle=shuffle,
        typesize=typesize,
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
        contents = read_contents(store, arrays)
        if arrays is None and contents.is_unchanged(options):
            compact(source, out, overwrite=overwrite, verify=verify, progress=progress)
            return report_of(
                contents, out, "copy", options=options, started=started, is_verified=verify
            )
        specs = contents.specs(options)
        chains = {
            name: chain
            for name, array in contents.samples.items()
            if (chain := contents.chain_of(array, options)) is not None
        }
        reader = SampleReader(contents.samples, target_nbytes=BLOCK_NBYTES)
        stream = FileStream(reader, num_samples=contents.num_samples, threads=options.num_threads)
        write(
            NewFile(
                os.fspath(out),
                contents,
                specs,
                chains,
                provenance_of(
                    contents,
                    options,
                    kind="recompress",
                    order={"shuffled": False},
                    arrays={
                        name: array.name
                        for name, array in (*contents.samples.items(), *contents.beside.items())
                    },
                ),
                options,
                what="recompressing",
                keeps_unfinished=True,
            ),
            stream,
        )
        return report_of(
            contents, out, "recompress", options=options, started=started, is_verified=verify
        )
