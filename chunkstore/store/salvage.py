"""Which complete chunks does a damaged file still hold, whatever its directory says?

Entries are found by their local headers. What a directory that survived lists is trusted first;
entries behind it were written later. Of several entries with one name the last counts. A chunk is
taken only if its CRC-32 and its frame are right, and never for more samples than were written:
``num_samples`` stands in the file before the short chunk at the end of an array does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chunkstore.container import layout
from chunkstore.container.checksum import crc32
from chunkstore.container.end import find_checkpoint
from chunkstore.container.scan import Piece, walk
from chunkstore.errors import ChunkStoreError, FormatError, UnsupportedError
from chunkstore.format.metadata import ArrayMetadata, parse_node
from chunkstore.store.nodes import FORMAT_VERSION, OWN_ATTRIBUTES

if TYPE_CHECKING:
    from chunkstore.system import ReadFile

_SEARCH_NBYTES = 4 << 20


@dataclass(frozen=True)
class Place:
    """A complete entry: header offset, data offset, size and CRC-32."""

    offset: int
    data_offset: int
    nbytes: int
    crc: int


@dataclass
class Salvage:
    """What was found.

    Attributes
    ----------
    attributes
        Of the file, ours left out.
    num_samples
        As the newest root metadata says.
    aligned
        Names of the aligned arrays.
    metadata
        Of each array.
    chunks
        Complete chunks by array and chunk index.
    whole
        By array: whether a chunk at the end of ``num_samples`` was written again when it was full.
    messages
        What is damaged, in words.
    """

    attributes: dict[str, Any]
    num_samples: int
    aligned: list[str]
    metadata: dict[str, ArrayMetadata]
    chunks: dict[str, dict[int, Place]]
    whole: dict[str, set[int]]
    messages: list[str] = field(default_factory=list)


def salvage(file: ReadFile) -> Salvage:
    """Find what can be saved from a file of ours.

    Parameters
    ----------
    file
        Open for reading; finished, damaged, cut short or partial.

    Raises
    ------
    FormatError
        No metadata of a chunkstore file survived.
    UnsupportedError
        Another program wrote the file, or a newer release.
    """
    messages: list[str] = []
    size = file.size()
    directory_starts = _checkpoint_positions(file, size, messages)
    pieces = list(_iter_entries(file, size, messages))
    documents: dict[str, tuple[Piece, bytes]] = {}
    root_start = -1
    for piece in pieces:
        header = _header(piece)
        if header.name.endswith(b"zarr.json"):
            raw = file.read(header.encoded_nbytes, piece.start + header.data_start)
            if crc32(raw) != header.crc:
                messages.append(f"metadata {header.name!r} at byte {piece.start} is damaged")
                continue
            documents[header.name.decode("utf-8", "replace")] = (piece, raw)
            if header.name == b"zarr.json":
                root_start = piece.start
    if "zarr.json" not in documents:
        raise FormatError("nothing can be saved: no root metadata (zarr.json) of a store survived")
    root = parse_node(documents["zarr.json"][1])
    own = root.attributes.get(OWN_ATTRIBUTES)
    if not isinstance(own, dict) or own.get("version") != FORMAT_VERSION:
        raise UnsupportedError(
            "repair saves files written by chunkstore; in files of other programs a missing chunk "
            "cannot be told from one that was never written"
        )
    metadata = _array_metadata(root.attributes[OWN_ATTRIBUTES]["arrays"], documents, messages)
    result = Salvage(
        {k: v for k, v in root.attributes.items() if k != OWN_ATTRIBUTES},
        int(own["num_samples"]),
        [name for name in own["aligned"] if name in metadata],
        metadata,
        {name: {} for name in metadata},
        {name: set() for name in metadata},
        messages,
    )
    checkpoint_stop = max((stop for stop in directory_starts if stop > root_start), default=None)
    _collect_chunks(file, pieces, result, root_start, checkpoint_stop)
    return result


def _header(piece: Piece) -> layout.LocalHeader:
    if piece.header is None:
        raise TypeError("an entry has a header")
    return piece.header


def _checkpoint_positions(file: ReadFile, size: int, messages: list[str]) -> list[int]:
    """Return where the newest checkpoint that can be found ends, if there is one."""
    try:
        return [find_checkpoint(file).stop]
    except ChunkStoreError as error:
        messages.append(error.message)
        return []


def _iter_entries(file: ReadFile, size: int, messages: list[str]) -> Any:
    """Yield the entries of a file, going on behind damage at the next header that fits."""
    position = 0
    while position < size:
        stopped = None
        for piece in walk(file, position, size):
            if piece.kind == "entry":
                yield piece
            if piece.kind in ("cut", "unknown"):
                stopped = piece
        if stopped is None:
            return
        following = _next_entry(file, stopped.start + 1, size)
        if following is None:
            if stopped.kind == "unknown":
                messages.append(f"bytes {stopped.start} to {size} hold no complete entry")
            return
        messages.append(f"bytes {stopped.start} to {following} hold no complete entry")
        position = following


def _next_entry(file: ReadFile, start: int, size: int) -> int | None:
    """Return the next offset where a whole entry with a right CRC-32 begins."""
    position = start
    while position < size:
        block = file.read(min(_SEARCH_NBYTES, size - position), position)
        place = block.find(layout.LOCAL_SIGNATURE)
        while place >= 0:
            if _is_sound_entry(file, position + place, size):
                return position + place
            place = block.find(layout.LOCAL_SIGNATURE, place + 1)
        # A signature may lie across the border of two blocks.
        position += max(1, len(block) - 3)
    return None


def _is_sound_entry(file: ReadFile, offset: int, size: int) -> bool:
    piece = next(walk(file, offset, size))
    if piece.kind != "entry" or piece.header is None:
        return False
    header = piece.header
    data = file.read(header.encoded_nbytes, offset + header.data_start)
    return header.method == layout.STORED and crc32(data) == header.crc


def _array_metadata(
    names: list[str], documents: dict[str, tuple[Piece, bytes]], messages: list[str]
) -> dict[str, ArrayMetadata]:
    metadata: dict[str, ArrayMetadata] = {}
    for name in names:
        found = documents.get(f"{name}/zarr.json")
        if found is None:
            messages.append(f"array {name!r} cannot be saved: its metadata is gone")
            continue
        try:
            node = parse_node(found[1])
        except ChunkStoreError as error:
            messages.append(f"array {name!r} cannot be saved: {error.message}")
            continue
        if isinstance(node, ArrayMetadata):
            metadata[name] = node
    return metadata


def _collect_chunks(
    file: ReadFile,
    pieces: list[Piece],
    result: Salvage,
    root_start: int,
    checkpoint_stop: int | None,
) -> None:
    """Enter the complete chunks; note edge chunks that were written again when full.

    Behind the newest root metadata the first entry of an edge chunk is the short one that this
    metadata counts, unless a checkpoint behind it shows that it was through.
    """
    for piece in pieces:
        header = _header(piece)
        owner = _owner(header.name, result.metadata)
        if owner is None:
            continue
        name, index = owner
        length = result.metadata[name].chunk_shape[0]
        edge = result.num_samples // length if result.num_samples % length else -1
        is_later = piece.start > root_start
        is_behind_checkpoint = checkpoint_stop is not None and piece.start >= checkpoint_stop
        if index == edge and is_later:
            again = index in result.chunks[name] and _starts_behind(
                result.chunks[name][index], root_start
            )
            if is_behind_checkpoint or again:
                result.whole[name].add(index)
        result.chunks[name][index] = Place(
            piece.start, piece.start + header.data_start, header.encoded_nbytes, header.crc
        )


def _starts_behind(place: Place, offset: int) -> bool:
    return place.offset > offset


def _owner(name: bytes, metadata: dict[str, ArrayMetadata]) -> tuple[str, int] | None:
    """Return the array and the chunk index that an entry name stands for."""
    text = name.decode("utf-8", "replace")
    path, marker, rest = text.rpartition("/c/")
    if not marker or path not in metadata:
        return None
    parts = rest.split("/")
    ndim = len(metadata[path].shape)
    index = parts[0]
    sound = index.isdecimal() and str(int(index)) == index and parts[1:] == ["0"] * (ndim - 1)
    return (path, int(index)) if sound else None
