"""How do npy and npz files, and folders of them, become one file?"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chunkstore.errors import FormatError
from chunkstore.importers.arrays.column import Column
from chunkstore.importers.arrays.files import (
    Place,
    PlainFile,
    default_name,
    file_identity,
    listed_files,
    missing,
)
from chunkstore.importers.arrays.found import chosen_arrays, found_samples
from chunkstore.importers.arrays.joined import JoinedColumn
from chunkstore.importers.arrays.options import import_arrays
from chunkstore.importers.arrays.raw import RawColumn
from chunkstore.importers.npy_decoded import DecodedArrays
from chunkstore.importers.npy_file import ENDINGS, read_header, read_value
from chunkstore.importers.npy_stack import open_stack
from chunkstore.importers.npy_zip import mapped, npz_columns
from chunkstore.settings import EXPORT_MARKER

if TYPE_CHECKING:
    from typing import Unpack

    from chunkstore.importers.arrays.file_samples import FileSamples
    from chunkstore.importers.arrays.options import ImportArguments, Imported
    from chunkstore.importers.arrays.samples import ArraySamples
    from chunkstore.importers.images.geometry import Fit, Resample

Source = Place | Sequence[Place] | Mapping[str, Place | Sequence[Place]]


def import_npy(
    source: Source,
    out: str | os.PathLike[str],
    *,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
    beside: Sequence[str] = (),
    stack: bool = False,
    size: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    resample: Resample = "bilinear",
    **options: Unpack[ImportArguments],
) -> Imported:
    """Bring npy and npz files into one file.

    Parameters
    ----------
    source
        An npy or npz file, a folder of such, or several of these; or such by the names that their
        arrays get, ``{"x": "images.npy", "y": "labels.npy"}``.
    out
        The new file, or with ``split`` the folder of the new files.
    arrays
        Names of the arrays of npz files that are wanted, or names that they get, by default all:
        ``{"x": "arr_0"}``. The array of an npy file is called as the file, of a folder as that.
    beside
        Names of arrays that are no samples and have any length; they are stored as they are. Arrays
        of a single value become attributes.
    stack
        Each file is one sample, and its name is kept in the array ``name``. Otherwise files of a
        folder hold samples along axis 0 and follow each other in the order of their names, numbers
        in which count as numbers.
    size
        With ``stack``, height and width in pixels of all samples: arrays of shape (height, width)
        or (height, width, channels) of any size are resized to it, those of other shapes refused.
        Integers of 8 and 16 bits and floats of 16 and 32 bits keep their type.
    fit, resample
        How, see `chunkstore.import_images`; ``fit="pad"`` fills with zeros.
    options
        How the file is stored and the import done: ``codec``, ``level``, ``typesize``,
        ``chunk_nbytes``, ``chunk_length``, ``attributes``, ``shuffle``, ``seed``, ``split``,
        ``stratify``, ``on_error``, ``threads``, ``verify``, ``resume``, ``overwrite``,
        ``progress``; see `chunkstore.importers.arrays.options.ImportArguments`. With ``stack``,
        samples are shuffled by default, and ``on_error="skip"`` leaves out bad files.

    Returns
    -------
    report
        What was done; with ``split`` a dict of reports by part.

    Raises
    ------
    FormatError, CorruptionError
        Files that are none of these, or damaged; all of them are named.
    UnsupportedError
        Arrays of Python objects.
    ValueError
        Files of other shapes or dtypes than the first, arrays of different lengths.
    ChunkStoreError
        See `chunkstore.create`. What was done stays in ``out + ".partial"``; the same call goes on
        with it.

    Notes
    -----
    Memory stays the same however large and many the files are. Arrays that npz files hold
    compressed are decoded once; those that do not fit in 64 MiB together go to a temporary file
    beside the new one. A single value that several npz files hold must be the same in all of them.

    Examples
    --------
    >>> import numpy as np, chunkstore as cs
    >>> np.save("images.npy", np.zeros((10, 8, 8), "uint8"))
    >>> np.save("labels.npy", np.arange(10))
    >>> report = cs.import_npy({"x": "images.npy", "y": "labels.npy"}, "a.zarr.zip")
    >>> report.num_samples, cs.load("a.zarr.zip")["y"].sum()
    (10, np.int64(45))
    """
    folder = os.fspath(Path(out).absolute().parent)
    with open_npy(
        source,
        arrays=arrays,
        beside=beside,
        stack=stack,
        size=size,
        fit=fit,
        resample=resample,
        folder=folder,
    ) as samples:
        return import_arrays(samples, out, options)


def open_npy(
    source: Source,
    *,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
    beside: Sequence[str] = (),
    stack: bool = False,
    size: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    resample: Resample = "bilinear",
    folder: str | None = None,
) -> ArraySamples | FileSamples:
    """Return the arrays of files as samples; see `import_npy`.

    Parameters
    ----------
    source, arrays, beside, stack, size, fit, resample
        See `import_npy`.
    folder
        Of a temporary file; None for the system's.
    """
    if stack:
        if isinstance(source, Mapping) or arrays is not None or beside:
            raise ValueError("with stack=True, source is one folder or a list of files")
        return open_stack(source, size=size, fit=fit, resample=resample)
    if size is not None:
        raise ValueError("size= goes with stack=True: each file is one sample then")
    with ExitStack() as resources:
        decoded = resources.enter_context(closing(DecodedArrays(folder)))
        notes: list[str] = []
        found, name = _found(source, decoded, notes)
        chosen = chosen_arrays(found, arrays, name)
        if errors := [value for value in chosen.values() if isinstance(value, FormatError)]:
            raise errors[0]
        samples = found_samples("npy", name, chosen, beside=beside, notes=notes)
        return samples.own(resources.pop_all())


def _found(source: Source, decoded: DecodedArrays, notes: list[str]) -> tuple[dict[str, Any], str]:
    """Return columns and single values by name, and what the source is called.

    In place of one that cannot be had, because files differ, is the error that says why.
    """
    if not isinstance(source, Mapping):
        return _columns_of(source, decoded, notes)
    if not source:
        raise ValueError("import_npy needs at least one file, got none")
    found: dict[str, Any] = {}
    names: list[str] = []
    for key, place in source.items():
        inside, name = _columns_of(place, decoded, notes)
        names.append(name)
        if len(inside) > 1:
            raise ValueError(
                f"{name} holds the arrays {sorted(inside)}; give it alone and choose with arrays="
            )
        found[key] = next(iter(inside.values()))
    return found, ", ".join(names)


def _columns_of(
    source: Place | Sequence[Place], decoded: DecodedArrays, notes: list[str]
) -> tuple[dict[str, Any], str]:
    if isinstance(source, str | os.PathLike) and (exported := _exported(source)):
        # A file for each array, as `chunkstore.export` leaves them.
        place = os.fspath(source)
        return {
            file.removesuffix(".npy"): next(
                iter(_file_columns(os.path.join(place, file), decoded, notes).values())
            )
            for file in exported
        }, place
    paths, name = listed_files(source, ENDINGS)
    parts = [_file_columns(path, decoded, notes) for path in paths]
    if len(parts) == 1:
        return parts[0], name
    # Files of a folder: an npy file's array is called as the folder.
    is_npy = all(path.lower().endswith(".npy") for path in paths)
    if is_npy:
        columns = [next(iter(part.values())) for part in parts]
        if scalars := [p for p, c in zip(paths, columns, strict=True) if not isinstance(c, Column)]:
            raise FormatError(
                f"{scalars[0]} holds a single value; stack=True (--stack) makes it a sample"
            )
        return {default_name(name): JoinedColumn(name, columns)}, name
    for path, part in zip(paths[1:], parts[1:], strict=True):
        if set(part) != set(parts[0]):
            raise FormatError(
                f"{path} holds the arrays {sorted(part)}, the first file {sorted(parts[0])}"
            )
    return {key: _joined(key, [part[key] for part in parts], paths, name) for key in parts[0]}, name


def _exported(folder: Place) -> list[str]:
    """Return the npy files of a folder that was exported; none of any other."""
    try:
        with open(os.path.join(folder, EXPORT_MARKER), encoding="utf-8") as file:
            listed = json.load(file)
    except (OSError, ValueError):
        return []
    is_export = isinstance(listed, dict) and listed.get("format") == "npy"
    return [file for file in listed["files"] if file.endswith(".npy")] if is_export else []


def _joined(key: str, values: list[Any], paths: Sequence[str], name: str) -> Any:
    """Return what several files hold under one name, as one."""
    first = values[0]
    for path, value in zip(paths, values, strict=True):
        if isinstance(value, Column) != isinstance(first, Column):
            kinds = [
                "an array" if isinstance(v, Column) else "a single value" for v in (value, first)
            ]
            return FormatError(f"{path}: {key!r} is {kinds[0]}, in {paths[0]} {kinds[1]}")
        if not isinstance(value, Column) and (
            value.dtype != first.dtype or value.tobytes() != first.tobytes()
        ):
            return FormatError(
                f"{path}: the single value {key!r} is {value!r}, in {paths[0]} {first!r}; arrays= "
                "chooses others"
            )
    return JoinedColumn(f"{name}: array {key!r}", values) if isinstance(first, Column) else first


def _file_columns(path: str, decoded: DecodedArrays, notes: list[str]) -> dict[str, Any]:
    if path.lower().endswith(".npz"):
        return npz_columns(path, decoded)
    identity = file_identity(path)
    try:
        with open(path, "rb") as stream:
            header = read_header(stream, path)
            if header.shape == ():
                return {default_name(path): read_value(stream, header, path, path)}
    except OSError as error:
        raise missing(error, path) from None
    nbytes = math.prod(header.shape) * header.dtype.itemsize
    if (rest := os.path.getsize(path) - header.offset - nbytes) > 0:
        notes.append(
            f"{path}: {rest} bytes behind the array are not read; saving again to an open file "
            "puts a second array there"
        )
    if header.is_fortran:
        column = mapped(path, path, header, offset=header.offset, identity=identity)
    else:
        column = RawColumn(
            path,
            PlainFile(path),
            offset=header.offset,
            shape=header.shape,
            dtype=header.dtype,
            identity=identity,
        )
    return {default_name(path): column}
