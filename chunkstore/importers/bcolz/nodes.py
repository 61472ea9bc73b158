"""Which arrays are in a tree of folders, and what are they called?

A carray is a folder with ``meta`` and ``data`` in it, a ctable one with ``__rootdirs__`` and a
carray for each column. bcolz knows nothing above these; people keep them in trees of folders.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import ChunkStoreError, CorruptionError, FormatError, SystemCallError
from chunkstore.importers.bcolz.files import KIND_TEXTS, joined
from chunkstore.importers.bcolz.metadata import (
    ATTRIBUTES,
    COLUMNS,
    SIZES,
    STORAGE,
    CarrayMetadata,
    parse_attributes,
    parse_carray,
    parse_columns,
)
from chunkstore.importers.bcolz.report import problem_of

if TYPE_CHECKING:
    from chunkstore.importers.bcolz.files import Kind, SourceFiles
    from chunkstore.store.report import Problem

_MAX_DEPTH: Final = 64
_MAX_FOLDERS: Final = 100_000


@dataclass(frozen=True)
class CarrayNode:
    """One carray.

    Attributes
    ----------
    name
        Path of its folder; ``""`` for the root.
    metadata
        What its ``meta`` folder says.
    attributes
        Of the user.
    table
        Name of the ctable whose column it is, or None.
    """

    name: str
    metadata: CarrayMetadata
    attributes: dict[str, Any]
    table: str | None

    @property
    def data(self) -> str:
        """Path of its ``data`` folder."""
        return joined(self.name, "data")


@dataclass
class Nodes:
    """What is in a tree.

    Attributes
    ----------
    arrays
        By name: columns of a ctable in its order, folders by name.
    tables
        Names of the columns of each ctable, by the ctable's name.
    attributes
        Of the root.
    table_attributes
        Of each ctable, by its name.
    problems
        What keeps an array from being understood.
    notes
        What does not.
    """

    arrays: dict[str, CarrayNode] = field(default_factory=dict)
    tables: dict[str, tuple[str, ...]] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    table_attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_nodes(files: SourceFiles) -> Nodes:
    """Return the arrays of a tree, with everything that is wrong with their metadata.

    Raises
    ------
    FormatError
        There is nothing of bcolz in the tree, or it is a tree of too many folders.
    """
    return _Walk(files).walk()


class _Walk:
    def __init__(self, files: SourceFiles) -> None:
        self._files = files
        self._nodes = Nodes()
        self._num_folders = 0

    def walk(self) -> Nodes:
        self._visit("", depth=0)
        nodes = self._nodes
        if not nodes.arrays and not nodes.tables and not nodes.problems:
            raise FormatError(
                "there is no bcolz array in it: an array is a folder that holds the folders meta "
                "and data, a table one that holds __rootdirs__",
                self._files.path,
            )
        return nodes

    def _visit(self, folder: str, *, depth: int) -> None:
        self._num_folders += 1
        if self._num_folders > _MAX_FOLDERS or depth > _MAX_DEPTH:
            raise FormatError(
                f"no bcolz array in the first {self._num_folders} folders, {depth} deep; give the "
                "folder that holds the arrays",
                self._files.path,
            )
        children = self._files.entries(folder)
        if COLUMNS in children:
            self._read_table(folder, children)
            return
        if self._is_carray(folder, children):
            self._read_carray(folder, children, table=None)
            return
        below = [
            joined(folder, name)
            for name, kind in sorted(children.items())
            if kind == "folder" and not name.startswith(".")
        ]
        self._nodes.notes += [
            f"{joined(folder, name)}: this is {KIND_TEXTS['link']}"
            for name, kind in sorted(children.items())
            if kind == "link" and not name.startswith(".")
        ]
        if children.get(ATTRIBUTES) == "file":
            columns = [path for path in below if self._is_carray(path, self._files.entries(path))]
            if columns:
                # Only tables and arrays have attributes.
                self._add_problem(
                    FormatError(
                        f"the file is missing: this is a table, the order of its columns is "
                        f"unknown. Whole arrays in it: {', '.join(columns)}"
                    ),
                    folder,
                    key=joined(folder, COLUMNS),
                )
                return
        for path in below:
            self._visit(path, depth=depth + 1)

    def _is_carray(self, folder: str, children: dict[str, Kind]) -> bool:
        if children.get("meta") == "folder":
            inside = self._files.entries(joined(folder, "meta"))
            if "storage" in inside or "sizes" in inside:
                return True
        if children.get("meta") == "link" and "data" in children:
            return True
        return children.get("data") == "folder" and self._files.has_chunks(joined(folder, "data"))

    def _read_table(self, folder: str, in_table: dict[str, Kind]) -> None:
        key = joined(folder, COLUMNS)
        try:
            names = parse_columns(self._files.read(key) or b"")
        except SystemCallError:
            raise
        except ChunkStoreError as error:
            self._add_problem(error, folder, key=key)
            return
        self._nodes.table_attributes[folder] = self._read_attributes(folder)
        paths = tuple(joined(folder, name) for name in names)
        for name, path in zip(names, paths, strict=True):
            children = self._files.entries(path)
            if self._is_carray(path, children):
                self._read_carray(path, children, table=folder)
                continue
            kind = in_table.get(name)
            what = "is no folder of an array" if kind is None else f"is {KIND_TEXTS[kind]}"
            if kind == "folder":
                what = "is a folder, and no array is in it"
            self._add_problem(CorruptionError(f"the column is missing: {path!r} {what}"), path)
        self._note_unnamed(folder, in_table, names)
        self._nodes.tables[folder] = paths
        self._check_lengths(paths)

    def _note_unnamed(self, folder: str, in_table: dict[str, Kind], names: tuple[str, ...]) -> None:
        """Note the arrays in a table that its list of columns leaves out."""
        for name in sorted(in_table.keys() - set(names)):
            path = joined(folder, name)
            if in_table[name] == "folder" and self._is_carray(path, self._files.entries(path)):
                self._nodes.notes.append(
                    f"{path}: this array lies in the table, and is left out: {COLUMNS} does not "
                    "name it"
                )

    def _check_lengths(self, columns: tuple[str, ...]) -> None:
        arrays = self._nodes.arrays
        lengths = {path: arrays[path].metadata.num_samples for path in columns if path in arrays}
        # The table is as long as its first column says.
        first = next(iter(lengths), None)
        for path, length in lengths.items():
            if first is not None and length != lengths[first]:
                start, stop = sorted((length, lengths[first]))
                self._nodes.problems.append(
                    problem_of(
                        CorruptionError(
                            f"the column has {length} samples, the table's first column "
                            f"{first!r} has {lengths[first]}"
                        ),
                        array=path,
                        samples=(start, stop) if length < lengths[first] else None,
                        key=joined(path, SIZES),
                    )
                )

    def _read_carray(self, folder: str, children: dict[str, Kind], *, table: str | None) -> None:
        kind = children.get("data", "folder")
        if kind != "folder":
            self._add_problem(
                CorruptionError(f"this is {KIND_TEXTS[kind]}; the folder of the chunks is wanted"),
                folder,
                key=joined(folder, "data"),
            )
            return
        sizes = self._read_meta(folder, children, SIZES)
        storage = self._read_meta(folder, children, STORAGE)
        if sizes is None or storage is None:
            return
        try:
            metadata = parse_carray(sizes, storage)
        except FormatError as error:
            self._add_problem(error, folder)
            return
        attributes = self._read_attributes(folder)
        self._nodes.arrays[folder] = CarrayNode(folder, metadata, attributes, table)

    def _read_meta(self, folder: str, children: dict[str, Kind], path: str) -> bytes | None:
        """Return a file of the ``meta`` folder; None, and a problem, if it cannot be read."""
        kind = children.get("meta")
        key = joined(folder, path)
        try:
            raw = self._files.read(key) if kind == "folder" else None
        except SystemCallError:
            raise
        except ChunkStoreError as error:
            self._add_problem(error, folder, key=key)
            return None
        if raw is None:
            what = "is missing"
            if kind is not None and kind != "folder":
                what = f"cannot be read: meta is {KIND_TEXTS[kind]}"
            lost = "number and shape of the samples" if path == SIZES else "type of the samples"
            self._add_problem(
                CorruptionError(f"the file {what}; without it nobody knows the {lost}"),
                folder,
                key=key,
            )
        return raw

    def _read_attributes(self, folder: str) -> dict[str, Any]:
        key = joined(folder, ATTRIBUTES)
        attributes: dict[str, Any] = {}
        try:
            attributes = parse_attributes(self._files.read(key))
        except SystemCallError:
            raise
        except ChunkStoreError as error:
            self._nodes.notes.append(f"{key}: the attributes cannot be read: {error.message}")
        if not folder:
            self._nodes.attributes = attributes
        return attributes

    def _add_problem(self, error: ChunkStoreError, folder: str, key: str | None = None) -> None:
        self._nodes.problems.append(problem_of(error, array=folder, key=key))
