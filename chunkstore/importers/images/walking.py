"""Which image files does a source hold: a folder and all below it, a pattern, or files by name?"""

from __future__ import annotations

import glob
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chunkstore.errors import MissingFileError, system_call_error
from chunkstore.importing.losses import listed
from chunkstore.settings import EXPORT_MARKER

if TYPE_CHECKING:
    from collections.abc import Sequence

IMAGE_SUFFIXES: Final = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".tif", ".tiff", ".gif"),
        *(".webp", ".bmp", ".dib", ".pgm", ".ppm", ".pbm", ".pnm"),
        # Not read, so that they are named and not left out.
        *(".avif", ".heic", ".heif", ".jp2", ".j2k", ".jxl"),
    )
)
# How files of the formats that are read begin, whatever they are called.
_SIGNATURES: Final = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"II*\x00",
    b"MM\x00*",
    b"GIF87a",
    b"GIF89a",
    b"BM",
)
_JUNK: Final = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
_JUNK_FOLDERS: Final = frozenset({"__MACOSX"})
_MAX_NOTED: Final = 10


@dataclass(frozen=True)
class ImageFiles:
    """Image files, none of which was decoded.

    Attributes
    ----------
    source
        What the person gave.
    root
        Folder that names are relative to.
    names, paths
        Of each file: below the root, with ``/``; and to open it.
    notes
        What was left out.
    repeated
        Folders below the root that are links to others, under which their images are listed.
    """

    source: str
    root: str
    names: list[str]
    paths: list[str]
    notes: list[str] = field(default_factory=list)
    repeated: tuple[str, ...] = ()


def find_images(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> ImageFiles:
    """Return the image files of a source, in the order of their names.

    Parameters
    ----------
    source
        A folder, which is searched to any depth; a pattern such as ``"photos/**/*.jpg"``, or files,
        which are taken whatever they are called.

    Raises
    ------
    MissingFileError
        There is no such folder or file.
    SystemCallError
        A folder cannot be read.
    """
    if not isinstance(source, str | os.PathLike):
        files = [os.fspath(path) for path in source]
        if not files:
            raise ValueError("an import of images needs a folder, a pattern or files, got no files")
        root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in files])
        names = [_relative(os.path.abspath(path), root) for path in files]
        return ImageFiles(f"{len(files)} files in {root}", root, names, files)
    place = os.fspath(source)
    if os.path.isdir(place):
        return _walked(place)
    if os.path.exists(place):
        return ImageFiles(place, os.path.dirname(place), [os.path.basename(place)], [place])
    if not glob.has_magic(place):
        raise MissingFileError("there is no such folder or file", place)
    files = [path for path in glob.glob(place, recursive=True) if os.path.isfile(path)]
    root = _fixed_part(place)
    paths = {_relative(path, root): path for path in files}
    ordered = sorted(paths, key=_by_folder)
    return ImageFiles(place, root, ordered, [paths[name] for name in ordered])


def _walked(root: str) -> ImageFiles:
    """Return the images of a folder and of all below it."""
    names: list[str] = []
    hidden: list[str] = []
    others: list[str] = []
    special: list[str] = []
    repeated: list[str] = []
    seen = set()

    def refused(error: OSError) -> None:
        raise system_call_error(error, "the folder cannot be listed") from error

    for folder, below, files in os.walk(root, followlinks=True, onerror=refused):
        # A link to a folder above would be followed for ever.
        real = os.path.realpath(folder)
        if real in seen:
            repeated.append(_relative(folder, root) + "/")
            below.clear()
            continue
        seen.add(real)
        hidden += [
            _relative(os.path.join(folder, name), root) + "/"
            for name in below
            if _is_hidden(name, _JUNK_FOLDERS)
        ]
        below[:] = sorted(name for name in below if not _is_hidden(name, _JUNK_FOLDERS))
        for name in files:
            path = os.path.join(folder, name)
            relative = _relative(path, root)
            if name == EXPORT_MARKER:
                # Beside images that were exported.
                continue
            if _is_hidden(name.lower(), _JUNK):
                hidden.append(relative)
            elif is_special(path):
                special.append(relative)
            elif _may_be_image(path):
                names.append(relative)
            else:
                others.append(relative)
    names.sort(key=_by_folder)
    return ImageFiles(
        root,
        root,
        names,
        [os.path.join(root, *name.split("/")) for name in names],
        [
            *left_out("hidden", hidden),
            *left_out("no images", others),
            *left_out("links to folders that are listed already", repeated),
            *left_out("pipes, sockets or devices", special),
        ],
        tuple(name.rstrip("/") for name in repeated),
    )


def left_out(what: str, names: list[str]) -> list[str]:
    """Return a note of what is left out; none where nothing is."""
    if not names:
        return []
    ordered = sorted(names, key=_by_folder)
    shown = ", ".join(listed(ordered, most=_MAX_NOTED))
    return [f"left out, {what}: {shown}"]


def folders_of(root: str) -> set[str]:
    """Return the folders directly in a folder, but for hidden ones."""
    with os.scandir(root) as entries:
        return {
            entry.name
            for entry in entries
            if entry.is_dir() and not _is_hidden(entry.name, _JUNK_FOLDERS)
        }


def _is_hidden(name: str, junk: frozenset[str]) -> bool:
    return name.startswith(".") or name in junk


def is_special(path: str) -> bool:
    """Return whether this is a pipe, a socket or a device: reading one may wait for ever."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _may_be_image(path: str) -> bool:
    if os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES:
        return True
    try:
        with open(path, "rb") as file:
            start = file.read(12)
    except OSError:
        return False
    return start.startswith(_SIGNATURES) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


def _fixed_part(pattern: str) -> str:
    """Return the folder of a pattern that holds no wildcard.

    Examples
    --------
    >>> _fixed_part("photos/2024/*/a*.jpg"), _fixed_part("*.jpg")
    ('photos/2024', '.')
    """
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return str(Path(*parts[:fixed]))


def _relative(path: str, root: str) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")


def _by_folder(name: str) -> list[str]:
    return name.split("/")
