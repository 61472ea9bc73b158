"""Which chunk of which array is an entry of the directory?

Names are compared as columns of bytes, never as a string per entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import CorruptionError
from chunkstore.store.chunk_table import ChunkTable
from chunkstore.store.node import is_strange

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.container.directory import Records
    from chunkstore.container.reader import Container
    from chunkstore.store.node import ArrayNode, Nodes

# Rows of one block handled as prefix groups before a lookup per row is cheaper.
_MAX_GROUPS = 64


def fill_tables(container: Container, nodes: Nodes, report: Any) -> None:
    """Enter the places of all chunks into the tables of their arrays.

    Parameters
    ----------
    container
        The open file.
    nodes
        What its metadata say; the tables of the arrays are filled.
    report
        Called with each error that is found.
    """
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
