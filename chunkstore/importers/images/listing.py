"""Which samples does a source of images have, and which classes do its folders say?"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from chunkstore.errors import ChunkStoreError, MissingFileError
from chunkstore.importers.images.walking import find_images, folders_of, left_out
from chunkstore.settings import EXPORT_MARKER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

Layout = Literal["auto", "classes", "flat"]

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
    files = find_images(source)
    chosen = [i for i, name in enumerate(files.names) if is_image(name)]
    listing = Listing(
        files.source,
        files.root,
        [files.names[i] for i in chosen],
        [files.paths[i] for i in chosen],
        notes=list(files.notes),
    )
    is_folder = isinstance(source, str | os.PathLike) and os.path.isdir(source)
    if layout == "auto" and class_names is not None:
        layout = "classes"
    elif layout == "auto":
        layout = _found_layout(listing) if is_folder else "flat"
    if layout == "classes":
        root = listing.root if is_folder else None
        _label_by_folder(listing, root, class_names, files.repeated)
    elif class_names is not None:
        raise ValueError("class_names= goes with layout='classes', got layout='flat'")
    if not listing.names:
        raise MissingFileError(
            "there are no images" + "".join(f"; {note}" for note in listing.notes), listing.source
        )
    listing.provenance["layout"] = layout
    return listing


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


def _label_by_folder(
    listing: Listing, root: str | None, wanted: Sequence[str] | None, repeated: Sequence[str]
) -> None:
    """Give a listing the labels that its first folders say."""
    top = [name for name in listing.names if "/" not in name]
    if top and root is None:
        raise ValueError(
            f"{listing.source}: {top[0]!r} stands in no folder that could be its class"
        )
    if top:
        listing.notes += left_out("in no class folder", top)
        kept = [i for i, name in enumerate(listing.names) if "/" in name]
        listing.names = [listing.names[i] for i in kept]
        listing.paths = [listing.paths[i] for i in kept]
    found = sorted({name.partition("/")[0] for name in listing.names})
    empty = folders_of(root) - set(found) if root is not None else set()
    told = None if wanted is not None or root is None else _exported_classes(root, found)
    if told is not None:
        # There is no folder for a class without images.
        wanted, empty = told, set(told) - set(found)
    if wanted is None:
        if links := sorted(empty & set(repeated)):
            raise ValueError(
                f"{listing.source}: {links[0]!r} is a link to a folder whose images are listed "
                "under its own name: whether it is a class of its own is not clear; class_names= "
                "says which folders are, in the order of their labels"
            )
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


def _exported_classes(root: str, found: Sequence[str]) -> list[str] | None:
    """Return the classes that an export of ours says a folder has, in the order of their labels.

    None where it is no such folder, or others were added to it.
    """
    try:
        with open(os.path.join(root, EXPORT_MARKER), encoding="utf-8") as file:
            told = json.load(file)
    except (OSError, ValueError):
        return None
    names = told.get("class_names") if isinstance(told, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return names if set(found) <= set(names) else None


def check_class_names(names: Sequence[str]) -> None:
    """Raise ValueError for a name that comes twice, or an empty one."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"class_names has {name!r} twice")
        if not name:
            raise ValueError("class_names has an empty name")
        seen.add(name)
