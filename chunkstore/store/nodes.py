"""Which arrays and groups does a container hold, and where are their chunks?

Two passes over the directory: the first finds the metadata, the second hands every chunk entry to
its array's table. Names are compared as columns of bytes, never as a string per entry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import (
    ChunkStoreError,
    CorruptionError,
    FormatError,
    UnsupportedError,
)
from chunkstore.format.metadata import (
    ArrayMetadata,
    GroupMetadata,
    parse_node,
    parse_v2_array,
    parse_v2_group,
)
from chunkstore.store.chunk_table import ChunkTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from chunkstore.container.directory import Records
    from chunkstore.container.reader import Container

FORMAT_VERSION = 1
# The part of the root's and arrays' attributes that is ours.
OWN_ATTRIBUTES = "chunkstore"
_METADATA_NAMES = (b"zarr.json", b".zarray", b".zgroup", b".zattrs")
METADATA_LIMIT_NBYTES = 64 << 20
# Rows of one block handled as prefix groups before a lookup per row is cheaper.
_MAX_GROUPS = 64


@dataclass
class ArrayNode:
    """One array of a file: its metadata and the places of its chunks."""

    path: str
    metadata: ArrayMetadata
    table: ChunkTable

    @property
    def prefix(self) -> bytes:
        """What the names of its chunks begin with."""
        return f"{self.path}/".encode() if self.path else b""

    @cached_property
    def cell_nbytes(self) -> int:
        """Decoded bytes of a stored chunk."""
        return math.prod(self.metadata.chunk_shape) * self.metadata.dtype.itemsize

    @cached_property
    def limit_nbytes(self) -> int:
        """The most bytes that a stored chunk may take encoded."""
        return self.metadata.codecs.max_encoded_nbytes(self.cell_nbytes)

    @cached_property
    def key_ends(self) -> tuple[str, str] | None:
        """What stands before and behind a chunk's index in its name; None if it has several."""
        counts = self.metadata.grid.counts
        if not counts or any(count != 1 for count in counts[1:]):
            return None
        # No other part of a chunk key holds this digit.
        key = self.metadata.chunk_keys.key((7,) + (0,) * (len(counts) - 1))
        before, _, behind = key.partition("7")
        return (f"{self.path}/{before}" if self.path else before), behind


@dataclass
class Nodes:
    """What a file holds.

    Attributes
    ----------
    root
        Attributes of the root node, ours included.
    own
        Our part of them; None in other people's files.
    arrays, groups
        By path; the root has path ``""``.
    dead_nbytes
        Bytes that no live entry takes: orphans and old directories.
    metadata_records
        ``(name, offset, nbytes, crc)`` of the metadata entries.
    problems
        What is wrong with the file as a whole, found by a lenient reading only.
    """

    root: dict[str, Any]
    own: dict[str, Any] | None
    arrays: dict[str, ArrayNode]
    groups: dict[str, GroupMetadata]
    dead_nbytes: int
    metadata_records: list[tuple[str, int, int, int]]
    problems: list[ChunkStoreError] = field(default_factory=list)


@dataclass
class _Found:
    """One metadata entry; of several with one name, the last counts."""

    index: int
    offset: int
    encoded_nbytes: int
    nbytes: int
    crc: int


def read_nodes(container: Container, *, lenient: bool = False) -> Nodes:
    """Read metadata and chunk tables of an open container.

    Parameters
    ----------
    container
        The open file.
    lenient
        Collect what is wrong in ``problems`` and go on where that is possible, instead of
        raising at once: for `verify`.

    Raises
    ------
    FormatError, CorruptionError, UnsupportedError
        See `chunkstore.format.metadata` and design.md: in a file of ours a missing chunk, a
        missing array or an unknown name is a CorruptionError.
    """
    found: dict[bytes, _Found] = {}
    dead_nbytes = container.check_extents(lambda records: _collect_metadata(records, found))
    problems: list[ChunkStoreError] = []

    def report(error: ChunkStoreError) -> None:
        located = error.located(container.path)
        if not lenient:
            raise located
        problems.append(located)

    arrays, groups = _parse_metadata(container, found, report)
    for path, above in _inside_another(arrays, groups):
        report(
            FormatError(
                f"node {path!r} lies inside array {above!r}: zarr allows nodes in groups only"
            )
        )
    root = _root_attributes(container, arrays, groups, found)
    own = _own_attributes(root, container)
    nodes = {
        path: ArrayNode(
            path,
            metadata,
            ChunkTable(metadata.grid.num_chunks, num_entries=container.checkpoint.num_records),
        )
        for path, metadata in arrays.items()
    }
    result = Nodes(
        root,
        own,
        nodes,
        groups,
        dead_nbytes,
        [
            (name.decode("utf-8", "replace"), row.offset, row.encoded_nbytes, row.crc)
            for name, row in sorted(found.items(), key=lambda item: item[1].index)
        ],
        problems,
    )
    _fill_tables(container, result, report)
    if own is not None:
        _check_complete(result, report)
    return result


# --------------------------------------------------------------------------- metadata


def _collect_metadata(records: Records, found: dict[bytes, _Found]) -> None:
    """Remember the metadata entries among some records."""
    names = records.names
    for wanted in _METADATA_NAMES:
        width = len(wanted)
        if names.shape[1] < width:
            continue
        tail = np.frombuffer(wanted, np.uint8)
        # One column decides for nearly all rows.
        rows = np.flatnonzero(names[:, -1] == tail[-1])
        if len(rows) == 0:
            continue
        rows = rows[(names[rows, -width:] == tail).all(axis=1)]
        for row in rows.tolist():
            name = records.name(row)
            if name != wanted and not name.endswith(b"/" + wanted):
                continue
            before = found.get(name)
            if before is None or before.index < records.index[row]:
                found[name] = _Found(
                    int(records.index[row]),
                    int(records.offset[row]),
                    int(records.encoded_nbytes[row]),
                    int(records.nbytes[row]),
                    int(records.crc[row]),
                )


def _parse_metadata(
    container: Container, found: dict[bytes, _Found], report: Any
) -> tuple[dict[str, ArrayMetadata], dict[str, GroupMetadata]]:
    arrays: dict[str, ArrayMetadata] = {}
    groups: dict[str, GroupMetadata] = {}

    def read(name: bytes) -> bytes | None:
        row = found.get(name)
        if row is None:
            return None
        if row.nbytes > METADATA_LIMIT_NBYTES:
            raise FormatError(
                f"metadata takes {row.nbytes} bytes, at most {METADATA_LIMIT_NBYTES} are read",
                container.path,
                name.decode("utf-8", "replace"),
                row.offset,
            )
        return container.read_entry(
            name,
            offset=row.offset,
            encoded_nbytes=row.encoded_nbytes,
            nbytes=row.nbytes,
            crc=row.crc,
        )

    for name in found:
        folder, _, base = name.rpartition(b"/")
        prefix = folder + b"/" if folder else b""
        if base == b".zattrs" or (base != b"zarr.json" and prefix + b"zarr.json" in found):
            continue
        try:
            raw = read(name)
            path = _node_path(folder)
            node: ArrayMetadata | GroupMetadata
            if raw is None:
                continue
            if base == b"zarr.json":
                node = parse_node(raw)
            elif base == b".zarray":
                node = parse_v2_array(raw, read(prefix + b".zattrs"))
            else:
                node = parse_v2_group(raw, read(prefix + b".zattrs"))
        except ChunkStoreError as error:
            report(
                error.located(container.path, name.decode("utf-8", "replace"), found[name].offset)
            )
            continue
        if isinstance(node, ArrayMetadata):
            arrays[path] = node
        else:
            groups[path] = node
    return arrays, groups


def _node_path(folder: bytes) -> str:
    try:
        return folder.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"a node's name is not UTF-8: {folder!r}") from None


def _root_attributes(
    container: Container,
    arrays: dict[str, ArrayMetadata],
    groups: dict[str, GroupMetadata],
    found: dict[bytes, _Found],
) -> dict[str, Any]:
    root = arrays.get("") or groups.get("")
    if root is not None:
        return root.attributes
    at_root = [name for name in _METADATA_NAMES if name in found]
    if at_root:
        # It is there but damaged: a lenient reading goes on without it.
        return {}
    if not found:
        raise FormatError(
            "no zarr store: the zip holds no zarr.json, .zgroup or .zarray", container.path
        )
    folders = sorted({name.split(b"/", 1)[0].decode("utf-8", "replace") for name in found})
    raise FormatError(
        f"no zarr.json at the top of the zip; metadata lies below the folder {folders[0]!r}. "
        "A store's root is the zip's root: zip the folder's contents from inside it, "
        f"for example `cd {folders[0]} && zip -0 -r ../store.zarr.zip .`",
        container.path,
    )


def _own_attributes(root: dict[str, Any], container: Container) -> dict[str, Any] | None:
    own = root.get(OWN_ATTRIBUTES)
    if not isinstance(own, dict) or "version" not in own:
        return None
    version = own["version"]
    if type(version) is not int or version < 1:
        raise FormatError(
            f"attributes.chunkstore.version is {version!r}, expected a whole number from 1 on",
            container.path,
        )
    if version > FORMAT_VERSION:
        raise UnsupportedError(
            f"the file has chunkstore format version {version}, this release reads up to "
            f"{FORMAT_VERSION}; install a newer chunkstore",
            container.path,
        )
    required = own.get("requires", [])
    if required:
        raise UnsupportedError(
            f"the file requires the features {required!r}, which this release does not know; "
            "install a newer chunkstore",
            container.path,
        )
    if own.get("complete") is not True or not _are_names(own.get("arrays")):
        raise FormatError(
            "attributes.chunkstore must say complete: true and list the arrays", container.path
        )
    if not _are_names(own.get("aligned")) or type(own.get("num_samples")) is not int:
        raise FormatError(
            "attributes.chunkstore must list the aligned arrays and their num_samples",
            container.path,
        )
    return own


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _inside_another(
    arrays: dict[str, ArrayMetadata], groups: dict[str, GroupMetadata]
) -> Iterator[tuple[str, str]]:
    """Yield each node below an array, and that array: whose chunks are its entries then?"""
    for path in (*arrays, *groups):
        above = path
        while above:
            above = above.rpartition("/")[0]
            if above in arrays:
                yield path, above
                break


# --------------------------------------------------------------------------- chunks


def _fill_tables(container: Container, nodes: Nodes, report: Any) -> None:
    strangers: list[bytes] = []
    repeated = _fill_pass(container, nodes, strangers, in_order=False)
    if repeated and nodes.own is None:
        # Other people's files list a chunk again when it changed: the last record counts, so the
        # directory's own order matters.
        for node in nodes.arrays.values():
            node.table = ChunkTable(
                node.metadata.grid.num_chunks, num_entries=container.checkpoint.num_records
            )
        _fill_pass(container, nodes, [], in_order=True)
    elif repeated:
        report(CorruptionError(f"the directory lists a chunk of array {repeated!r} twice"))
    if nodes.own is not None:
        for name in strangers:
            report(
                CorruptionError(
                    "the directory lists a name that belongs to no array of this file",
                    container.path,
                    name.decode("utf-8", "replace"),
                )
            )


def _fill_pass(
    container: Container, nodes: Nodes, strangers: list[bytes], *, in_order: bool
) -> str | None:
    """Enter all chunks into the tables; return an array of which a chunk is listed twice."""
    repeated: str | None = None
    for records in container.iter_records(in_order=in_order):
        rows = np.arange(len(records))
        num_groups = 0
        while len(rows):
            node = _owner(records.name(int(rows[0])), nodes)
            if node is None or num_groups >= _MAX_GROUPS:
                same, rows = rows[:1], rows[1:]
            else:
                same, rows = _split_by_prefix(records.names, rows, node.prefix)
                num_groups += 1
            if node is None:
                rest: NDArray[np.int64] = same
            else:
                again, rest = _place(records, same, node)
                repeated = node.path if again else repeated
            if nodes.own is not None:
                strangers += [
                    name for row in rest.tolist() if is_strange(name := records.name(row), nodes)
                ]
    return repeated


def _split_by_prefix(
    names: NDArray[np.uint8], rows: NDArray[np.int64], prefix: bytes
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not prefix:
        return rows, rows[:0]
    whole = len(rows) == len(names)
    columns = names[:, : len(prefix)] if whole else names[rows, : len(prefix)]
    # Void items compare whole prefixes at once.
    same = (columns == np.frombuffer(prefix, np.uint8)).all(axis=1)
    if same.all():
        return rows, rows[:0]
    return rows[same], rows[~same]


def _owner(name: bytes, nodes: Nodes) -> ArrayNode | None:
    """Return the array whose chunk a name could be: the deepest one above it."""
    path = name.decode("utf-8", "replace")
    while path:
        path = path.rpartition("/")[0]
        node = nodes.arrays.get(path)
        if node is not None:
            return node
    return None


def _place(
    records: Records, rows: NDArray[np.int64], node: ArrayNode
) -> tuple[bool, NDArray[np.int64]]:
    """Enter chunks of one array; return whether one was there, and the rows that are no chunks."""
    whole = len(rows) == len(records)
    names = records.names if whole else records.names[rows]
    metadata = node.metadata
    flat = metadata.chunk_keys.parse(names[:, len(node.prefix) :], metadata.grid)
    is_chunk = flat >= 0
    if not is_chunk.all():
        rest = rows[~is_chunk]
        rows, flat, whole = rows[is_chunk], flat[is_chunk], False
    else:
        rest = rows[:0]
    if len(rows) == 0:
        return False, rest
    if whole:
        columns = (records.offset, records.encoded_nbytes, records.nbytes, records.crc)
    else:
        columns = (
            records.offset[rows],
            records.encoded_nbytes[rows],
            records.nbytes[rows],
            records.crc[rows],
        )
    return node.table.place(flat, *columns), rest


def is_strange(name: bytes, nodes: Nodes) -> bool:
    """Tell whether a name that is no chunk is neither metadata of a node nor a folder."""
    folder, _, base = name.rpartition(b"/")
    if base in _METADATA_NAMES:
        path = folder.decode("utf-8", "replace")
        return path not in nodes.arrays and path not in nodes.groups
    return True


def _check_complete(nodes: Nodes, report: Any) -> None:
    """Check what a file of ours says about itself: every array and every chunk is there."""
    own = nodes.own or {}
    for name in own["arrays"]:
        if name not in nodes.arrays:
            report(
                CorruptionError(
                    f"array {name!r} is missing: the file lists it, its zarr.json is gone"
                )
            )
    for name in nodes.arrays:
        if name not in own["arrays"]:
            report(CorruptionError(f"array {name!r} is in the file, but not in its list of arrays"))
    num_samples = own.get("num_samples")
    for name in own.get("aligned", []):
        node = nodes.arrays.get(name)
        if node is not None and node.metadata.shape[:1] != (num_samples,):
            report(
                CorruptionError(
                    f"array {name!r} has shape {node.metadata.shape}, but the file holds "
                    f"{num_samples} samples"
                )
            )
    for node in nodes.arrays.values():
        missing = node.table.first_missing()
        if missing is not None:
            report(
                CorruptionError(
                    f"chunk {missing} of array {node.path!r} is missing "
                    f"({node.table.num_chunks - node.table.num_stored} chunks of "
                    f"{node.table.num_chunks}): the file was written complete",
                    None,
                    chunk_key(node, missing),
                )
            )


def chunk_key(node: ArrayNode, chunk_index: int) -> str:
    """Return the entry name of a chunk."""
    ends = node.key_ends
    if ends is not None:
        return f"{ends[0]}{chunk_index}{ends[1]}"
    metadata = node.metadata
    key = metadata.chunk_keys.key(metadata.grid.coords(chunk_index))
    return f"{node.path}/{key}" if node.path else key
