"""How do the arrays of a zarr store become one file?

Folders and zips, of format 2 and 3, read by zarr-python: any codec it has, any chunks and shards.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from chunkstore.errors import FormatError, UnsupportedError
from chunkstore.format.stored_dtype import restored_dtype, stored_form, to_restored
from chunkstore.importers.arrays.attributes import json_attributes
from chunkstore.importers.arrays.column import Column, MappedColumn
from chunkstore.importers.arrays.files import default_name
from chunkstore.importers.arrays.found import chosen_arrays, found_samples
from chunkstore.importers.arrays.options import import_arrays
from chunkstore.importers.arrays.text import TextColumn
from chunkstore.importers.zarr_store_chunks import chunk_column
from chunkstore.importers.zarr_store_frames import CheckedColumn, FrameCheck
from chunkstore.importers.zarr_store_place import identity_of, opened
from chunkstore.store.node import OWN_ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Unpack

    from numpy.typing import NDArray

    from chunkstore.importers.arrays.options import ImportArguments, Imported
    from chunkstore.importers.arrays.samples import ArraySamples


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
        How the file is stored and the import done, see `chunkstore.import_npy`.

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

    Notes
    -----
    Of a store that chunkstore wrote, times, text, bytes and structures come over as such, and the
    arrays that are no samples stay beside them.

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


def open_zarr(
    source: str | os.PathLike[str],
    *,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
    beside: Sequence[str] = (),
) -> ArraySamples:
    """Return the arrays of a store as samples; see `import_zarr`."""
    place = os.fspath(source)
    with ExitStack() as resources:
        root = opened(place, resources)
        identity = identity_of(place)
        chosen = chosen_arrays(_arrays_of(root, place), arrays, place)
        notes: list[str] = []
        about = dict(root.attrs)
        own = about.pop(OWN_ATTRIBUTES, None)
        # Those of an array that is the root itself describe the array.
        is_group = not isinstance(root, zarr.Array)
        attributes = json_attributes(about, place, notes, of_file=True) if is_group else {}
        places = {name: f"{place}: array {(a.path or '/')!r}" for name, a in chosen.items()}
        found = {
            name: _column_or_value(array, places[name], identity, notes)
            for name, array in chosen.items()
        }
        besides = list(beside)
        if arrays is None and isinstance(own, dict) and isinstance(own.get("aligned"), list):
            # In a store of ours the others are no samples.
            besides += [
                name
                for name, value in found.items()
                if isinstance(value, Column) and name not in (*own["aligned"], *beside)
            ]
        samples = found_samples(
            "zarr",
            place,
            found,
            beside=besides,
            places=places,
            attributes=attributes,
            provenance={"zarr_format": root.metadata.zarr_format},
            notes=notes,
            identity=identity,
        )
        return samples.own(resources.pop_all())


def _arrays_of(root: Any, place: str) -> dict[str, Any]:
    """Return all arrays by path; the root itself is called as the store."""
    if isinstance(root, zarr.Array):
        return {default_name(place): root}
    found: dict[str, Any] = {}

    def visit(group: Any, prefix: str) -> None:
        try:
            members = sorted(group.members())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            where = os.path.join(place, *prefix.split("/"))
            raise FormatError(
                f"the metadata of what is in the group {where!r} cannot be read: "
                f"{type(error).__name__}: {error}",
                place,
            ) from error
        for name, member in members:
            if isinstance(member, zarr.Array):
                found[prefix + name] = member
            else:
                visit(member, f"{prefix}{name}/")

    visit(root, "")
    if not found:
        raise FormatError("there is no array in the store", place)
    return found


def _descriptor(array: Any) -> Any:
    """Return what chunkstore says of the type of an array that it stored, or None."""
    own = array.attrs.get(OWN_ATTRIBUTES)
    return own.get("dtype") if isinstance(own, dict) else None


def _logical_form(array: Any, where: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and shape of an array; of one that chunkstore stored, those that it had.

    Raises
    ------
    FormatError
        What the attributes say does not fit what is stored.
    """
    descriptor = _descriptor(array)
    if descriptor is None:
        return array.dtype, array.shape
    try:
        dtype = restored_dtype(descriptor)
    except FormatError as error:
        raise FormatError(f"{where}: {error.message}") from None
    stored, axes, _ = stored_form(dtype)
    ndim = len(array.shape) - len(axes)
    if array.dtype.newbyteorder("=") != stored or ndim < 0 or array.shape[ndim:] != axes:
        raise FormatError(
            f"{where}: attributes.chunkstore.dtype says {dtype}, which is stored as {stored} with "
            f"axes {axes} behind its own, got {array.dtype} of shape {array.shape}"
        )
    return dtype, array.shape[:ndim]


def _column_or_value(array: Any, where: str, identity: str, notes: list[str]) -> Any:
    """Return an array as a column; one of a single value as that."""
    dtype, shape = _logical_form(array, where)
    if shape:
        return _column(array, where, identity, notes)
    value = np.asarray(array[...])
    return (value if dtype == array.dtype else to_restored(value, dtype))[()]


def _column(array: Any, where: str, identity: str, notes: list[str]) -> Column:
    about = dict(array.attrs)
    # xarray's name for the axes under format 2; the new file names its own.
    about.pop("_ARRAY_DIMENSIONS", None)
    if is_ours := _descriptor(array) is not None:
        del about[OWN_ATTRIBUTES]
    attributes = json_attributes(about, where, notes)
    num_missing = array.nchunks - array.nchunks_initialized
    if num_missing > 0:
        notes.append(
            f"{where}: {num_missing} chunks are not in the store; their elements are the fill "
            f"value {array.fill_value}"
        )
    dtype, frames = array.dtype, FrameCheck(where, array)
    if dtype.kind in "OT":
        if dtype.kind == "O" and not _is_text(array):
            raise UnsupportedError(
                f"{where} holds Python objects ({array.metadata.to_dict().get('filters')}), of "
                "which only text is read"
            )

        def read_texts(start: int, stop: int) -> Any:
            frames.check(start, stop)
            return array[start:stop]

        return TextColumn(
            where,
            array.shape,
            read_texts,
            chunk_length=max(1, array.chunks[0]),
            identity=identity,
            attributes=attributes,
        )
    column = chunk_column(CheckedColumn(where, array, frames, attributes=attributes), array)
    if not is_ours:
        return column
    logical, shape = _logical_form(array, where)

    def restored(stored: NDArray[Any], _: int) -> NDArray[Any]:
        return to_restored(stored, logical)

    return MappedColumn(column, restored, sample_shape=shape[1:], dtype=logical)


def _is_text(array: Any) -> bool:
    filters = array.metadata.to_dict().get("filters") or []
    return any("vlen-utf8" in str(entry) for entry in filters)
