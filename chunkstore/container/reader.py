"""How does a caller get an entry's bytes, checked, out of an open container?"""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING

import numpy as np

from chunkstore import system
from chunkstore.container import layout
from chunkstore.container.checksum import crc32
from chunkstore.container.directory import Records, iter_records
from chunkstore.container.end import Checkpoint, find_checkpoint
from chunkstore.errors import ChunkStoreError, CorruptionError, system_call_error
from chunkstore.system import DIRECT_ALIGNMENT, ReadFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

# Local headers of other writers carry extra fields; reading so much more saves a second read.
_FOREIGN_EXTRA_NBYTES = 64
# A deflated byte stands for at most 1,032 bytes.
_MAX_INFLATE_RATIO = 1032
_DEFLATE_SLACK_NBYTES = 1024


class Container:
    """A zip open for reading: its newest directory and positional reads of its entries.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FormatError, IncompleteError, CorruptionError, UnsupportedError
        See `chunkstore.container.end.find_checkpoint`.
    SystemCallError
        The file cannot be opened.

    Notes
    -----
    The directory that was found on opening stays in force: a writer that appends later does not
    disturb it. Threads: all methods are safe in several threads and after a fork.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.file = ReadFile(path)
        try:
            self.checkpoint: Checkpoint = find_checkpoint(self.file)
        except ChunkStoreError as error:
            self.file.close()
            raise error.located(path) from None

    def iter_records(self, *, in_order: bool = False) -> Iterator[Records]:
        """Parse the directory; see `chunkstore.container.directory.iter_records`."""
        checkpoint = self.checkpoint
        try:
            yield from iter_records(
                self.file.read,
                start=checkpoint.directory_start,
                nbytes=checkpoint.directory_nbytes,
                num_records=checkpoint.num_records,
                in_order=in_order,
            )
        except ChunkStoreError as error:
            raise error.located(self.path) from None

    def check_extents(self, visit: Callable[[Records], None] | None = None) -> int:
        """Check that all entries lie before the directory and none overlaps another.

        Parameters
        ----------
        visit
            Called with each part of the directory, so that one pass serves the caller as well.

        Returns
        -------
        The bytes of the file that no entry, directory or end record of this checkpoint takes:
        orphans of earlier checkpoints.

        Raises
        ------
        CorruptionError
            Two entries overlap, or one reaches past the directory's start.

        Notes
        -----
        Takes 16 bytes an entry while it runs. Intervals do not overlap exactly if the sorted
        stops and the sorted starts interleave.
        """
        checkpoint = self.checkpoint
        try:
            starts = np.empty(checkpoint.num_records, np.int64)
            stops = np.empty(checkpoint.num_records, np.int64)
        except MemoryError:
            raise CorruptionError(
                f"the end record promises {checkpoint.num_records} entries, which do not fit into "
                "memory",
                self.path,
            ) from None
        used = 0
        for records in self.iter_records():
            self._check_inside(records)
            rows = slice(used, used + len(records))
            starts[rows] = records.offset
            np.add(
                records.offset,
                records.encoded_nbytes + (layout.LOCAL.size + records.names.shape[1]),
                out=stops[rows],
            )
            used += len(records)
            if visit is not None:
                visit(records)
        taken = int(stops.sum() - starts.sum())
        if np.any(starts[1:] < starts[:-1]):
            starts.sort()
        if np.any(stops[1:] < stops[:-1]):
            stops.sort()
        bad = np.flatnonzero(stops[:-1] > starts[1:])
        if len(bad):
            raise CorruptionError(
                f"two entries overlap at byte {int(starts[bad[0] + 1])}", self.path
            )
        return checkpoint.directory_start - taken

    def _check_inside(self, records: Records) -> None:
        limit = self.checkpoint.directory_start
        least = layout.LOCAL.size + records.names.shape[1]
        # Compared without adding first: offset + size could pass 2^63.
        outside = records.offset > limit - least
        outside |= records.encoded_nbytes > limit - least - records.offset
        if outside.any():
            row = int(outside.argmax())
            raise CorruptionError(
                f"the directory gives it {int(records.encoded_nbytes[row])} bytes at offset "
                f"{int(records.offset[row])}, outside the file's entries, which end at byte "
                f"{limit}",
                self.path,
                records.name(row).decode("utf-8", "replace"),
                int(records.offset[row]),
            )

    def read_entry(
        self, name: bytes, *, offset: int, encoded_nbytes: int, nbytes: int, crc: int
    ) -> bytes:
        """Return the checked, inflated bytes of one entry, as a copy."""
        reader = EntryReader(self)
        try:
            return bytes(
                reader.fetch(
                    name, offset=offset, encoded_nbytes=encoded_nbytes, nbytes=nbytes, crc=crc
                )
            )
        finally:
            reader.close()

    def close(self) -> None:
        """Close the file; again is allowed."""
        self.file.close()


class EntryReader:
    """Reads entries one after the other into a buffer of its own.

    Parameters
    ----------
    container
        The open container.
    direct
        Read past the page cache, where the system can.
    check
        False leaves out the CRC-32, for measuring what it costs. Headers are always compared.

    Attributes
    ----------
    read_nbytes, fetch_seconds, check_seconds
        Bytes read so far, the time that reading took, and that of the checks (header, CRC-32) and
        of inflating.
    spare
        Memory of the reader's user, for what it makes of an entry. A pool keeps it with the
        reader, so that one read after the other finds it.

    Notes
    -----
    Threads: one reader serves one thread. The buffer grows to the largest entry read.
    """

    def __init__(self, container: Container, *, direct: bool = False, check: bool = True) -> None:
        self._container = container
        self._direct = direct
        self._check = check
        self._buffer = memoryview(b"")
        # What `read_ahead` read, and where it stands in the file.
        self._ahead = memoryview(b"")
        self._ahead_start = 0
        # Files of ours carry no extra fields; the first foreign one met raises the guess.
        self._extra_guess = 0
        self.read_nbytes = 0
        self.fetch_seconds = 0.0
        self.check_seconds = 0.0
        self.spare: NDArray[np.uint8] | None = None

    @property
    def buffer_nbytes(self) -> int:
        """Bytes that the buffer takes now."""
        return self._buffer.nbytes

    def fetch(
        self, name: bytes, *, offset: int, encoded_nbytes: int, nbytes: int, crc: int
    ) -> memoryview:
        """Return the checked bytes of an entry.

        Parameters
        ----------
        name, offset, encoded_nbytes, nbytes, crc
            The entry as the directory lists it; ``nbytes`` differs from ``encoded_nbytes`` when
            it is deflated.

        Returns
        -------
        A view of the reader's buffer: valid until the next call. Of a deflated entry, new memory.

        Raises
        ------
        CorruptionError
            The local header is missing or says something else than the directory, or the bytes
            have another CRC-32.
        """
        started = time.perf_counter() - self.fetch_seconds
        try:
            data = self._fetch(name, offset, encoded_nbytes, nbytes, crc)
        except ChunkStoreError as error:
            raise error.located(
                self._container.path, name.decode("utf-8", "replace"), offset
            ) from None
        self.check_seconds += time.perf_counter() - self.fetch_seconds - started
        return data

    def _fetch(
        self, name: bytes, offset: int, encoded_nbytes: int, nbytes: int, crc: int
    ) -> memoryview:
        if encoded_nbytes != nbytes:
            _check_inflated_nbytes(encoded_nbytes, nbytes)
        head_nbytes = layout.LOCAL.size + len(name) + self._extra_guess
        view = self._read(offset, head_nbytes + encoded_nbytes)
        (
            signature,
            _,
            flags,
            method,
            _,
            _,
            local_crc,
            local_encoded,
            local_nbytes,
            name_n,
            extra_n,
        ) = layout.LOCAL.unpack_from(view) if len(view) >= layout.LOCAL.size else (b"",) + (0,) * 10
        if signature != layout.LOCAL_SIGNATURE:
            layout.parse_local_header(view)  # raises, and says what is there
        data_start = layout.LOCAL.size + name_n + extra_n
        if data_start > head_nbytes:
            self._extra_guess = max(_FOREIGN_EXTRA_NBYTES, data_start - head_nbytes)
            view = self._read(offset, data_start + encoded_nbytes)
        header_name = view[layout.LOCAL.size : layout.LOCAL.size + name_n]
        if header_name != name:
            raise CorruptionError(
                f"names disagree: the directory lists {name!r}, the local header says "
                f"{bytes(header_name)!r}"
            )
        if layout.LIMIT32 in (local_encoded, local_nbytes):
            header = layout.parse_local_header(view)
            local_encoded, local_nbytes = header.encoded_nbytes, header.nbytes
        layout.check_readable(flags, method, name)
        unset = flags & layout.FLAG_DESCRIPTOR and local_crc == local_encoded == local_nbytes == 0
        if not unset and (local_crc, local_encoded, local_nbytes) != (crc, encoded_nbytes, nbytes):
            raise CorruptionError(
                "the local header disagrees with the directory: crc32, stored and inflated size "
                f"are 0x{local_crc:08x}, {local_encoded}, {local_nbytes}, the directory has "
                f"0x{crc:08x}, {encoded_nbytes}, {nbytes}"
            )
        data = view[data_start : data_start + encoded_nbytes]
        if len(data) < encoded_nbytes:
            raise CorruptionError(
                f"cut short: {len(data)} bytes of {encoded_nbytes} are in the file"
            )
        if method == layout.DEFLATED:
            data = memoryview(_inflate(data, nbytes))
        elif encoded_nbytes != nbytes:
            raise CorruptionError(
                f"stored, but with two sizes: {encoded_nbytes} and {nbytes} bytes"
            )
        if self._check and (found := crc32(data)) != crc:
            raise CorruptionError(f"crc32 is 0x{found:08x}, expected 0x{crc:08x}")
        return data

    def read_ahead(self, offset: int, nbytes: int) -> None:
        """Read a part of the file at once, for all entries in it.

        What `fetch` returns of them is a view that is valid until the next call of this, and of
        entries that are not in it new memory.
        """
        started = time.perf_counter()
        self._ahead = memoryview(b"")
        self._reserve(nbytes)
        got = self._container.file.read_into(self._buffer[:nbytes], offset)
        self._ahead, self._ahead_start = self._buffer[:got], offset
        self.read_nbytes += got
        self.fetch_seconds += time.perf_counter() - started

    def _read(self, offset: int, nbytes: int) -> memoryview:
        """Return ``nbytes`` bytes from ``offset`` on, or as many as the file has."""
        started = time.perf_counter()
        view = self._read_unmeasured(offset, nbytes)
        self.fetch_seconds += time.perf_counter() - started
        return view

    def _read_unmeasured(self, offset: int, nbytes: int) -> memoryview:
        if not self._direct:
            if self._ahead:
                first = offset - self._ahead_start
                if 0 <= first <= len(self._ahead) - nbytes:
                    return self._ahead[first : first + nbytes]
                view = memoryview(bytearray(nbytes))
            else:
                self._reserve(nbytes)
                view = self._buffer[:nbytes]
            got = self._container.file.read_into(view, offset)
            self.read_nbytes += got
            return view[:got]
        first = offset - offset % DIRECT_ALIGNMENT
        wanted = -(-(offset - first + nbytes) // DIRECT_ALIGNMENT) * DIRECT_ALIGNMENT
        self._reserve(wanted)
        got = self._container.file.read_direct_into(self._buffer[:wanted], first)
        self.read_nbytes += got
        return self._buffer[offset - first : min(got, offset - first + nbytes)]

    def _reserve(self, nbytes: int) -> None:
        if self._buffer.nbytes < nbytes:
            self._release()
            size = -(-max(nbytes, 1) // DIRECT_ALIGNMENT) * DIRECT_ALIGNMENT
            try:
                self._buffer = system.calls.aligned_buffer(size)
            except OSError as error:
                path = self._container.path
                raise system_call_error(
                    error, f"the entry cannot be read: no memory for {size} bytes", path
                ) from error

    def _release(self) -> None:
        # Views that a caller still holds keep the memory; the last one frees it.
        self._buffer = memoryview(b"")

    def close(self) -> None:
        """Give the buffer back; the container stays open."""
        self._ahead = memoryview(b"")
        self._release()
        self.spare = None


class ReaderPool:
    """Entry readers to borrow: a few stay for the next caller, the rest are closed.

    Notes
    -----
    Threads: safe; a borrowed reader belongs to one caller.
    """

    def __init__(self, container: Container, *, keep: int) -> None:
        self._container = container
        self._keep = keep
        # Appending and popping are atomic: a lock could be held by another thread at a fork.
        self._free: list[EntryReader] = []

    def borrow(self) -> EntryReader:
        """Return a reader that nobody else has."""
        # Taking from a list is one step: it needs no lock.
        try:
            return self._free.pop()
        except IndexError:
            return EntryReader(self._container)

    def give_back(self, reader: EntryReader) -> None:
        """Keep the reader for the next caller, or close it."""
        if len(self._free) < self._keep:
            self._free.append(reader)
        else:
            reader.close()

    def close(self) -> None:
        """Close the readers that are here."""
        readers, self._free = self._free, []
        for reader in readers:
            reader.close()


def _check_inflated_nbytes(encoded_nbytes: int, nbytes: int) -> None:
    """Raise unless so many deflated bytes can inflate to ``nbytes``: before any is allocated."""
    most = encoded_nbytes * _MAX_INFLATE_RATIO
    # Deflate adds 5 bytes to 64 KiB that do not shrink; poor packers cut them finer.
    if nbytes > most or encoded_nbytes > nbytes + (nbytes >> 3) + _DEFLATE_SLACK_NBYTES:
        raise CorruptionError(
            f"{encoded_nbytes} deflated bytes cannot inflate to {nbytes}, as the directory says"
        )


def _inflate(data: memoryview, nbytes: int) -> bytes:
    """Return the inflated bytes, refusing more than ``nbytes`` before they are allocated."""
    _check_inflated_nbytes(len(data), nbytes)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, nbytes + 1)
    except zlib.error as error:
        raise CorruptionError(f"deflated bytes are damaged: {error}") from None
    if len(inflated) != nbytes or not inflater.eof:
        more = "at least " if len(inflated) > nbytes else ""
        raise CorruptionError(
            f"inflates to {more}{len(inflated)} bytes, the directory says {nbytes}"
        )
    return inflated


def names_as_rows(names: list[bytes]) -> NDArray[np.uint8]:
    """Return names of one length as rows, shape ``(n, length)``, uint8."""
    length = len(names[0]) if names else 0
    return np.frombuffer(b"".join(names), np.uint8).reshape(len(names), length)
