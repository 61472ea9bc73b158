"""Which images and labels does a CSV or TSV file list?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

from chunkstore.errors import ExistingFileError, FormatError, MissingFileError, system_call_error
from chunkstore.importers.images.columns import (
    choose_columns,
    class_names_by_label,
    find_column,
    read_label,
)
from chunkstore.importers.images.listing import Label, Listing
from chunkstore.importers.images.manifest_lines import join_line, read_lines
from chunkstore.importers.images.walking import IMAGE_SUFFIXES
from chunkstore.importing.losses import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Header = Literal["auto", "yes", "no"]

_PATH: Final = "path"
_KIND_OF_DTYPE: Final = {"i": "int", "f": "float"}


def list_manifest(
    manifest: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    delimiter: str | None = None,
    header: Header = "auto",
    path_column: str | int = 0,
    labels: Mapping[str, str | int] | None = None,
    class_names: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
) -> Listing:
    """List the images of a manifest in its order.

    Parameters
    ----------
    manifest
        The file, see `chunkstore.importers.images.manifest_lines.read_lines`.
    root
        Folder that paths are relative to; by default the manifest's own.
    delimiter
        Between cells; None finds it.
    header
        Whether the first row names the columns. ``"auto"``: it does if its path is neither called
        as images are nor a file.
    path_column
        Of the images.
    labels, class_names
        See `chunkstore.importers.images.columns`.

    Returns
    -------
    listing
        Lines that are wrong are samples with a problem, which names the line.

    Raises
    ------
    ValueError, KeyError, ChunkStoreError
        See `read_lines` and `choose_columns`.
    """
    if header not in get_args(Header):
        raise ValueError(f"header must be one of {list(get_args(Header))}, got {header!r}")
    place = os.fspath(manifest)
    base = os.path.dirname(place) if root is None else os.fspath(root)
    lines = read_lines(place, delimiter=delimiter)
    num_columns = max(map(len, lines.cells))
    if not num_columns:
        raise FormatError(f"no line is a row; line {lines.numbers[0]}: {lines.wrong[0]}", place)
    first = lines.cells[0]
    notes = []
    head: list[str] | None = None
    if first and (header == "yes" or (header == "auto" and _is_header(first, path_column, base))):
        head = first
        notes.append(f"line {lines.numbers[0]} is the header: {', '.join(head)}")
        del lines.cells[0], lines.numbers[0]
        lines.wrong = {row - 1: reason for row, reason in lines.wrong.items()}
        if not lines.cells:
            raise FormatError("the manifest holds a header and no row", place)
    column = find_column(str(path_column), head, num_columns)
    wanted = choose_columns(labels, header=head, num_columns=num_columns, path_column=column)
    classes = class_names_by_label(class_names, wanted)
    names = ["" if row in lines.wrong else cells[column] for row, cells in enumerate(lines.cells)]
    for row, name in enumerate(names):
        if not name and row not in lines.wrong:
            lines.wrong[row] = "the path is empty"
    listing = Listing(
        place,
        base,
        names,
        [_resolved(name, base) for name in names],
        places=[f"{place}, line {number}" for number in lines.numbers],
        notes=notes,
        provenance={
            "root": base,
            "delimiter": lines.delimiter,
            "header": head,
            "path_column": column,
            "labels": {label.name: list(label.columns) for label in wanted},
        },
    )
    for label in wanted:
        found = read_label(label, lines.cells, lines.wrong, classes.get(label.name))
        if isinstance(found, Label):
            listing.labels[label.name] = found
        else:
            listing.masks[label.name] = [_resolved(text, base) for text in found]
    listing.problems = {
        row: FormatError(f"line {lines.numbers[row]}: {reason}", place)
        for row, reason in sorted(lines.wrong.items())
    }
    _note_repeated(listing)
    return listing


def check_manifest(
    path: str | os.PathLike[str], listing: Listing, numbers: Sequence[int], *, overwrite: bool
) -> None:
    """Raise what `write_manifest` would raise of the same; nothing is changed.

    Parameters
    ----------
    path, listing, numbers, overwrite
        See `write_manifest`.

    Raises
    ------
    ExistingFileError
        There is a file, and ``overwrite`` is False.
    MissingFileError
        There is no folder for it.
    ValueError
        A name holds a line break.
    """
    for _ in _manifest_lines(listing, numbers):
        pass
    target = Path(path)
    if target.exists() and not overwrite:
        raise ExistingFileError(
            "the file exists already; overwrite=True (--overwrite) replaces it", os.fspath(path)
        )
    if not target.absolute().parent.is_dir():
        raise MissingFileError("there is no folder for the manifest", os.fspath(path))


def write_manifest(
    path: str | os.PathLike[str], listing: Listing, numbers: Sequence[int], *, overwrite: bool
) -> None:
    """Write the manifest of samples, which `list_manifest` reads to the same samples.

    Parameters
    ----------
    path
        The file.
    listing
        What was found. Paths are relative to its root.
    numbers
        Of the samples that get a line.
    overwrite
        Replace another file.

    Raises
    ------
    ExistingFileError
        There is another file.
    ValueError
        A name holds a line break.
    SystemCallError
        The file cannot be written.
    """
    check_manifest(path, listing, numbers, overwrite=overwrite)
    content = "".join(f"{line}\n" for line in _manifest_lines(listing, numbers)).encode(
        "utf-8", "surrogateescape"
    )
    target = Path(path)
    # Beside it, so that the manifest is there whole or not at all.
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        try:
            temporary.write_bytes(content)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise system_call_error(error, "the manifest cannot be written", str(path)) from error


def _manifest_lines(listing: Listing, numbers: Sequence[int]) -> Iterator[str]:
    sound = list(numbers)
    columns: list[list[str]] = [[_PATH, *(listing.names[number] for number in sound)]]
    for name, label in listing.labels.items():
        values = label.values[sound].reshape(len(sound), -1)
        if label.class_names is not None:
            columns.append([f"{name}:name", *(label.class_names[i] for i in values[:, 0].tolist())])
            continue
        kind = _KIND_OF_DTYPE[label.values.dtype.kind]
        columns += [[f"{name}:{kind}", *map(repr, column.tolist())] for column in values.T]
    for name, paths in listing.masks.items():
        root = listing.root or "."
        relative = [os.path.relpath(paths[number], root) for number in sound]
        columns.append([f"{name}:path", *(path.replace(os.sep, "/") for path in relative)])
    for cells in zip(*columns, strict=True):
        yield join_line(cells)


def _is_header(cells: Sequence[str], path_column: str | int, base: str) -> bool:
    """Return whether the first row names columns."""
    if not str(path_column).isdigit() or int(path_column) >= len(cells):
        return str(path_column) in cells
    cell = cells[int(path_column)]
    is_called_so = os.path.splitext(cell)[1].lower() in IMAGE_SUFFIXES
    return not is_called_so and not os.path.exists(_resolved(cell, base))


def _resolved(name: str, base: str) -> str:
    """Return the file that a cell names; backslashes of another system are tried as slashes."""
    path = os.path.join(base, name)
    if "\\" in name and not os.path.exists(path):
        return os.path.join(base, name.replace("\\", "/"))
    return path


def _note_repeated(listing: Listing) -> None:
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for path in listing.paths:
        if path in seen:
            repeated[path] = None
        seen.add(path)
    if repeated:
        listing.notes.append(f"listed more than once: {', '.join(listed(repeated, most=5))}")
