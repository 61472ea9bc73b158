"""What is in an archive of CIFAR, packed or unpacked?"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import ChunkStoreError, CorruptionError, FormatError, MissingFileError
from chunkstore.importers.arrays.files import file_identity
from chunkstore.importers.pickles_arrays import load_arrays

if TYPE_CHECKING:
    from collections.abc import Callable

# No member of the archives is nearly as large.
_MAX_MEMBER_NBYTES: Final = 512 << 20


@dataclass(frozen=True)
class CifarKind:
    """One of the two data sets: its members, and the keys of its labels by the arrays' names."""

    parts: dict[str, tuple[str, ...]]
    meta: str
    labels: dict[str, str]
    class_names: dict[str, str]


_CIFAR_10: Final = CifarKind(
    {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
    "batches.meta",
    {"y": "labels"},
    {"y": "label_names"},
)
_CIFAR_100: Final = CifarKind(
    {"train": ("train",), "test": ("test",)},
    "meta",
    {"y": "fine_labels", "coarse": "coarse_labels"},
    {"y": "fine_label_names", "coarse": "coarse_label_names"},
)


def archive_identity(place: str) -> str:
    """Return what tells an archive, or the folder it was unpacked to, from others."""
    if not os.path.isdir(place):
        return file_identity(place)
    folder, wanted = _folder(place), _wanted()
    return " ".join(file_identity(path) for path in sorted(folder.iterdir()) if path.name in wanted)


def read_members(place: str, part: str) -> tuple[CifarKind, dict[str, dict[str, Any]]]:
    """Return which data set it is, and the values of the members that a part needs.

    Parameters
    ----------
    place
        The archive, or a folder.
    part
        Which of its parts.

    Raises
    ------
    FormatError, MissingFileError, UnsupportedError, CorruptionError
        See `chunkstore.import_cifar`.
    """
    raw = _raw_folder(place) if os.path.isdir(place) else _raw_archive(place)
    kind = next((k for k in (_CIFAR_10, _CIFAR_100) if k.meta in raw), None)
    if kind is None:
        raise FormatError(
            "there is neither 'batches.meta' of CIFAR-10 nor 'meta' of CIFAR-100, as in the Python "
            "version of the archive",
            place,
        )
    values: dict[str, dict[str, Any]] = {}
    for name in (*kind.parts[part], kind.meta):
        if name not in raw:
            raise MissingFileError(f"the member {name!r} is not there", place, errno=2)
        try:
            value = load_arrays(raw[name]())
        except ChunkStoreError as error:
            raise error.located(place, name) from None
        if not isinstance(value, dict):
            raise FormatError(f"the member {name!r} is no dict", place)
        values[name] = value
    return kind, values


def _raw_folder(place: str) -> dict[str, Callable[[], bytes]]:
    wanted = _wanted()
    return {path.name: path.read_bytes for path in _folder(place).iterdir() if path.name in wanted}


def _folder(place: str) -> Path:
    """Return the folder of the members, which may be the one in it."""
    inside = sorted(path for path in Path(place).iterdir() if path.is_dir())
    return next((path for path in inside if path.name.startswith("cifar-")), Path(place))


def _raw_archive(place: str) -> dict[str, Callable[[], bytes]]:
    """Return the members of a tar by name, in one pass: they are some 180 MB together."""
    found: dict[str, bytes] = {}
    wanted = _wanted()
    try:
        with tarfile.open(place, "r|*") as archive:
            for info in archive:
                name = os.path.basename(info.name)
                if name not in wanted or not info.isfile():
                    continue
                if info.size > _MAX_MEMBER_NBYTES:
                    raise FormatError(f"the member {name!r} takes {info.size} bytes", place)
                stream = archive.extractfile(info)
                found[name] = b"" if stream is None else stream.read()
    except tarfile.ReadError as error:
        if not found:
            raise FormatError(f"this is no archive: {error}", place) from None
        raise CorruptionError(f"the archive is damaged: {error}", place) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorruptionError(f"the archive is damaged: {error}", place) from None
    return {name: partial(bytes, raw) for name, raw in found.items()}


def _wanted() -> set[str]:
    kinds = (_CIFAR_10, _CIFAR_100)
    return {name for kind in kinds for names in kind.parts.values() for name in names} | {
        kind.meta for kind in kinds
    }
