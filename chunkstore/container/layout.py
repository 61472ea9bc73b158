"""What do the records of a zip file look like, to the byte?

Source: PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5. All numbers are little-endian. Only what
chunkstore writes is built here: stored entries, no data descriptors, one fixed date.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from chunkstore.errors import CorruptionError, FormatError, UnsupportedError

LOCAL_SIGNATURE = b"PK\x03\x04"
RECORD_SIGNATURE = b"PK\x01\x02"
END_SIGNATURE = b"PK\x05\x06"
END64_SIGNATURE = b"PK\x06\x06"
LOCATOR64_SIGNATURE = b"PK\x06\x07"

STORED = 0
DEFLATED = 8

FLAG_ENCRYPTED = 0x1 | 0x40 | 0x2000
FLAG_DESCRIPTOR = 0x8
FLAG_UTF8 = 0x800

# Signature, version needed, flags, method, time, date, crc, csize, usize, name, extra lengths.
LOCAL = struct.Struct("<4sHHHHHIIIHH")
# Signature, this disk, directory's disk, records here, records, size, offset, comment length.
END = struct.Struct("<4sHHHHIIH")
# Signature, size of the rest, made by, needed, disk, disk, records here, records, size, offset.
END64 = struct.Struct("<4sQHHIIQQQQ")
# Signature, disk, offset of the end record, number of disks.
LOCATOR64 = struct.Struct("<4sIQI")
RECORD_NBYTES = 46
MAX_COMMENT_NBYTES = 0xFFFF
LIMIT16 = 0xFFFF
LIMIT32 = 0xFFFFFFFF

# 1980-01-01 00:00, the earliest date a zip can hold: the same input gives the same bytes.
DOS_TIME, DOS_DATE = 0, 0x21
VERSION_PLAIN, VERSION_ZIP64 = 20, 45
MADE_BY_UNIX = 3 << 8
# A regular file, readable by all: unzip gives it these permissions.
EXTERNAL_ATTRIBUTES = 0o100644 << 16
ZIP64_EXTRA_ID = 0x0001

_RECORD_FIELDS = (
    ("signature", "<u4", 0),
    ("version_made", "<u2", 4),
    ("version_needed", "<u2", 6),
    ("flags", "<u2", 8),
    ("method", "<u2", 10),
    ("time", "<u2", 12),
    ("date", "<u2", 14),
    ("crc", "<u4", 16),
    ("encoded_nbytes", "<u4", 20),
    ("nbytes", "<u4", 24),
    ("name_nbytes", "<u2", 28),
    ("extra_nbytes", "<u2", 30),
    ("comment_nbytes", "<u2", 32),
    ("disk", "<u2", 34),
    ("internal_attributes", "<u2", 36),
    ("external_attributes", "<u4", 38),
    ("offset", "<u4", 42),
)
RECORD_SIGNATURE_U4 = int.from_bytes(RECORD_SIGNATURE, "little")


def record_dtype(total_nbytes: int) -> np.dtype[np.void]:
    """Return the structured dtype of directory records that all take ``total_nbytes`` bytes."""
    names, formats, offsets = zip(*_RECORD_FIELDS, strict=True)
    return np.dtype(
        {"names": names, "formats": formats, "offsets": offsets, "itemsize": total_nbytes}
    )


class LocalHeader(NamedTuple):
    """What stands in front of an entry's bytes.

    ``data_start`` is where the bytes begin, counted from the start of the header.
    """

    name: bytes
    flags: int
    method: int
    crc: int
    encoded_nbytes: int
    nbytes: int
    data_start: int


def build_local_header(name: bytes, crc: int, nbytes: int) -> bytes:
    """Return the local header of a stored entry, complete: sizes and CRC stand in it.

    Parameters
    ----------
    name
        The entry's name, ASCII.
    crc
        CRC-32 of its bytes.
    nbytes
        Their number, below 4 GiB - 1.

    Raises
    ------
    ValueError
        The entry is too large for a header without zip64 fields, or its name is too long.
    """
    if nbytes >= LIMIT32:
        raise ValueError(f"an entry takes at most {LIMIT32 - 1} bytes, got {nbytes}")
    if not 0 < len(name) < LIMIT16:
        raise ValueError(f"an entry's name takes 1 to {LIMIT16 - 1} bytes, got {len(name)}")
    return (
        LOCAL.pack(
            LOCAL_SIGNATURE,
            VERSION_PLAIN,
            0,
            STORED,
            DOS_TIME,
            DOS_DATE,
            crc,
            nbytes,
            nbytes,
            len(name),
            0,
        )
        + name
    )


def parse_local_header(buffer: bytes | memoryview) -> LocalHeader:
    """Parse a local header.

    Parameters
    ----------
    buffer
        Begins at the header and holds at least the header, its name and its extra field.

    Raises
    ------
    CorruptionError
        There is no complete local header.
    """
    if len(buffer) < LOCAL.size:
        raise CorruptionError(
            f"local header is cut short: {len(buffer)} bytes of {LOCAL.size} are there"
        )
    signature, _, flags, method, _, _, crc, encoded_nbytes, nbytes, name_nbytes, extra_nbytes = (
        LOCAL.unpack_from(buffer)
    )
    if signature != LOCAL_SIGNATURE:
        raise CorruptionError(
            f"local header has signature {signature!r}, expected {LOCAL_SIGNATURE!r}"
        )
    name_stop = LOCAL.size + name_nbytes
    data_start = name_stop + extra_nbytes
    name = bytes(buffer[LOCAL.size : name_stop])
    if len(name) < name_nbytes:
        raise CorruptionError(f"local header's name is cut short: {len(name)} of {name_nbytes}")
    if LIMIT32 in (encoded_nbytes, nbytes):
        extra = bytes(buffer[name_stop:data_start])
        if len(extra) < extra_nbytes:
            raise CorruptionError(
                f"local header's extra field is cut short: {len(extra)} of {extra_nbytes}"
            )
        nbytes, encoded_nbytes, _ = parse_zip64_extra(
            extra, nbytes=nbytes, encoded_nbytes=encoded_nbytes, offset=0
        )
    return LocalHeader(name, flags, method, crc, encoded_nbytes, nbytes, data_start)


def parse_zip64_extra(
    extra: bytes, *, nbytes: int, encoded_nbytes: int, offset: int
) -> tuple[int, int, int]:
    """Return ``(nbytes, encoded_nbytes, offset)`` with the 64-bit values of an extra field.

    Only those values stand in the field whose 32-bit place holds ``0xFFFFFFFF``, in this order.

    Raises
    ------
    FormatError
        A value is missing.
    """
    body = b""
    position = 0
    while position + 4 <= len(extra):
        field_id, size = struct.unpack_from("<HH", extra, position)
        if field_id == ZIP64_EXTRA_ID:
            body = extra[position + 4 : position + 4 + size]
            break
        position += 4 + size
    wanted = [value == LIMIT32 for value in (nbytes, encoded_nbytes, offset)]
    if len(body) < 8 * sum(wanted):
        raise FormatError(
            f"zip64 extra field holds {len(body)} bytes, {8 * sum(wanted)} are needed for the "
            "sizes and offset that do not fit 32 bits"
        )
    values = iter(struct.unpack_from(f"<{sum(wanted)}Q", body))
    given = (nbytes, encoded_nbytes, offset)
    large = [next(values) if w else v for w, v in zip(wanted, given, strict=True)]
    if max(large) >= 1 << 63:
        raise FormatError(f"zip64 extra field holds a value of 2^63 or more: {max(large)}")
    return large[0], large[1], large[2]


def build_end(*, num_records: int, directory_start: int, directory_nbytes: int) -> bytes:
    """Return the end record, with the zip64 end record and locator before it when needed."""
    end64 = b""
    if num_records >= LIMIT16 or directory_start >= LIMIT32 or directory_nbytes >= LIMIT32:
        end64 = END64.pack(
            END64_SIGNATURE,
            END64.size - 12,
            MADE_BY_UNIX | VERSION_ZIP64,
            VERSION_ZIP64,
            0,
            0,
            num_records,
            num_records,
            directory_nbytes,
            directory_start,
        ) + LOCATOR64.pack(LOCATOR64_SIGNATURE, 0, directory_start + directory_nbytes, 1)
    return end64 + END.pack(
        END_SIGNATURE,
        0,
        0,
        min(num_records, LIMIT16),
        min(num_records, LIMIT16),
        min(directory_nbytes, LIMIT32),
        min(directory_start, LIMIT32),
        0,
    )


def check_entry_name(name: bytes) -> None:
    """Raise if a name could escape a folder or means different files to different readers.

    Raises
    ------
    FormatError
        It is empty, absolute, or holds NUL, a backslash, or a ``.`` or ``..`` part.
    """
    shown = name[:200]
    if not name:
        raise FormatError("the directory lists an entry without a name")
    if b"\0" in name or b"\\" in name:
        raise FormatError(f"bad name {shown!r}: NUL and backslash are not allowed in names")
    if name.startswith(b"/"):
        raise FormatError(
            f"bad name {shown!r}: it begins with '/'; zip the contents of the folder from inside "
            "it, so that zarr.json stands at the top"
        )
    if any(part in (b".", b"..") for part in name.split(b"/")):
        raise FormatError(f"bad name {shown!r}: '.' and '..' parts are not allowed in names")


def check_readable(flags: int, method: int, name: bytes) -> None:
    """Raise unless an entry is stored or deflated and not encrypted.

    Raises
    ------
    UnsupportedError
        Names the feature.
    """
    if flags & FLAG_ENCRYPTED:
        raise UnsupportedError(
            f"entry {name!r} is encrypted (flags 0x{flags:04x}); encrypted zips are not read"
        )
    if method not in (STORED, DEFLATED):
        raise UnsupportedError(
            f"entry {name!r} has compression method {method}; stored (0) and deflated (8) are read"
        )
