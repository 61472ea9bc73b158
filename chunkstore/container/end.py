"""Where does a zip's newest directory stand, and is its tail whole, torn or damaged?

A file grown in steps holds ``entries | directory | end`` several times, each directory complete.
The newest whole one counts. A tail that merely ends early, or holds no directory, is a torn
append: the checkpoint before it is opened with a warning. A tail whose directory or end record is
all there but fails its checks was right once: that is an error, never an older state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chunkstore.container import layout
from chunkstore.container.scan import SIGNATURES, walk
from chunkstore.errors import (
    ChunkStoreError,
    CorruptionError,
    FormatError,
    IncompleteError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from chunkstore.system import ReadFile

_END_SEARCH_NBYTES = layout.END.size + layout.MAX_COMMENT_NBYTES
_SEARCH_BLOCK_NBYTES = 4 << 20


@dataclass(frozen=True)
class Checkpoint:
    """A directory and its end record.

    Attributes
    ----------
    directory_start, directory_nbytes, num_records
        The directory.
    stop
        Where the end record and its comment end.
    torn_nbytes
        Bytes of an unfinished append behind ``stop``.
    """

    directory_start: int
    directory_nbytes: int
    num_records: int
    stop: int
    torn_nbytes: int = 0


def find_checkpoint(file: ReadFile) -> Checkpoint:
    """Return the newest checkpoint of a file.

    Raises
    ------
    FormatError
        It is no zip.
    IncompleteError
        It is cut short before its first directory.
    CorruptionError
        Its end is there but damaged.
    UnsupportedError
        It is one part of a split zip.
    """
    size = file.size()
    if size == 0:
        raise FormatError("the file is empty (0 bytes), no zip file")
    tail_start = max(0, size - _END_SEARCH_NBYTES)
    tail = file.read(size - tail_start, tail_start)
    place = tail.rfind(layout.END_SIGNATURE)
    refusal: ChunkStoreError | None = None
    refused_at = -1
    while place >= 0:
        if _ends_here(tail, place):
            # A comment may hold something that looks like an end record: the next one decides.
            try:
                return checkpoint_at(file, tail_start + place, size)
            except ChunkStoreError as error:
                if refusal is None:
                    refusal, refused_at = error, tail_start + place
        place = tail.rfind(layout.END_SIGNATURE, 0, place)
    if refusal is not None and not _is_inside_entry(file, refused_at, size):
        raise refusal
    if file.read(4, 0) != layout.LOCAL_SIGNATURE:
        raise FormatError(
            "no zip file: it neither begins with an entry nor ends with an end record; `chunkstore "
            "import` brings other formats over"
        )
    return _checkpoint_before_torn_tail(file, size)


def _is_inside_entry(file: ReadFile, place: int, size: int) -> bool:
    """Tell whether what looks like an end record is part of an entry's data.

    A torn append can end just there when the data imitate a zip or hold one.
    """
    for piece in walk(file, 0, size):
        if piece.start < place < piece.stop and piece.kind in ("entry", "cut"):
            return file.read(4, piece.start) == layout.LOCAL_SIGNATURE
    return False


def _ends_here(tail: bytes, place: int) -> bool:
    """Tell whether an end record at ``place`` reaches exactly the end of the file."""
    if len(tail) - place < layout.END.size:
        return False
    comment_nbytes = int(layout.END.unpack_from(tail, place)[-1])
    return place + layout.END.size + comment_nbytes == len(tail)


def checkpoint_at(file: ReadFile, end_start: int, stop: int) -> Checkpoint:
    """Return the checkpoint whose end record stands at ``end_start``.

    Raises
    ------
    CorruptionError
        Its numbers do not fit the place where it stands.
    UnsupportedError
        It belongs to a split zip.
    """
    _, disk, directory_disk, here, count, nbytes, start, _ = layout.END.unpack(
        file.read(layout.END.size, end_start)
    )
    records_stop = end_start
    locator = b""
    if end_start >= layout.LOCATOR64.size:
        locator = file.read(layout.LOCATOR64.size, end_start - layout.LOCATOR64.size)
    if locator.startswith(layout.LOCATOR64_SIGNATURE):
        end64 = _end64(file, locator, end_start)
        records_stop, disk64, directory_disk64, here64, count64, nbytes64, start64 = end64
        disk = _wide(disk, layout.LIMIT16, disk64, "disk")
        directory_disk = _wide(directory_disk, layout.LIMIT16, directory_disk64, "disk")
        here = _wide(here, layout.LIMIT16, here64, "entries on this disk")
        count = _wide(count, layout.LIMIT16, count64, "entries")
        nbytes = _wide(nbytes, layout.LIMIT32, nbytes64, "directory size")
        start = _wide(start, layout.LIMIT32, start64, "directory offset")
    if here != count and not disk and not directory_disk:
        raise CorruptionError(
            f"end record at byte {end_start} gives two numbers of entries, {here} and {count}"
        )
    if disk or directory_disk:
        raise UnsupportedError(
            f"end record at byte {end_start} names disk {disk} and {directory_disk}: a zip split "
            "over several files is not read"
        )
    if start + nbytes != records_stop:
        raise CorruptionError(
            f"end record at byte {end_start} says the directory takes bytes {start} to "
            f"{start + nbytes}, but it must end at byte {records_stop}: the end is damaged, or "
            "bytes were put in front of the zip"
        )
    if count * layout.RECORD_NBYTES > nbytes or (count == 0) != (nbytes == 0):
        raise CorruptionError(
            f"end record at byte {end_start} promises {count} entries in a directory of {nbytes} "
            "bytes"
        )
    return Checkpoint(start, nbytes, count, stop)


def _wide(narrow: int, limit: int, wide: int, what: str) -> int:
    """Return the zip64 value, which the narrow one must equal unless it is at its limit."""
    if narrow not in (limit, wide):
        raise CorruptionError(
            f"end record and zip64 end record disagree about {what}: {narrow} and {wide}"
        )
    return wide


def _end64(
    file: ReadFile, locator: bytes, end_start: int
) -> tuple[int, int, int, int, int, int, int]:
    _, disk, end64_start, disks = layout.LOCATOR64.unpack(locator)
    locator_start = end_start - layout.LOCATOR64.size
    if disk or disks > 1:
        raise UnsupportedError(
            f"zip64 locator at byte {locator_start} names {disks} disks: a zip split over several "
            "files is not read"
        )
    record = (
        file.read(layout.END64.size, end64_start)
        if end64_start + layout.END64.size <= locator_start
        else b""
    )
    if not record.startswith(layout.END64_SIGNATURE) or len(record) < layout.END64.size:
        raise CorruptionError(
            f"zip64 locator at byte {locator_start} points to byte {end64_start}, where no zip64 "
            "end record stands"
        )
    _, rest, _, _, disk, directory_disk, here, count, nbytes, start = layout.END64.unpack(record)
    if end64_start + 12 + rest != locator_start:
        raise CorruptionError(
            f"zip64 end record at byte {end64_start} does not reach its locator at byte "
            f"{locator_start}"
        )
    return end64_start, disk, directory_disk, here, count, nbytes, start


def _checkpoint_before_torn_tail(file: ReadFile, size: int) -> Checkpoint:
    """Return the last checkpoint of a file that does not end with an end record."""
    last: Checkpoint | None = None
    in_directory = False
    problem = ""
    for piece in walk(file, 0, size):
        if piece.kind in ("records", "end64", "locator64"):
            in_directory = True
        elif piece.kind == "entry":
            in_directory = False
        elif piece.kind == "end":
            try:
                last = checkpoint_at(file, piece.start, piece.stop)
            except ChunkStoreError as error:
                problem = error.message
                break
            in_directory = False
        elif piece.kind == "cut":
            if (
                in_directory
                and size - piece.start >= layout.END.size
                and _is_end(file, piece.start)
            ):
                problem = f"the end record at byte {piece.start} claims a comment behind the file"
        elif in_directory:
            # After a power loss a tail can end in zeros that stand for bytes never written.
            if not _was_never_written(file, piece.start, size):
                problem = f"neither a record nor an end record stands at byte {piece.start}"
        else:
            # Never written, or an entry's header is damaged, which the walk cannot pass.
            last = _search_backwards(file, size) or last
    if problem:
        raise CorruptionError(
            f"the directory at the end of the file is damaged: {problem}; `chunkstore repair` "
            "rebuilds it from the entries"
        )
    if last is None:
        raise IncompleteError(
            "cut short: the file ends before its first directory; `chunkstore repair` rebuilds it "
            "from the entries that are complete"
        )
    return Checkpoint(
        last.directory_start,
        last.directory_nbytes,
        last.num_records,
        last.stop,
        torn_nbytes=size - last.stop,
    )


def _is_end(file: ReadFile, start: int) -> bool:
    return file.read(4, start) == layout.END_SIGNATURE


def _was_never_written(file: ReadFile, start: int, stop: int) -> bool:
    """Tell whether nothing stands in ``[start, stop)`` but zeros, or a signature's first bytes."""
    written = file.read(4, start).rstrip(b"\0")
    if len(written) == 4 or not any(known.startswith(written) for known in SIGNATURES):
        return False
    start += len(written)
    while start < stop:
        block = file.read(min(_SEARCH_BLOCK_NBYTES, stop - start), start)
        if not block or block.count(0) < len(block):
            return False
        start += len(block)
    return True


def _search_backwards(file: ReadFile, size: int) -> Checkpoint | None:
    """Return the last end record anywhere that fits the place where it stands."""
    overlap = layout.END.size
    stop = size
    while stop > 0:
        start = max(0, stop - _SEARCH_BLOCK_NBYTES)
        block = file.read(min(size, stop + overlap) - start, start)
        place = block.rfind(layout.END_SIGNATURE, 0, stop - start + 3)
        while place >= 0:
            end_start = start + place
            if end_start + layout.END.size <= size:
                try:
                    comment = layout.END.unpack_from(block, place)[-1]
                    found = checkpoint_at(file, end_start, end_start + layout.END.size + comment)
                except ChunkStoreError:
                    found = None
                if found is not None and found.stop <= size and _has_records(file, found):
                    return found
            place = block.rfind(layout.END_SIGNATURE, 0, place)
        stop = start
    return None


def _has_records(file: ReadFile, found: Checkpoint) -> bool:
    return file.read(4, found.directory_start) == layout.RECORD_SIGNATURE
