"""What is exported, in which format and where to?"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from chunkstore.errors import (
    DirectoryGivenError,
    ExistingFileError,
    MissingFileError,
)
from chunkstore.exporting.arrow import write_arrow
from chunkstore.exporting.contents import open_contents
from chunkstore.exporting.hdf5 import write_hdf5
from chunkstore.exporting.image_folder import write_images
from chunkstore.exporting.numpy_files import write_npy, write_npz
from chunkstore.exporting.replacing import check_free, replacing
from chunkstore.exporting.zarr_folder import write_zarr
from chunkstore.progress import progress_bar
from chunkstore.settings import EXPORT_MARKER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chunkstore.exporting.contents import Contents

Format = Literal["npy", "npz", "hdf5", "zarr", "parquet", "arrow", "images"]

_SUFFIXES: Final[Mapping[str, Format]] = {
    ".npy": "npy",
    ".npz": "npz",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".zarr": "zarr",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
_WRITERS: Final[Mapping[str, Callable[[Contents, Path], None]]] = {
    "npy": write_npy,
    "npz": write_npz,
    "hdf5": write_hdf5,
    "zarr": write_zarr,
    "parquet": write_arrow,
    "arrow": write_arrow,
    "images": write_images,
}
_COMPRESSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "hdf5": ("lzf", "gzip", "none"),
    "parquet": ("zstd", "snappy", "gzip", "lz4", "none"),
    "arrow": ("zstd", "lz4", "none"),
}
# Formats that are, or may be, folders.
_FOLDERS: Final = frozenset({"npy", "images", "zarr"})


def export(
    source: str | os.PathLike[str] | Mapping[str, Any],
    out: str | os.PathLike[str],
    *,
    format: Format | None = None,
    arrays: Sequence[str] | None = None,
    compression: str | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> None:
    """Write stored arrays as files of another format.

    Samples stream: memory does not grow with the data. The result gets its name when it is whole
    and on the device; an export that fails or is killed leaves nothing of that name, and what was
    there before stays.

    Parameters
    ----------
    source
        A file, an open store, some of its samples (``store.select``, `chunkstore.split`), or a dict
        of arrays.
    out
        The new file; a folder for ``"zarr"`` and ``"images"``, and for ``"npy"`` without the suffix
        ``.npy``, which then has a file for each array.
    format
        None goes by the suffix of ``out``: ``.npy``, ``.npz``, ``.h5``, ``.hdf5``, ``.zarr``,
        ``.parquet``, ``.arrow``, ``.feather``. ``"images"`` writes PNG files: one folder for each
        class of the array ``y`` if there is one, with the names of the array ``name`` if there is
        one, numbered else.
    arrays
        Which ones; None for all. Of ``"images"`` the array of pictures, and no other.
    compression
        Of HDF5 ``"lzf"`` (as it is by default), ``"gzip"`` or ``"none"``; of parquet ``"zstd"``
        (default), ``"snappy"``, ``"gzip"``, ``"lz4"`` or ``"none"``; of arrow ``"zstd"``, ``"lz4"``
        or ``"none"`` (default). The others have no choice.
    overwrite
        Replace an existing file, or a folder that is an export of the same format and holds nothing
        else: a file ``.chunkstore-export.json`` in it says so.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Raises
    ------
    ExistingFileError
        ``out`` exists and ``overwrite`` is False, or is a folder with other files.
    MissingFileError
        There is no folder for it.
    LockedError
        Another process exports to the same place.
    KeyError, ValueError, TypeError
        An array, format or option that there is not; arrays of a type that the format has not.
    ImportError
        The package that writes the format is not installed; says how to install it.
    CorruptionError
        A chunk is damaged: an export is whole or not there.

    Notes
    -----
    Types that a format has not are stored so that the importers give them back, and said in
    docs/importing.md: in HDF5 dates are integers with an attribute ``numpy_dtype``. What cannot be
    is refused.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> folder = tempfile.mkdtemp()
    >>> cs.export({"x": np.arange(6).reshape(3, 2)}, os.path.join(folder, "x.npy"))
    >>> np.load(os.path.join(folder, "x.npy")).tolist()
    [[0, 1], [2, 3], [4, 5]]
    """
    target = Path(os.fspath(out))
    chosen = _choose_format(target, format)
    _check_compression(chosen, compression)
    if not overwrite:
        check_free(target)
    if not target.absolute().parent.is_dir():
        raise MissingFileError(
            f"the export cannot be written: there is no folder {str(target.parent)!r}",
            str(target),
            errno=errno.ENOENT,
        )
    _check_apart(source, target)
    if target.is_dir():
        _check_replaceable(target, chosen)
    with (
        open_contents(source, arrays, format=chosen, compression=compression) as contents,
        replacing(target, overwrite=overwrite) as partial,
        progress_bar(contents.nbytes, what="exporting", show=progress) as advance,
    ):
        contents.advance = advance
        _WRITERS[chosen](contents, partial)
        if partial.is_dir():
            _leave_marker(partial, chosen, contents.told)


def _choose_format(target: Path, asked: str | None) -> Format:
    if asked is None:
        chosen = _SUFFIXES.get(target.suffix.lower())
        if chosen is None:
            raise ValueError(
                f"the format does not follow from the name {target.name!r}: give it one of the "
                f"suffixes {', '.join(_SUFFIXES)}, or format={' or '.join(map(repr, _WRITERS))}"
            )
        return chosen
    if asked not in get_args(Format):
        raise ValueError(f"format must be one of {', '.join(map(repr, _WRITERS))}, got {asked!r}")
    return asked  # type: ignore[return-value]  # was looked up


def _check_compression(chosen: str, compression: str | None) -> None:
    allowed = _COMPRESSIONS.get(chosen, ())
    if compression is not None and compression not in allowed:
        choices = f"one of {', '.join(map(repr, allowed))}" if allowed else "left out"
        raise ValueError(f"compression of {chosen} must be {choices}, got {compression!r}")


def _check_replaceable(folder: Path, chosen: Format) -> None:
    """Raise an error if a folder is not an export of the same format, and nothing but that."""
    if chosen not in _FOLDERS:
        raise DirectoryGivenError(
            f"this is a folder, and {chosen} is a file", str(folder), errno=errno.EISDIR
        )
    try:
        listed = json.loads((folder / EXPORT_MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        listed = None
    there = {
        found.relative_to(folder).as_posix() for found in folder.rglob("*") if not found.is_dir()
    }
    if not there:
        return
    if not isinstance(listed, dict) or listed.get("format") != chosen:
        raise ExistingFileError(
            f"a folder is replaced only if it is an export of {chosen}, and this one is not: it "
            f"holds {min(there)}",
            str(folder),
            errno=errno.EEXIST,
        )
    if others := there - {EXPORT_MARKER, *listed["files"]}:
        raise ExistingFileError(
            f"a folder is replaced only if nothing but an export of {chosen} is in it, and it "
            f"holds {min(others)}",
            str(folder),
            errno=errno.EEXIST,
        )


def _check_apart(source: object, target: Path) -> None:
    """Raise ValueError if the result would take the place of what is exported."""
    stores = [source, *getattr(source, "sources", ())]
    for store in stores:
        path = store if isinstance(store, str | os.PathLike) else getattr(store, "path", "")
        if path and target.exists() and Path(path).exists() and target.samefile(path):
            raise ValueError(f"{target}: this is the file that is exported; name another one")


def _leave_marker(folder: Path, chosen: Format, told: Mapping[str, Any]) -> None:
    """List the files of an exported folder in it, so that it can be told from any other."""
    files = sorted(
        found.relative_to(folder).as_posix() for found in folder.rglob("*") if found.is_file()
    )
    text = json.dumps({"format": chosen, "files": files, **told})
    (folder / EXPORT_MARKER).write_text(text, encoding="utf-8")
