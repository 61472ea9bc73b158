"""How is a folder or a zip opened as a store of zarr-python, and told from others?"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zarr

from chunkstore.errors import CorruptionError, FormatError, MissingFileError
from chunkstore.importers.arrays.files import file_identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import ExitStack

_STEP_NBYTES: Final = 4 << 20


class _Zip(zarr.storage.ZipStore):  # type: ignore[misc]  # zarr may be without types
    """A zip in which a folder's entries are those in it.

    Those of zarr-python are all that begin with its name, and it stumbles over ``x2`` beside ``x``.
    """

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of the entries in a folder, of all where it has no name."""
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        async for name in super().list_prefix(prefix):
            if name.startswith(folder):
                yield name


def opened(place: str, resources: ExitStack) -> Any:
    """Return the group or the array of a folder or a zip.

    Parameters
    ----------
    place
        The folder or the zip.
    resources
        Gets what has to be closed.

    Raises
    ------
    FormatError
        There is none.
    CorruptionError
        A zip is damaged.
    MissingFileError
        Nothing is there.
    """
    path = Path(place)
    if not path.exists():
        raise MissingFileError("there is no such folder or zip", place, errno=2)
    store: Any
    if path.is_dir():
        store = zarr.storage.LocalStore(place, read_only=True)
    else:
        _check_zip(place)
        store = _Zip(place, mode="r")
    resources.callback(store.close)
    try:
        return zarr.open(store=store, mode="r")
    except (FileNotFoundError, KeyError, ValueError, TypeError, AttributeError) as error:
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


def identity_of(place: str) -> str:
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
