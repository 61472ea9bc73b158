"""Which kind of data lies at a path, and who reads it?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import FormatError, MissingFileError
from chunkstore.store.store import open_store
from chunkstore.tuning.source import ImportedSource, TuneSource, of_mapping

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from chunkstore.tuning.results import Notes

_HDF5: Final = (".h5", ".hdf5", ".hdf", ".he5", ".mat")
_NPY: Final = (".npy", ".npz")
_ZARR: Final = ("zarr.json", ".zgroup", ".zarray")
# A carray has the first; a ctable the second.
_BCOLZ: Final = ("meta/storage", "__rootdirs__")
_ARCHIVES: Final = (".tar", ".tar.gz", ".tgz")


def open_path(
    path: str,
    *,
    array: str | None,
    size: tuple[int, int] | None,
    notes: Notes,
    stack: ExitStack,
) -> TuneSource:
    """Open a file or folder by what is in it.

    Parameters
    ----------
    path
        A store, an npy, npz or HDF5 file, an archive of bcolz; a folder of bcolz, zarr, npy files
        or images.
    array, size, notes
        See `chunkstore.tuning.source.open_source`.
    stack
        Closes what is opened.

    Raises
    ------
    MissingFileError
        There is nothing at the path.
    FormatError
        It is none of these.
    """
    place = Path(path)
    if not place.exists():
        raise MissingFileError("there is no such file or folder", path)
    is_folder = place.is_dir()
    if is_folder and _is_images(place):
        from chunkstore.tuning.image_files import open_images

        if array not in (None, "x"):
            raise KeyError(f"{path}: images are the array 'x', there is no {array!r}")
        return open_images(path, size=size, notes=notes)
    if size is not None:
        raise ValueError(f"size= (--size) is for a folder of images, {path} is none")
    low = path.lower()
    if is_folder and any((place / name).exists() for name in _ZARR):
        from chunkstore.importers.zarr_store import open_zarr

        return _imported(open_zarr, path, array, notes, stack)
    if (is_folder and _is_bcolz(place)) or low.endswith(_ARCHIVES):
        from chunkstore.importers.bcolz.open import open_bcolz

        store = stack.enter_context(open_bcolz(path, arrays=None if array is None else [array]))
        return of_mapping(store, array, notes, name=path)
    if is_folder or low.endswith(_NPY):
        from chunkstore.importers.npy import open_npy

        return _imported(open_npy, path, array, notes, stack)
    if low.endswith(_HDF5):
        from chunkstore.importers.hdf5 import open_hdf5

        return _imported(open_hdf5, path, array, notes, stack)
    try:
        return of_mapping(stack.enter_context(open_store(path)), array, notes)
    except FormatError as error:
        raise FormatError(
            f"{error.message}; tune takes a store (.zarr.zip), .npy, .npz and .h5 files, and "
            "folders of bcolz, zarr, npy files or images",
            path,
        ) from error


def import_kind(path: str) -> str | None:
    """Return which command of ``chunkstore import`` takes what `open_path` opened.

    Returns
    -------
    Its name, or None for what is a store already.
    """
    place, low = Path(path), path.lower()
    is_folder = place.is_dir()
    if is_folder and _is_images(place):
        return "images"
    if is_folder and any((place / name).exists() for name in _ZARR):
        return "zarr"
    if (is_folder and _is_bcolz(place)) or low.endswith(_ARCHIVES):
        return "bcolz"
    if is_folder or low.endswith(_NPY):
        return "npy"
    return "hdf5" if low.endswith(_HDF5) else None


def _imported(
    open_samples: Callable[..., Any], path: str, array: str | None, notes: Notes, stack: ExitStack
) -> ImportedSource:
    try:
        # One that is named need not have the length of the others.
        samples = stack.enter_context(open_samples(path, arrays=None if array is None else [array]))
    except ValueError as error:
        if array is not None:
            raise
        raise ValueError(f"{error}; here array= (--array) names the one to measure") from error
    specs = samples.specs
    if array is None:
        array = max(specs, key=lambda name: specs[name].sample_nbytes)
        if len(specs) > 1:
            notes.add(
                f"array {array!r} was measured, which has most bytes of {', '.join(specs)}; "
                "array= (--array) chooses another"
            )
    return ImportedSource(samples, array, str(Path(path).absolute().parent), notes)


def _is_bcolz(folder: Path) -> bool:
    """Tell whether a folder is an array, a table, or a tree of them."""
    places = [folder, *(inside for inside in folder.iterdir() if inside.is_dir())]
    return any((place / name).exists() for place in places for name in _BCOLZ)


def _is_images(folder: Path) -> bool:
    """Tell whether a folder is none of the others: no arrays of zarr, bcolz or npy in it."""
    names = [inside.name for inside in folder.iterdir()]
    if any(name in names for name in _ZARR) or _is_bcolz(folder):
        return False
    return not any(name.lower().endswith(_NPY) for name in names)
