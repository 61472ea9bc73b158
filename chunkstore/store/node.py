"""What is one array or group of a file: its metadata, and where its chunks are?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chunkstore.errors import ChunkStoreError
    from chunkstore.format.metadata import ArrayMetadata, GroupMetadata
    from chunkstore.store.chunk_table import ChunkTable

FORMAT_VERSION = 1
# The part of the root's and arrays' attributes that is ours.
OWN_ATTRIBUTES = "chunkstore"
METADATA_NAMES = (b"zarr.json", b".zarray", b".zgroup", b".zattrs")
METADATA_LIMIT_NBYTES = 64 << 20


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


def chunk_key(node: ArrayNode, chunk_index: int) -> str:
    """Return the entry name of a chunk."""
    ends = node.key_ends
    if ends is not None:
        return f"{ends[0]}{chunk_index}{ends[1]}"
    metadata = node.metadata
    key = metadata.chunk_keys.key(metadata.grid.coords(chunk_index))
    return f"{node.path}/{key}" if node.path else key


def is_strange(name: bytes, nodes: Nodes) -> bool:
    """Tell whether a name that is no chunk is neither metadata of a node nor a folder."""
    folder, _, base = name.rpartition(b"/")
    if base in METADATA_NAMES:
        path = folder.decode("utf-8", "replace")
        return path not in nodes.arrays and path not in nodes.groups
    return True
