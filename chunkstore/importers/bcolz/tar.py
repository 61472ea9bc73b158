"""How are the members of a tar listed, without trusting it?

A parser of our own: small, with bounds, and it knows the few kinds of member that a folder of
arrays has. Sources: POSIX pax (ustar and extended headers), GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

from chunkstore.errors import ChunkStoreError, CorruptionError, FormatError, UnsupportedError
from chunkstore.importers.bcolz.archive import ArchiveFiles, ArchiveIndex, Place
from chunkstore.importers.bcolz.files import CHUNK_NAME, TAIL_NBYTES, Head, count_end_zeros
from chunkstore.importers.bcolz.frame import PEEK_NBYTES
from chunkstore.system import ReadFile

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_NBYTES: Final = 512
_MAX_EXTENDED_NBYTES: Final = 1 << 20
_CHECKSUM: Final = slice(148, 156)
_BELOW_128: Final = bytes(range(128))
_KINDS: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
}
_PAX_RECORD: Final = re.compile(rb"(\d{1,9}) ([^=\n]+)=")
_OCTAL: Final = re.compile(rb"[ \0]*([0-7]*)[ \0]*")


class ForwardReader(Protocol):
    """Bytes that are read once, from the first to the last."""

    def read(self, nbytes: int) -> bytes:
        """Return the next bytes: fewer at the end."""

    def skip(self, nbytes: int) -> int:
        """Leave out bytes and return how many there were: fewer at the end."""


def is_tar(block: bytes) -> bool:
    """Say whether a file that begins with these bytes is a tar."""
    if len(block) < BLOCK_NBYTES:
        return False
    found = _OCTAL.fullmatch(block[_CHECKSUM])
    return found is not None and found[1] != b"" and int(found[1], 8) in _checksums(block)


def _checksums(block: bytes) -> tuple[int, int]:
    """Return the checksum of a header, and what writers made of it that took bytes as signed."""
    blank = block[: _CHECKSUM.start] + b" " * 8 + block[_CHECKSUM.stop : BLOCK_NBYTES]
    total = sum(blank)
    return total, total - 256 * len(blank.translate(None, _BELOW_128))


def fill_index(stream: ForwardReader, index: ArchiveIndex, *, keep_heads: bool) -> None:
    """Put the members of a tar into an index.

    Parameters
    ----------
    stream
        The tar from its first byte.
    index
        Filled.
    keep_heads
        Keep the first bytes of chunk files, because they are slow to come back to.

    Raises
    ------
    FormatError, CorruptionError, UnsupportedError
        It is no tar, it is damaged, or it holds what is refused: a link, a device, a sparse file.
    """
    for raw, kind, offset, nbytes in _iter_members(stream):
        name = _text(raw)
        if kind == b"5":
            index.add_folder(raw, name)
            nbytes = 0
        start, num_read, num_end_zeros = b"", 0, 0
        if keep_heads and kind != b"5" and CHUNK_NAME.fullmatch(name.rpartition("/")[2]):
            start = stream.read(min(nbytes, PEEK_NBYTES))
            num_read = len(start) + stream.skip(max(0, nbytes - len(start) - TAIL_NBYTES))
            tail = stream.read(nbytes - num_read)
            num_read += len(tail)
            num_end_zeros = count_end_zeros(tail)
        if kind != b"5":
            index.add_file(raw, name, Place(offset, nbytes, nbytes), start, num_end_zeros)
        padded = -(-nbytes // BLOCK_NBYTES) * BLOCK_NBYTES
        num_read += stream.skip(padded - num_read)
        # The last member's padding may be missing, its bytes may not.
        if num_read < nbytes:
            raise CorruptionError(
                f"the archive is cut short inside {name!r}: {num_read} of {nbytes} bytes are there"
            )
    index.check()


def _iter_members(stream: ForwardReader) -> Iterator[tuple[bytes, bytes, int, int]]:
    """Yield name, kind, offset and length; the caller takes the content out of the stream."""
    position = 0
    name: bytes | None = None
    size: int | None = None
    while True:
        block = stream.read(BLOCK_NBYTES)
        # Two blocks of zeros end a tar, and some writers leave them out.
        if not block or not any(block):
            return
        if len(block) < BLOCK_NBYTES:
            raise CorruptionError(f"the archive is cut short at byte {position + len(block)}")
        if not is_tar(block):
            raise _no_header(position)
        position += BLOCK_NBYTES
        kind = block[156:157]
        nbytes = _number(block[124:136], position)
        if kind in b"xgLK" and kind:
            if nbytes > _MAX_EXTENDED_NBYTES:
                raise FormatError(
                    f"a name or an extended header takes {nbytes} bytes, at most "
                    f"{_MAX_EXTENDED_NBYTES} are read"
                )
            padded = -(-nbytes // BLOCK_NBYTES) * BLOCK_NBYTES
            body = stream.read(padded)
            if len(body) < padded:
                raise CorruptionError(f"the archive is cut short at byte {position + len(body)}")
            position += padded
            if kind == b"L":
                name = body[:nbytes].rstrip(b"\0")
            elif kind == b"x":
                pax_name, pax_size = _parse_pax(body[:nbytes])
                name = name if pax_name is None else pax_name
                size = size if pax_size is None else pax_size
            continue
        if name is None:
            name = _header_name(block)
        if kind in _KINDS:
            raise UnsupportedError(
                f"the archive holds {name[:200]!r}, which is {_KINDS[kind]}; files and folders are "
                "read. Unpack it, where you trust it, and give the folder"
            )
        if kind not in (b"0", b"\0", b"7", b"5"):
            raise UnsupportedError(
                f"the archive holds {name[:200]!r} of unknown kind {kind!r}; files and folders are "
                "read"
            )
        # Before POSIX, a folder was a file whose name ends so.
        if kind != b"5" and name.endswith(b"/"):
            kind = b"5"
        nbytes = nbytes if size is None else size
        yield name, kind, position, nbytes
        if kind != b"5":
            position += -(-nbytes // BLOCK_NBYTES) * BLOCK_NBYTES
        name = size = None


def _no_header(position: int) -> ChunkStoreError:
    if position == 0:
        return FormatError("this is no tar: it does not begin with a header")
    return CorruptionError(f"the archive is damaged: no header at byte {position}")


def _number(field: bytes, position: int) -> int:
    """Return a size: octal, or in base 256 where that is too small."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if value >= 1 << 62:
            raise CorruptionError(f"the header before byte {position} gives a size of {value}")
        return value
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise CorruptionError(f"the header before byte {position} gives no size: {field!r}")
    return int(match[1] or b"0", 8)


def _header_name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    # Only POSIX headers have a prefix there; GNU's have times.
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _parse_pax(body: bytes) -> tuple[bytes | None, int | None]:
    """Return the name and the size that an extended header gives, None where it gives none."""
    name: bytes | None = None
    size: int | None = None
    position = 0
    while position < len(body) and body[position]:
        match = _PAX_RECORD.match(body, position)
        stop = position + int(match[1]) if match else 0
        if match is None or not match.end() < stop <= len(body) or body[stop - 1] != 0x0A:
            raise CorruptionError("an extended header of the archive is damaged")
        key, value = match[2], body[match.end() : stop - 1]
        if key == b"path":
            name = value
        elif key == b"size":
            if not value.isdigit() or len(value) > 18:
                raise CorruptionError(f"an extended header gives the size {value[:40]!r}")
            size = int(value)
        elif key.startswith(b"GNU.sparse"):
            raise UnsupportedError("the archive holds a sparse file; unpack it, give the folder")
        position = stop
    return name, size


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def open_tar(path: str) -> ArchiveFiles:
    """Open a tar and put its members into an index.

    Raises
    ------
    FormatError, CorruptionError, UnsupportedError
        See `fill_index`.
    """
    archive = TarArchive(path)
    index = ArchiveIndex()
    try:
        fill_index(_FileForward(archive.file), index, keep_heads=False)
    except ChunkStoreError as error:
        archive.close()
        raise error.located(path) from None
    except BaseException:
        archive.close()
        raise
    return ArchiveFiles(archive, index)


class _FileForward:
    """A file read from its first byte to its last."""

    def __init__(self, file: ReadFile) -> None:
        self._file = file
        self._size = file.size()
        self._position = 0

    def read(self, nbytes: int) -> bytes:
        data = self._file.read(nbytes, self._position)
        self._position += len(data)
        return data

    def skip(self, nbytes: int) -> int:
        count = min(nbytes, self._size - self._position)
        self._position += count
        return count


class TarArchive:
    """An open tar that is not compressed.

    Notes
    -----
    Threads: safe.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.file = ReadFile(path)

    def open_member_reader(self) -> TarMemberReader:
        """Return a reader for one thread."""
        return TarMemberReader(self.file)

    def close(self) -> None:
        """Close the file; again is allowed."""
        self.file.close()


class TarMemberReader:
    """Reads members of a tar that is not compressed."""

    def __init__(self, file: ReadFile) -> None:
        self._file = file
        self._buffer = memoryview(b"")
        self.read_nbytes = 0

    @property
    def buffer_nbytes(self) -> int:
        """Bytes that the buffer takes now."""
        return self._buffer.nbytes

    def read_head(self, name: bytes, place: Place) -> Head:
        """Return how a member begins and ends."""
        start = self._file.read(min(place.nbytes, PEEK_NBYTES), place.offset)
        tail_nbytes = min(place.nbytes, TAIL_NBYTES)
        tail = self._file.read(tail_nbytes, place.offset + place.nbytes - tail_nbytes)
        self.read_nbytes += len(start) + len(tail)
        return Head(place.nbytes, start, num_end_zeros=count_end_zeros(tail))

    def read(self, name: bytes, place: Place, limit: int) -> memoryview:
        """Return a member's bytes, at most ``limit``; valid until the next call."""
        nbytes = min(place.nbytes, limit)
        if self._buffer.nbytes < nbytes:
            self._buffer = memoryview(b"")
            self._buffer = memoryview(bytearray(nbytes))
        view = self._buffer[:nbytes]
        done = self._file.read_into(view, place.offset)
        self.read_nbytes += done
        return view[:done]

    def close(self) -> None:
        """Give the buffer back."""
        self._buffer = memoryview(b"")
