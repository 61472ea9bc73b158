"""Which image files are there, and which classes do their folders say?"""

from __future__ import annotations

import glob
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from chunkstore.errors import ChunkStoreError, MissingFileError, system_call_error
from chunkstore.importing.losses import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

Layout = Literal["auto", "classes", "flat"]

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
Y: Final = "y"


@dataclass(frozen=True)
class Label:
    """One array of labels.

    Attributes
    ----------
    values
        Of each sample, shape ``(n, ...)``.
    class_names
        By label; None where the labels are no classes.
    """

    values: NDArray[Any]
    class_names: tuple[str, ...] | None = None


@dataclass
class Listing:
    """The samples of a source, before any of their files is opened.

    Attributes
    ----------
    source
        What the person gave.
    root
        Folder that names are relative to.
    names, paths
        Of each sample: its name in the new file, and its file.
    labels
        By the name of the array.
    masks
        Files of masks, by the name of the array.
    places
        Where each sample is said, such as ``"list.csv, line 7"``; None where its name says it.
    problems
        What is wrong with a sample that its file does not show, by number.
    notes
        What was left out.
    provenance
        How the samples were found, JSON values.
    """

    source: str
    root: str
    names: list[str]
    paths: list[str]
    labels: dict[str, Label] = field(default_factory=dict)
    masks: dict[str, list[str]] = field(default_factory=dict)
    places: list[str] | None = None
    problems: dict[int, ChunkStoreError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)

    def place(self, number: int) -> str:
        """Return what a person calls a sample."""
        name = self.names[number]
        return name if self.places is None else f"{self.places[number]}: {name}"


def list_images(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    layout: Layout = "auto",
    class_names: Sequence[str] | None = None,
    is_image: Callable[[str], bool] = lambda name: True,
) -> Listing:
    """List images in the order of their names.

    Parameters
    ----------
    source
        A folder, a pattern such as ``"photos/**/*.jpg"``, or files.
    layout
        ``"classes"``: the folders directly below are classes; ``"flat"``: there are none. A folder
        decides by what is in it with ``"auto"``; patterns and files are flat then.
    class_names
        Folders that are classes, in the order of their labels; by default all, sorted.
    is_image
        Whether a file, by its name relative to the source, is wanted.

    Returns
    -------
    listing
        With ``"classes"`` it has the labels ``y``.

    Raises
    ------
    MissingFileError
        There is no such folder, or no image.
    ValueError
        ``"auto"`` finds images both beside and in folders; folders and classes do not agree.
    SystemCallError
        A folder cannot be read.
    """
    if layout not in get_args(Layout):
        raise ValueError(f"layout must be one of {list(get_args(Layout))}, got {layout!r}")
    listing = _listed_files(source)
    chosen = [i for i, name in enumerate(listing.names) if is_image(name)]
    listing.names = [listing.names[i] for i in chosen]
    listing.paths = [listing.paths[i] for i in chosen]
    is_folder = isinstance(source, str | os.PathLike) and os.path.isdir(source)
    if layout == "auto" and class_names is not None:
        layout = "classes"
    elif layout == "auto":
        layout = _found_layout(listing) if is_folder else "flat"
    if layout == "classes":
        _label_by_folder(listing, listing.root if is_folder else None, class_names)
    elif class_names is not None:
        raise ValueError("class_names= goes with layout='classes', got layout='flat'")
    if not listing.names:
        raise MissingFileError(
            "there are no images" + "".join(f"; {note}" for note in listing.notes), listing.source
        )
    listing.provenance["layout"] = layout
    return listing


def _listed_files(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> Listing:
    """Return the files of a source."""
    if not isinstance(source, str | os.PathLike):
        files = [os.fspath(path) for path in source]
        if not files:
            raise ValueError("import_images needs a folder, a pattern or files, got no files")
        root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in files])
        names = [_relative(os.path.abspath(path), root) for path in files]
        return Listing(f"{len(files)} files in {root}", root, names, files)
    place = os.fspath(source)
    if os.path.isdir(place):
        return _walked(place)
    if os.path.exists(place):
        return Listing(place, os.path.dirname(place), [os.path.basename(place)], [place])
    if not glob.has_magic(place):
        raise MissingFileError("there is no such folder or file", place)
    files = [path for path in glob.glob(place, recursive=True) if os.path.isfile(path)]
    root = _fixed_part(place)
    paths = {_relative(path, root): path for path in files}
    ordered = sorted(paths, key=_by_folder)
    return Listing(place, root, ordered, [paths[name] for name in ordered])


def _walked(root: str) -> Listing:
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
            if _is_hidden(name.lower(), _JUNK):
                hidden.append(relative)
            elif is_special(path):
                special.append(relative)
            elif _may_be_image(path):
                names.append(relative)
            else:
                others.append(relative)
    names.sort(key=_by_folder)
    listing = Listing(root, root, names, [os.path.join(root, *name.split("/")) for name in names])
    _note_left_out(listing, "hidden", hidden)
    _note_left_out(listing, "no images", others)
    _note_left_out(listing, "links to folders that are listed already", repeated)
    _note_left_out(listing, "pipes, sockets or devices", special)
    return listing


def _note_left_out(listing: Listing, what: str, names: list[str]) -> None:
    if names:
        names.sort(key=_by_folder)
        shown = ", ".join(listed(names, most=_MAX_NOTED))
        listing.notes.append(f"left out, {what}: {shown}")


def _found_layout(listing: Listing) -> Literal["classes", "flat"]:
    """Return whether images stand in folders or beside each other."""
    top = [name for name in listing.names if "/" not in name]
    if not top or len(top) == len(listing.names):
        return "flat" if top else "classes"
    below = next(name for name in listing.names if "/" in name)
    raise ValueError(
        f"{listing.source}: there are images in the folder itself ({top[0]!r}) and in folders "
        f"({below!r}): say layout='classes', which leaves the former out, or layout='flat', "
        "which takes all without labels"
    )


def _label_by_folder(listing: Listing, root: str | None, wanted: Sequence[str] | None) -> None:
    """Give a listing the labels that its first folders say."""
    top = [name for name in listing.names if "/" not in name]
    if top and root is None:
        raise ValueError(
            f"{listing.source}: {top[0]!r} stands in no folder that could be its class"
        )
    if top:
        _note_left_out(listing, "in no class folder", top)
        kept = [i for i, name in enumerate(listing.names) if "/" in name]
        listing.names = [listing.names[i] for i in kept]
        listing.paths = [listing.paths[i] for i in kept]
    found = sorted({name.partition("/")[0] for name in listing.names})
    empty = _folders(root) - set(found) if root is not None else set()
    if wanted is None:
        if empty and found:
            raise ValueError(
                f"{listing.source}: no images in {', '.join(map(repr, sorted(empty)))}: whether "
                "that is a class is not clear; class_names= says which folders are, in the order "
                "of their labels"
            )
        class_names = found
    else:
        class_names = list(wanted)
        check_class_names(class_names)
        if unknown := sorted(set(found) - set(class_names)):
            raise ValueError(
                f"{listing.source}: the folder {unknown[0]!r} holds images and is none of the "
                f"{len(class_names)} class_names"
            )
        if missing := sorted(set(class_names) - set(found) - empty):
            raise ValueError(f"{listing.source}: there is no folder for the class {missing[0]!r}")
        if no_image := sorted(set(class_names) - set(found)):
            listing.notes.append(f"classes without images: {', '.join(no_image)}")
    number = {name: i for i, name in enumerate(class_names)}
    values = np.array([number[name.partition("/")[0]] for name in listing.names], np.int64)
    listing.labels[Y] = Label(values, tuple(class_names))


def check_class_names(names: Sequence[str]) -> None:
    """Raise ValueError for a name that comes twice, or an empty one."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"class_names has {name!r} twice")
        if not name:
            raise ValueError("class_names has an empty name")
        seen.add(name)


def _folders(root: str) -> set[str]:
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
