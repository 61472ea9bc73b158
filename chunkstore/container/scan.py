"""What stands in a zip file from front to back, whatever its end says?

A walk steps over entries by the sizes in their local headers, over directories record by record,
and over end records. It needs one small read an entry, no index and no data, and therefore finds
the last checkpoint behind a torn tail, and what `repair` can save.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from chunkstore.container import layout
from chunkstore.errors import ChunkStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chunkstore.system import ReadFile

Kind = Literal["entry", "records", "end64", "locator64", "end", "cut", "unknown"]

# Enough for a local header with a long name and its extra field; more is read when it is not.
_HEADER_GUESS = 512
_RECORDS_NBYTES = 1 << 20
# What a structure begins with.
SIGNATURES = (
    layout.LOCAL_SIGNATURE,
    layout.RECORD_SIGNATURE,
    layout.END64_SIGNATURE,
    layout.LOCATOR64_SIGNATURE,
    layout.END_SIGNATURE,
)


@dataclass(frozen=True)
class Piece:
    """One structure of the file, at ``[start, stop)``.

    Attributes
    ----------
    kind
        ``entry``; ``records``: consecutive directory records; ``end64``, ``locator64``, ``end``;
        ``cut``: the file ends inside a structure that begins at ``start``; ``unknown``: no
        structure begins there. A walk ends with the last two.
    header
        Of an entry.
    """

    kind: Kind
    start: int
    stop: int
    header: layout.LocalHeader | None = None


def walk(file: ReadFile, start: int, stop: int) -> Iterator[Piece]:
    """Step over the structures in ``[start, stop)`` of a file.

    Parameters
    ----------
    file
        The zip.
    start
        Offset of a structure.
    stop
        Where the file ends.
    """
    position = start
    while position < stop:
        piece = _piece_at(file, position, stop)
        yield piece
        if piece.kind in ("cut", "unknown"):
            return
        position = piece.stop


def _piece_at(file: ReadFile, position: int, stop: int) -> Piece:
    head = file.read(min(_HEADER_GUESS, stop - position), position)
    signature = head[:4]
    if signature == layout.LOCAL_SIGNATURE:
        return _entry_at(file, head, position, stop)
    if signature == layout.RECORD_SIGNATURE:
        return _records_at(file, position, stop)
    if signature == layout.END64_SIGNATURE and len(head) >= layout.END64.size:
        size = 12 + int(layout.END64.unpack_from(head)[1])
        return _fixed("end64", position, size, stop)
    if signature == layout.LOCATOR64_SIGNATURE:
        return _fixed("locator64", position, layout.LOCATOR64.size, stop)
    if signature == layout.END_SIGNATURE and len(head) >= layout.END.size:
        return _fixed("end", position, layout.END.size + layout.END.unpack_from(head)[-1], stop)
    # Behind a whole signature the structure itself is cut.
    is_cut = any(known.startswith(signature) for known in SIGNATURES)
    return Piece("cut" if is_cut else "unknown", position, stop)


def _fixed(kind: Kind, position: int, size: int, stop: int) -> Piece:
    if position + size > stop:
        return Piece("cut", position, stop)
    return Piece(kind, position, position + size)


def _entry_at(file: ReadFile, head: bytes, position: int, stop: int) -> Piece:
    if len(head) >= layout.LOCAL.size:
        name_nbytes, extra_nbytes = layout.LOCAL.unpack_from(head)[-2:]
        needed = layout.LOCAL.size + name_nbytes + extra_nbytes
        if needed > len(head):
            head = file.read(min(needed, stop - position), position)
    try:
        header = layout.parse_local_header(head)
    except ChunkStoreError:
        short = len(head) < layout.LOCAL.size or len(head) < needed
        return Piece("cut" if short else "unknown", position, stop)
    if header.flags & layout.FLAG_DESCRIPTOR and header.encoded_nbytes == 0:
        # The sizes stand behind the data: the walk cannot step over it.
        return Piece("unknown", position, stop)
    entry_stop = position + header.data_start + header.encoded_nbytes
    if entry_stop > stop:
        return Piece("cut", position, stop)
    return Piece("entry", position, entry_stop, header)


def _records_at(file: ReadFile, position: int, stop: int) -> Piece:
    """Step over directory records until something else begins."""
    start = position
    window, window_start = b"", position
    while True:
        local = position - window_start
        if len(window) - local < layout.RECORD_NBYTES and window_start + len(window) < stop:
            window_start = position
            window = file.read(min(_RECORDS_NBYTES, stop - position), position)
            local = 0
        if window[local : local + 4] != layout.RECORD_SIGNATURE:
            return Piece("records", start, position)
        if len(window) - local < layout.RECORD_NBYTES:
            return _partial(start, position, stop)
        lengths = int.from_bytes(window[local + 28 : local + 30], "little")
        lengths += int.from_bytes(window[local + 30 : local + 32], "little")
        lengths += int.from_bytes(window[local + 32 : local + 34], "little")
        if position + layout.RECORD_NBYTES + lengths > stop:
            return _partial(start, position, stop)
        position += layout.RECORD_NBYTES + lengths


def _partial(start: int, position: int, stop: int) -> Piece:
    """Return the whole records, or the cut one if it is the first."""
    return Piece("records", start, position) if position > start else Piece("cut", start, stop)
