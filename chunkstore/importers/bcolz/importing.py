"""How does a bcolz folder become one file?

Headers of all chunks are checked before the first sample is written; the samples are decoded on all
cores, appended in order, and compared with what the new file returns.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import ChunkStoreError, ChunkStoreWarning, CorruptionError
from chunkstore.importers.bcolz.columns import find_columns, joined_report
from chunkstore.importers.bcolz.inspection import check_bcolz
from chunkstore.importers.bcolz.report import described
from chunkstore.importers.bcolz.samples import BcolzSamples, open_samples
from chunkstore.importing.losses import MAX_LISTED, listed
from chunkstore.importing.run import ImportOptions, ImportReport, check_import, run_import
from chunkstore.store.samples import check_array_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chunkstore.importers.bcolz.report import BcolzReport
    from chunkstore.importing.losses import Lost

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
    typesize: int | None = None,
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
        boolean array ``valid`` is False for them. The report and the attribute ``import`` list
        everything that is lost, also whole arrays, which the file does not have.
    codec, level, typesize, chunk_nbytes, chunk_length
        Of the new file, see `chunkstore.create`; ``chunk_length`` is that of its widest array.
    attributes
        Further attributes of the new file; those of the source are kept.
    threads
        That decode; by default the processors of this process.
    verify
        Read the new file before it gets its name, and compare it with what was decoded.
    resume
        Go on with an import of the same source and options that was killed; one with others is
        refused. False begins anew. A source that was changed in between is noticed by the sizes
        and first bytes of its chunk files.
    overwrite
        Replace an existing file once the new one is complete.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Returns
    -------
    report
        What was done and found: repaired streams, samples that are all zero, and in ``lost`` what
        the file does not hold.

    Raises
    ------
    CorruptionError
        Something is damaged; lists everything that is, in all folders, with files and samples.
    UnsupportedError
        A codec without a decoder, an array of objects; by name.
    ValueError
        Arrays of different lengths, or names that cannot be.
    KeyError
        ``arrays`` or ``rename`` names what is not there.
    ChunkStoreError
        See `chunkstore.open_bcolz` and `chunkstore.create`. What was done stays in
        ``out + ".partial"``; the same call goes on with it.

    Warns
    -----
    ChunkStoreWarning
        See `chunkstore.open_bcolz`; attributes that have to change. With ``salvage``, at the end
        and once, what is lost.

    Notes
    -----
    Where the data come from stands in the file's attribute ``import``: the folder, and for each
    array its data type, its codecs and what bcolz noted. Memory: some 64 MiB of decoded samples
    that are read, as much that is written, and the chunks that the threads are at. Where one chunk
    of every array takes more than 32 MiB, chunks are decoded once for each 32 MiB of that.

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
        typesize=typesize,
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
            report = run_import(samples, out, options, notes=samples.notes, lost=samples.lost)
        except CorruptionError as error:
            if samples.damage is None:
                raise
            raise _all_damage(places, error, {**reading, "progress": progress}) from None
    if report.lost:
        text = "\n  ".join(listed(report.lost, num_more=report.num_more_lost))
        warnings.warn(
            f"{report.path}: the source is damaged, this is lost:\n  {text}",
            ChunkStoreWarning,
            stacklevel=2,
        )
    return report


@dataclass(frozen=True)
class ImportPlan:
    """What an import would do, as far as can be told without decoding chunks.

    Attributes
    ----------
    reports
        What is in each source, by the name of its arrays.
    names
        For each source, the names in the new file by those in the source.
    refused
        Why nothing would be imported, in words; empty where it would.
    lost
        With ``salvage``, what the new file would not hold.
    notes
        What was found that stops nothing.
    """

    reports: dict[str, BcolzReport]
    names: dict[str, dict[str, str]]
    refused: tuple[str, ...]
    lost: tuple[Lost, ...]
    notes: tuple[str, ...]

    @property
    def is_refused(self) -> bool:
        """Whether nothing would be imported."""
        return bool(self.refused)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "sources": {
                name: report.to_json() | {"names": self.names[name]}
                for name, report in self.reports.items()
            },
            "refused": list(self.refused),
            "lost": [str(lost) for lost in self.lost],
            "notes": list(self.notes),
        }


def plan_import(
    source: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    arrays: Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
    allow_pickle: bool = False,
    recover_unflushed: bool = False,
    salvage: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> ImportPlan:
    """Return what `import_bcolz` would do with the same arguments; nothing is written.

    Elements of arrays of objects are decoded, other chunks are not: of them the headers count.

    Raises
    ------
    KeyError, FormatError, SystemCallError
        There is nothing to plan with; see `import_bcolz`.
    """
    places = _places(source)
    refused: list[str] = []
    lost: tuple[Lost, ...] = ()
    found = find_columns(
        places,
        rename=rename or {},
        salvage=salvage,
        single_name=default_name,
        arrays=arrays,
        allow_pickle=allow_pickle,
        recover_unflushed=recover_unflushed,
        progress=progress,
    )
    try:
        report = joined_report(found.name, list(places.values()), found.reports)
        if not salvage or not found.columns:
            damaged = [f"damaged: {described(problem)}" for problem in report.problems]
            refused += listed(damaged, most=MAX_LISTED)
        refused += map(described, report.refused)
        refused += found.conflicts
        try:
            checked = ImportOptions(progress=progress, **options)
            if found.columns:
                samples = BcolzSamples(found, salvage=salvage)
                lost = samples.lost
                check_import(samples, out, checked)
        except (ChunkStoreError, ValueError, TypeError) as error:
            refused.append(str(error))
    finally:
        found.close()
    return ImportPlan(
        dict(zip(places, found.reports, strict=True)),
        dict(zip(places, found.names, strict=True)),
        tuple(dict.fromkeys(refused)),
        lost,
        tuple(found.notes),
    )


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
    try:
        check_array_name(name)
    except ValueError:
        return _DEFAULT_NAME
    return _DEFAULT_NAME if name.startswith(".") else name


def _all_damage(
    places: Mapping[str, str], first: CorruptionError, reading: dict[str, Any]
) -> ChunkStoreError:
    """Return one error that lists all damage inside frames, after the first was met."""
    reports = [check_bcolz(place, decode=True, **reading) for place in places.values()]
    name = ", ".join(places.values())
    try:
        joined_report(name, list(places.values()), reports).raise_if_bad()
    except ChunkStoreError as error:
        return error
    return first
