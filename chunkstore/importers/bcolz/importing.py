"""How does a bcolz folder become one file?

Headers of all chunks are checked before the first sample is written; the samples are decoded on all
cores, appended in order, and compared with what the new file returns.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import ChunkStoreError, CorruptionError
from chunkstore.importers.bcolz.open import check_bcolz
from chunkstore.importers.bcolz.samples import BcolzSamples, open_samples
from chunkstore.importing.run import ImportOptions, ImportReport, run_import

if TYPE_CHECKING:
    from collections.abc import Sequence

# Endings of folders and archives that say nothing about the data.
_ENDING: Final = re.compile(r"(\.(bc|bcolz|carray|dat|tar|tgz|gz|zip))+$", re.IGNORECASE)
_DEFAULT_NAME: Final = "x"


def import_bcolz(
    source: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    arrays: Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
    allow_pickle: bool = False,
    recover_unflushed: bool = False,
    salvage: bool = False,
    codec: str | None = None,
    level: int | None = None,
    chunk_nbytes: int | None = None,
    chunk_length: int | None = None,
    attributes: Mapping[str, Any] | None = None,
    threads: int | None = None,
    verify: bool = True,
    resume: bool = True,
    overwrite: bool = False,
    progress: bool | None = None,
) -> ImportReport:
    """Bring what bcolz wrote into one file, without bcolz: every value right, or an error.

    Parameters
    ----------
    source
        A carray, a ctable, a tree of folders with such in it, or a tar, tar.gz or zip of one; or
        several of them by name, ``{"x": "images.bc", "y": "labels.bc"}``.
    out
        The new file. All arrays must have the same number of samples.
    arrays
        Names of the arrays and tables that are wanted, by default all.
    rename
        Other names for arrays, by their names in the source. A single carray is called as its
        folder without the ending, or ``"x"`` where that cannot be a name.
    allow_pickle
        Read arrays of Python objects, of which only plain values are read. They are stored as JSON
        text: the bytes ``NAME/json[start:stop]`` with ``NAME/range`` holding ``(start, stop)`` of
        each sample.
    recover_unflushed
        Read the samples beyond those that ``meta/sizes`` counts, see `chunkstore.open_bcolz`.
    salvage
        Write what can be read of a damaged source. Samples that cannot be read are zeros, and the
        boolean array ``valid`` is False for them; the report names them.
    codec, level, chunk_nbytes, chunk_length
        Of the new file, see `chunkstore.create`; ``chunk_length`` is that of its widest array.
    attributes
        Further attributes of the new file; those of the source are kept.
    threads
        That decode; by default the processors of this process.
    verify
        Read the new file before it gets its name, and compare it with what was decoded.
    resume
        Go on with an import of the same source that was killed.
    overwrite
        Replace an existing file once the new one is complete.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Returns
    -------
    report
        What was done and found: repaired streams, samples that are all zero, damage.

    Raises
    ------
    CorruptionError
        Something is damaged; lists everything that is, with files and samples.
    UnsupportedError
        A codec without a decoder, an array of objects; by name.
    ValueError
        Arrays of different lengths, or names that cannot be.
    ChunkStoreError
        See `chunkstore.open_bcolz` and `chunkstore.create`. What was done stays in
        ``out + ".partial"``; the same call goes on with it.

    Warns
    -----
    ChunkStoreWarning
        See `chunkstore.open_bcolz`. With ``salvage``, each damage that the headers show.

    Notes
    -----
    Where the data come from stands in the file's attribute ``import``: the folder, and for each
    array its data type, its codecs and what bcolz noted. Memory: some 64 MiB of decoded samples,
    and the chunks that the threads are at.

    Examples
    --------
    >>> import os, struct, tempfile, numpy as np, chunkstore as cs
    >>> from numcodecs import blosc
    >>> files = {
    ...     "meta/sizes": b'{"shape": [3, 2], "nbytes": 24, "cbytes": 16384}',
    ...     "meta/storage": b'{"dtype": "int32", "chunklen": 100, "dflt": 0}',
    ...     "data/__0.blp": struct.pack("<4sB3xq", b"blpk", 1, 1)
    ...     + blosc.compress(np.arange(6, dtype="i4"), b"zstd", 5),
    ... }
    >>> folder = os.path.join(tempfile.mkdtemp(), "images.bc")
    >>> for name, content in files.items():
    ...     os.makedirs(os.path.join(folder, os.path.dirname(name)), exist_ok=True)
    ...     with open(os.path.join(folder, name), "wb") as file:
    ...         _ = file.write(content)
    >>> report = cs.import_bcolz(folder, folder + ".zarr.zip")
    >>> cs.load(report.path)["images"].tolist()
    [[0, 1], [2, 3], [4, 5]]
    """
    options = ImportOptions(
        codec=codec,
        level=level,
        chunk_nbytes=chunk_nbytes,
        chunk_length=chunk_length,
        attributes=dict(attributes or {}),
        threads=threads,
        verify=verify,
        resume=resume,
        overwrite=overwrite,
        progress=progress,
    )
    places = _places(source)
    reading = {
        "arrays": arrays,
        "allow_pickle": allow_pickle,
        "recover_unflushed": recover_unflushed,
    }
    with open_samples(
        places,
        rename=rename or {},
        salvage=salvage,
        single_name=default_name,
        progress=progress,
        **reading,
    ) as samples:
        try:
            return run_import(samples, out, options)
        except CorruptionError as error:
            if samples.damage is None:
                raise
            raise _all_damage(places, samples, error, reading) from None


def _places(
    source: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
) -> dict[str, str]:
    """Return folders by the name that their arrays get, ``""`` where they keep their own."""
    if isinstance(source, Mapping):
        if not source:
            raise ValueError("import_bcolz needs at least one folder, got none")
        return {name: os.fspath(place) for name, place in source.items()}
    return {"": os.fspath(source)}


def default_name(place: str) -> str:
    """Return what the single carray of a folder is called.

    Examples
    --------
    >>> default_name("/data/trn_features.bc/"), default_name("bilder-größe.bc")
    ('trn_features', 'x')
    """
    name = _ENDING.sub("", Path(place).resolve().name)
    is_plain = bool(name) and name.isascii() and name.isprintable() and not name.startswith(".")
    return name if is_plain and not set(name) & set("\\/") and name != "c" else _DEFAULT_NAME


def _all_damage(
    places: Mapping[str, str], samples: BcolzSamples, first: CorruptionError, reading: Any
) -> ChunkStoreError:
    """Return one error that lists all damage inside frames, after the first was met."""
    for place in places.values():
        report = check_bcolz(place, decode=True, **reading)
        try:
            report.raise_if_bad()
        except ChunkStoreError as error:
            return error
    return first
