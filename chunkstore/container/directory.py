"""How is a zip's directory parsed, a million records at a time, and written?

Records that follow each other mostly have names of equal length, so that a run of them is one
structured numpy array: no object per entry, and some 40 ns a record. The directory is read in
blocks, so opening takes the tables that the caller keeps and not the directory itself.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chunkstore.container import layout
from chunkstore.errors import CorruptionError, FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

# Holds several of the longest records (46 + 3 x 65,535 bytes).
_BLOCK_NBYTES = 1 << 20
_FIRST_WINDOW = 64
# After so many runs of less than _SHORT_RUN records in one block, a plain loop is cheaper.
_MAX_SHORT_RUNS = 32
_SHORT_RUN = 16
_LENGTHS = struct.Struct("<HHH")


@dataclass(frozen=True)
class Records:
    """Some records of a directory, all with names of one length.

    Attributes
    ----------
    names
        Shape ``(n, name_nbytes)``, uint8: one name a row. A view, valid while it is held.
    offset
        Shape ``(n,)``, int64: file offset of the local header.
    encoded_nbytes, nbytes
        Shape ``(n,)``, int64: stored size and size after inflating; equal when stored.
    crc
        Shape ``(n,)``, uint32: of the bytes after inflating.
    method, flags
        Shape ``(n,)``, uint16.
    index
        Shape ``(n,)``, int64: position of the record in the directory.
    """

    names: NDArray[np.uint8]
    offset: NDArray[np.int64]
    encoded_nbytes: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    crc: NDArray[np.uint32]
    method: NDArray[np.uint16]
    flags: NDArray[np.uint16]
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offset)

    def name(self, row: int) -> bytes:
        """Return the name in one row."""
        name: bytes = self.names[row].tobytes()
        return name


def iter_records(
    read: Callable[[int, int], bytes],
    *,
    start: int,
    nbytes: int,
    num_records: int,
    in_order: bool = False,
) -> Iterator[Records]:
    """Parse a directory, block by block.

    Parameters
    ----------
    read
        ``read(nbytes, offset)`` returns bytes of the file.
    start, nbytes
        Where the directory stands in the file.
    num_records
        How many records the end record promises; exactly these must fill the directory.
    in_order
        True: in the directory's order. False: possibly in another order, which is faster when
        names of different lengths alternate.

    Raises
    ------
    CorruptionError
        The records do not fill the directory exactly, or are not as many as promised.
    """
    position, stop = start, start + nbytes
    buffer, seen = b"", 0
    while position < stop or buffer:
        wanted = min(_BLOCK_NBYTES, stop - position)
        fresh = read(wanted, position)
        if len(fresh) < wanted:
            raise CorruptionError("the file became shorter while its directory was read")
        base = position - len(buffer)
        buffer += fresh
        position += wanted
        used, before = 0, seen
        for records, stop_of_run in _iter_runs(buffer, in_order=in_order, base=base):
            used = stop_of_run
            records.index[...] += before
            seen += len(records)
            if seen > num_records:
                raise _miscounted(num_records, f"at least {seen}")
            yield records
        if used == 0 and position == stop:
            raise CorruptionError(
                f"the directory is damaged: {len(buffer)} bytes behind its last whole record"
            )
        buffer = buffer[used:]
    if seen != num_records:
        raise _miscounted(num_records, str(seen))


def _miscounted(promised: int, found: str) -> CorruptionError:
    return CorruptionError(
        f"entry count: the end record promises {promised} entries, the directory lists {found}"
    )


def _iter_runs(buffer: bytes, *, in_order: bool, base: int) -> Iterator[tuple[Records, int]]:
    """Yield the runs of whole records in a buffer, each with the bytes used so far."""
    position = short_runs = seen = 0
    while len(buffer) - position >= layout.RECORD_NBYTES:
        lengths = _record_lengths(buffer, position, base)
        total = layout.RECORD_NBYTES + sum(lengths)
        available = (len(buffer) - position) // total
        if available == 0:
            return
        if short_runs >= _MAX_SHORT_RUNS and not in_order:
            yield from _iter_groups(buffer, position, base, seen)
            return
        count = _run_length(buffer, position, total, lengths, available)
        table = np.frombuffer(buffer, layout.record_dtype(total), count, position)
        raw = np.frombuffer(buffer, np.uint8, count * total, position).reshape(count, total)
        position += count * total
        index = np.arange(seen, seen + count, dtype=np.int64)
        seen += count
        short_runs += count < _SHORT_RUN
        yield _records(table, raw, lengths, index), position


def _record_lengths(buffer: bytes, position: int, base: int) -> tuple[int, int, int]:
    if buffer[position : position + 4] != layout.RECORD_SIGNATURE:
        raise CorruptionError(
            f"the directory is damaged: no record's signature at byte {base + position}"
        )
    name_nbytes, extra_nbytes, comment_nbytes = _LENGTHS.unpack_from(buffer, position + 28)
    return name_nbytes, extra_nbytes, comment_nbytes


def _run_length(
    buffer: bytes, position: int, total: int, lengths: tuple[int, int, int], available: int
) -> int:
    """Return how many records from ``position`` on have these lengths, at least one.

    The window grows while whole windows match: testing all that is left each time would be
    quadratic for names of alternating lengths.
    """
    name_nbytes, extra_nbytes, comment_nbytes = lengths
    dtype = layout.record_dtype(total)
    count, window = 1, _FIRST_WINDOW
    while count < available:
        size = min(window, available - count)
        table = np.frombuffer(buffer, dtype, size, position + count * total)
        same = table["signature"] == layout.RECORD_SIGNATURE_U4
        same &= table["name_nbytes"] == name_nbytes
        same &= table["extra_nbytes"] == extra_nbytes
        same &= table["comment_nbytes"] == comment_nbytes
        if not same.all():
            return count + int(same.argmin())
        count += size
        window *= 8
    return count


def _iter_groups(
    buffer: bytes, position: int, base: int, seen: int
) -> Iterator[tuple[Records, int]]:
    """Yield the rest of a buffer grouped by the records' lengths, out of order."""
    groups: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    while len(buffer) - position >= layout.RECORD_NBYTES:
        lengths = _record_lengths(buffer, position, base)
        stop = position + layout.RECORD_NBYTES + sum(lengths)
        if stop > len(buffer):
            break
        groups.setdefault(lengths, []).append((position, seen))
        position, seen = stop, seen + 1
    data = np.frombuffer(buffer, np.uint8)
    for lengths, rows in groups.items():
        total = layout.RECORD_NBYTES + sum(lengths)
        places = np.array(rows, np.int64)
        raw = data[places[:, :1] + np.arange(total)]
        table = raw.view(layout.record_dtype(total))[:, 0]
        yield _records(table, raw, lengths, places[:, 1].copy()), position


def _records(
    table: NDArray[np.void],
    raw: NDArray[np.uint8],
    lengths: tuple[int, int, int],
    index: NDArray[np.int64],
) -> Records:
    name_stop = layout.RECORD_NBYTES + lengths[0]
    names = raw[:, layout.RECORD_NBYTES : name_stop]
    offset = table["offset"].astype(np.int64)
    encoded_nbytes = table["encoded_nbytes"].astype(np.int64)
    nbytes = table["nbytes"].astype(np.int64)
    large = (offset == layout.LIMIT32) | (encoded_nbytes == layout.LIMIT32)
    large |= nbytes == layout.LIMIT32
    if large.any():
        extra = raw[:, name_stop : name_stop + lengths[1]]
        _fill_zip64(np.flatnonzero(large), extra, nbytes, encoded_nbytes, offset)
    records = Records(
        names,
        offset,
        encoded_nbytes,
        nbytes,
        table["crc"],
        table["method"],
        table["flags"],
        index,
    )
    _check_records(records, table)
    return records


def _fill_zip64(
    rows: NDArray[np.int64],
    extra: NDArray[np.uint8],
    nbytes: NDArray[np.int64],
    encoded_nbytes: NDArray[np.int64],
    offset: NDArray[np.int64],
) -> None:
    """Replace values of ``0xFFFFFFFF`` by those of the zip64 extra fields, in place."""
    only_offset = (nbytes[rows] != layout.LIMIT32) & (encoded_nbytes[rows] != layout.LIMIT32)
    if extra.shape[1] == 12 and only_offset.all():
        # What we write beyond 4 GiB: one field with the offset alone.
        field = np.ascontiguousarray(extra[rows])
        if (field[:, :4] == (1, 0, 8, 0)).all():
            values = field[:, 4:].copy().view("<u8")[:, 0]
            if (values >= 1 << 63).any():
                raise FormatError("zip64 extra field holds an offset of 2^63 or more")
            offset[rows] = values.astype(np.int64)
            return
    for row in rows.tolist():
        nbytes[row], encoded_nbytes[row], offset[row] = layout.parse_zip64_extra(
            extra[row].tobytes(),
            nbytes=int(nbytes[row]),
            encoded_nbytes=int(encoded_nbytes[row]),
            offset=int(offset[row]),
        )


def _check_records(records: Records, table: NDArray[np.void]) -> None:
    """Raise for a record that no reader should follow."""
    method, flags = records.method, records.flags
    odd = ((flags & layout.FLAG_ENCRYPTED) != 0) | (
        (method != layout.STORED) & (method != layout.DEFLATED)
    )
    if odd.any():
        row = int(odd.argmax())
        layout.check_readable(int(flags[row]), int(method[row]), records.name(row))
    if table["disk"].any():
        row = int((table["disk"] != 0).argmax())
        raise FormatError(f"entry {records.name(row)!r} lies on another disk of a split zip")
    unequal = (method == layout.STORED) & (records.encoded_nbytes != records.nbytes)
    if unequal.any():
        row = int(unequal.argmax())
        raise FormatError(
            f"entry {records.name(row)!r} is stored with two sizes, {records.encoded_nbytes[row]} "
            f"and {records.nbytes[row]}"
        )
    names = records.names
    if names.shape[1] == 0:
        layout.check_entry_name(b"")
    suspect = (names == 0).any(axis=1) | (names == ord("\\")).any(axis=1)
    suspect |= names[:, 0] == ord("/")
    dots = names == ord(".")
    # A part that begins with a dot: at the name's start or behind a slash.
    suspect |= dots[:, 0] | (dots[:, 1:] & (names[:, :-1] == ord("/"))).any(axis=1)
    for row in np.flatnonzero(suspect).tolist():
        layout.check_entry_name(records.name(row))


def build_records(
    names: NDArray[np.uint8],
    offset: NDArray[np.int64],
    nbytes: NDArray[np.int64],
    crc: NDArray[np.uint32],
) -> bytes:
    """Return directory records of stored entries whose names have one length.

    Parameters
    ----------
    names
        Shape ``(n, name_nbytes)``, uint8, ASCII.
    offset, nbytes, crc
        Shape ``(n,)`` each: of the local header, the data, and its CRC-32.

    Notes
    -----
    The zip64 field is there only for offsets that do not fit 32 bits.
    """
    large = offset >= layout.LIMIT32
    if large.any() and not large.all():
        # Records keep the order of the entries: equal stretches one after the other.
        cuts = np.flatnonzero(np.diff(large)) + 1
        bounds = [0, *cuts.tolist(), len(offset)]
        return b"".join(
            build_records(names[a:b], offset[a:b], nbytes[a:b], crc[a:b])
            for a, b in itertools.pairwise(bounds)
        )
    zip64 = bool(large.any())
    name_nbytes = names.shape[1]
    extra_nbytes = 12 if zip64 else 0
    total = layout.RECORD_NBYTES + name_nbytes + extra_nbytes
    raw = np.zeros((len(offset), total), np.uint8)
    table = raw.view(layout.record_dtype(total))[:, 0]
    version = layout.VERSION_ZIP64 if zip64 else layout.VERSION_PLAIN
    table["signature"] = layout.RECORD_SIGNATURE_U4
    table["version_made"] = layout.MADE_BY_UNIX | version
    table["version_needed"] = version
    table["method"] = layout.STORED
    table["time"] = layout.DOS_TIME
    table["date"] = layout.DOS_DATE
    table["crc"] = crc
    table["encoded_nbytes"] = nbytes
    table["nbytes"] = nbytes
    table["name_nbytes"] = name_nbytes
    table["extra_nbytes"] = extra_nbytes
    table["external_attributes"] = layout.EXTERNAL_ATTRIBUTES
    table["offset"] = layout.LIMIT32 if zip64 else offset
    raw[:, layout.RECORD_NBYTES : layout.RECORD_NBYTES + name_nbytes] = names
    if zip64:
        raw[:, -12:-8] = (layout.ZIP64_EXTRA_ID, 0, 8, 0)
        raw[:, -8:] = offset.astype("<i8").view(np.uint8).reshape(-1, 8)
    return raw.tobytes()
