"""Which arrays and groups does a container hold, and is all of it there?

Two passes over the directory: the first finds the metadata, the second hands every chunk entry to
its array's table.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from chunkstore.store.node import (
    FORMAT_VERSION,
    METADATA_LIMIT_NBYTES,
    METADATA_NAMES,
    OWN_ATTRIBUTES,
    ArrayNode,
    Nodes,
    chunk_key,
)
from chunkstore.store.placing import fill_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chunkstore.container.directory import Records
    from chunkstore.container.reader import Container


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
    fill_tables(container, result, report)
    if own is not None:
        _check_complete(result, report)
    return result


# --------------------------------------------------------------------------- metadata


def _collect_metadata(records: Records, found: dict[bytes, _Found]) -> None:
    """Remember the metadata entries among some records."""
    names = records.names
    for wanted in METADATA_NAMES:
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
    at_root = [name for name in METADATA_NAMES if name in found]
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
