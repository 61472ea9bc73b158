"""How is a zip of bcolz folders read in place?"""

from __future__ import annotations

import zlib
from typing import Final

from chunkstore.container import layout
from chunkstore.container.reader import Container, EntryReader
from chunkstore.errors import ChunkStoreError, CorruptionError, FormatError
from chunkstore.importers.bcolz.archive import ArchiveFiles, ArchiveIndex, Place
from chunkstore.importers.bcolz.files import TAIL_NBYTES, Head, count_end_zeros
from chunkstore.importers.bcolz.frame import PEEK_NBYTES

# The flag that says that a name is UTF-8.
_FLAG_UTF8: Final = 0x800
# Deflated blocks can begin with a table of some 100 bytes; more is read to be sure.
_HEAD_READ_NBYTES: Final = 1024


def open_zip(path: str) -> ArchiveFiles:
    """Open a zip and put its members into an index.

    Raises
    ------
    FormatError, CorruptionError, UnsupportedError
        It is damaged, its entries overlap, a name is refused, or it is encrypted.
    """
    archive = ZipArchive(path)
    try:
        index = ArchiveIndex()
        archive.container.check_extents()
        for records in archive.container.iter_records(in_order=True):
            places = zip(
                records.offset.tolist(),
                records.encoded_nbytes.tolist(),
                records.nbytes.tolist(),
                records.crc.tolist(),
                strict=True,
            )
            for row, (place, flags) in enumerate(zip(places, records.flags.tolist(), strict=True)):
                raw = records.name(row)
                name = _text(raw, flags)
                if name.endswith("/"):
                    index.add_folder(raw, name)
                else:
                    index.add_file(raw, name, Place(*place))
        index.check()
    except ChunkStoreError as error:
        archive.close()
        raise error.located(path) from None
    except BaseException:
        archive.close()
        raise
    return ArchiveFiles(archive, index)


def _text(raw: bytes, flags: int) -> str:
    try:
        # Without the flag it should be code page 437, and mostly is UTF-8 all the same.
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        if flags & _FLAG_UTF8:
            raise FormatError(f"the archive holds {raw[:200]!r}, which is not UTF-8") from None
        return raw.decode("cp437")


class ZipArchive:
    """An open zip.

    Notes
    -----
    Threads: safe.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.container = Container(path)

    def open_member_reader(self) -> ZipMemberReader:
        """Return a reader for one thread."""
        return ZipMemberReader(self.container)

    def close(self) -> None:
        """Close the file; again is allowed."""
        self.container.close()


class ZipMemberReader:
    """Reads members of a zip, each with its CRC-32."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._entries = EntryReader(container)

    @property
    def read_nbytes(self) -> int:
        """Bytes of the archive read so far."""
        return self._entries.read_nbytes

    @property
    def buffer_nbytes(self) -> int:
        """The most memory that its buffers take."""
        return self._entries.buffer_nbytes

    def read_head(self, name: bytes, place: Place) -> Head:
        """Return how a member begins and, unless it is deflated, how it ends, unchecked."""
        read = self._container.file.read
        start = layout.LOCAL.size + len(name)
        raw = read(start + _HEAD_READ_NBYTES, place.offset)
        header = layout.parse_local_header(raw)
        layout.check_readable(header.flags, header.method, name)
        data = raw[header.data_start :]
        if len(data) < min(PEEK_NBYTES, place.encoded_nbytes):
            # A long extra field.
            data = read(_HEAD_READ_NBYTES, place.offset + header.data_start)
        data = data[: place.encoded_nbytes]
        if header.method == layout.DEFLATED:
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, PEEK_NBYTES)
            except zlib.error as error:
                raise CorruptionError(f"deflated bytes are damaged: {error}") from None
            return Head(place.nbytes, data[:PEEK_NBYTES])
        tail_nbytes = min(place.nbytes, TAIL_NBYTES)
        tail = read(tail_nbytes, place.offset + header.data_start + place.nbytes - tail_nbytes)
        return Head(place.nbytes, data[:PEEK_NBYTES], num_end_zeros=count_end_zeros(tail))

    def read(self, name: bytes, place: Place, limit: int) -> memoryview:
        """Return a member's checked bytes; valid until the next call.

        Raises
        ------
        CorruptionError
            The member is damaged, or longer than ``limit``.
        """
        if place.nbytes > limit:
            raise CorruptionError(f"the file has {place.nbytes} bytes, expected at most {limit}")
        return self._entries.fetch(
            name,
            offset=place.offset,
            encoded_nbytes=place.encoded_nbytes,
            nbytes=place.nbytes,
            crc=place.crc,
        )

    def close(self) -> None:
        """Give the buffer back."""
        self._entries.close()
