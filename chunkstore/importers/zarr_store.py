"""How do the arrays of a zarr store become one file?

Folders and zips, of format 2 and 3, read by zarr-python: any codec it has, any chunks and shards.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from chunkstore.errors import CorruptionError, FormatError, MissingFileError, UnsupportedError
from chunkstore.importers.arrays.attributes import json_attributes
from chunkstore.importers.arrays.column import Column, ForeignColumn
from chunkstore.importers.arrays.files import default_name, file_identity
from chunkstore.importers.arrays.options import import_arrays, plan_arrays
from chunkstore.importers.arrays.samples import ArraySamples, whole
from chunkstore.importers.arrays.text import TextColumn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from chunkstore.importers.arrays.options import ArrayPlan, ImportArguments, Imported

_STEP_NBYTES = 4 << 20


def import_zarr(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
    beside: Sequence[str] = (),
    **options: Unpack[ImportArguments],
) -> Imported:
    """Bring the arrays of a zarr store into one file.

    Parameters
    ----------
    source
        A folder or a zip that holds a zarr group or array, of format 2 or 3.
    out
        The new file, or with ``split`` the folder of the new files.
    arrays
        Paths of arrays by the names that they get, ``{"x": "train/images"}``, or paths alone. By
        default all arrays, under their own paths.
    beside
        Names of arrays that are no samples and have any length; they are stored as they are. Arrays
        of a single value become attributes.
    options
        How the file is stored and the import done: ``codec``, ``level``, ``chunk_nbytes``,
        ``chunk_length``, ``attributes``, ``shuffle``, ``seed``, ``split``, ``stratify``,
        ``threads``, ``verify``, ``resume``, ``overwrite``, ``progress``; see
        `chunkstore.importers.arrays.options.ImportArguments`.

    Returns
    -------
    report
        What was done; with ``split`` a dict of reports by part. Chunks that the store does not
        have, and which therefore are the fill value, are counted in its notes.

    Raises
    ------
    FormatError
        There is no zarr group or array.
    CorruptionError
        A chunk cannot be decoded, or a zip is damaged; says which array and samples.
    KeyError
        There is no such array.
    ValueError
        Arrays of different lengths, or names that cannot be.
    ChunkStoreError
        See `chunkstore.create`. What was done stays in ``out + ".partial"``; the same call goes on
        with it.

    Examples
    --------
    >>> import zarr, numpy as np, chunkstore as cs
    >>> group = zarr.open_group("train.zarr", mode="w")
    >>> _ = group.create_array("x", data=np.arange(20).reshape(10, 2), chunks=(3, 2))
    >>> report = cs.import_zarr("train.zarr", "train.zarr.zip")
    >>> cs.load("train.zarr.zip")["x"].sum()
    np.int64(190)
    """
    with open_zarr(source, arrays=arrays, beside=beside) as samples:
        return import_arrays(samples, out, options)


def plan_zarr(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
    beside: Sequence[str] = (),
    **options: Unpack[ImportArguments],
) -> ArrayPlan:
    """Return what `import_zarr` would do with the same arguments; nothing is written."""
    with open_zarr(source, arrays=arrays, beside=beside) as samples:
        return plan_arrays(samples, out, options)


def open_zarr(
    source: str | os.PathLike[str],
    *,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
    beside: Sequence[str] = (),
) -> ArraySamples:
    """Return the arrays of a store as samples; see `import_zarr`."""
    place = os.fspath(source)
    with ExitStack() as resources:
        root = _opened(place, resources)
        identity = _identity(place)
        found = _arrays_of(root, place)
        chosen = _chosen(found, arrays, place)
        if unknown := [name for name in beside if name not in chosen]:
            raise KeyError(f"beside= names {unknown[0]!r}; there are {', '.join(chosen)}")
        notes: list[str] = []
        attributes = json_attributes(dict(root.attrs), place, notes, of_file=True)
        if isinstance(root, zarr.Array):
            # They describe the array.
            attributes = {}
        columns: dict[str, Column] = {}
        others: dict[str, Any] = {}
        for name, array in chosen.items():
            where = f"{place}: array {(array.path or '/')!r}"
            if array.shape == ():
                value = np.asarray(array[()])[()]
                attributes |= json_attributes({name: value}, place, notes, of_file=True)
                continue
            column = _column(array, where, identity, notes)
            if name in beside:
                others[name] = whole(column)
            else:
                columns[name] = column
        samples = ArraySamples(
            "zarr",
            place,
            columns,
            unaligned=others,
            attributes=attributes,
            provenance={"zarr_format": root.metadata.zarr_format, "beside": sorted(beside)},
            notes=notes,
            identity=identity,
        )
        return samples.own(resources.pop_all())


def _opened(place: str, resources: ExitStack) -> Any:
    path = Path(place)
    if not path.exists():
        raise MissingFileError("there is no such folder or zip", place, errno=2)
    store: Any
    if path.is_dir():
        store = zarr.storage.LocalStore(place, read_only=True)
    else:
        _check_zip(place)
        store = zarr.storage.ZipStore(place, mode="r")
    resources.callback(store.close)
    try:
        return zarr.open(store=store, mode="r")
    except (FileNotFoundError, KeyError, ValueError, TypeError) as error:
        raise FormatError(f"there is no zarr group or array: {error}", place) from error


def _check_zip(place: str) -> None:
    """Check all CRC-32 of a zip: what reads a part of an entry does not."""
    try:
        with zipfile.ZipFile(place) as archive:
            for info in archive.infolist():
                with archive.open(info) as entry:
                    while entry.read(_STEP_NBYTES):
                        pass
    except zipfile.BadZipFile as error:
        if not zipfile.is_zipfile(place):
            raise FormatError("this is no folder and no zip", place) from None
        raise CorruptionError(f"the zip is damaged: {error}", place) from None


def _identity(place: str) -> str:
    """Return what the metadata of a store, or the zip as a whole, is known by."""
    path = Path(place)
    if not path.is_dir():
        return file_identity(path)
    names = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
    return " ".join(
        file_identity(os.path.join(folder, name))
        for folder, _, files in sorted(os.walk(path))
        for name in names
        if name in files
    )


def _arrays_of(root: Any, place: str) -> dict[str, Any]:
    """Return all arrays by path; the root itself is called as the store."""
    if isinstance(root, zarr.Array):
        return {default_name(place): root}
    found: dict[str, Any] = {}

    def visit(group: Any, prefix: str) -> None:
        for name, member in sorted(group.members()):
            if isinstance(member, zarr.Array):
                found[prefix + name] = member
            else:
                visit(member, f"{prefix}{name}/")

    visit(root, "")
    if not found:
        raise FormatError("there is no array in the store", place)
    return found


def _chosen(
    found: dict[str, Any], arrays: Mapping[str, str] | Sequence[str] | None, place: str
) -> dict[str, Any]:
    if arrays is None:
        return found
    wanted = (
        dict(arrays) if isinstance(arrays, Mapping) else {path.strip("/"): path for path in arrays}
    )
    for path in wanted.values():
        if path.strip("/") not in found:
            raise KeyError(f"{place}: there is no array {path!r}, only {', '.join(found)}")
    return {name: found[path.strip("/")] for name, path in wanted.items()}


def _column(array: Any, where: str, identity: str, notes: list[str]) -> Column:
    attributes = json_attributes(dict(array.attrs), where, notes)
    # xarray's name for the axes under format 2; the new file names its own.
    attributes.pop("_ARRAY_DIMENSIONS", None)
    num_missing = array.nchunks - array.nchunks_initialized
    if num_missing > 0:
        notes.append(
            f"{where}: {num_missing} chunks are not in the store; their elements are the fill "
            f"value {array.fill_value}"
        )
    dtype = array.dtype
    if dtype.kind in "OT":
        if dtype.kind == "O" and not _is_text(array):
            raise UnsupportedError(
                f"{where} holds Python objects ({array.metadata.to_dict().get('filters')}), of "
                "which only text is read"
            )
        return TextColumn(
            where,
            array.shape,
            lambda start, stop: array[start:stop],
            chunk_length=max(1, array.chunks[0]),
            identity=identity,
            attributes=attributes,
        )
    return ForeignColumn(where, array, attributes=attributes)


def _is_text(array: Any) -> bool:
    filters = array.metadata.to_dict().get("filters") or []
    return any("vlen-utf8" in str(entry) for entry in filters)
