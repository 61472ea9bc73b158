"""How is a compressed tar read at any place, in bounded memory?

A gzip has no index. While it is read once from end to end, for the listing, the state of the
decompressor is kept now and then; later reads start from the state before the place wanted.
"""

from __future__ import annotations

import threading
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chunkstore.errors import ChunkStoreError, CorruptionError, FormatError
from chunkstore.importers.bcolz.archive import ArchiveFiles, ArchiveIndex, Place
from chunkstore.importers.bcolz.files import Head
from chunkstore.importers.bcolz.frame import PEEK_NBYTES
from chunkstore.importers.bcolz.tar import fill_index
from chunkstore.system import ReadFile

if TYPE_CHECKING:
    from collections.abc import Callable

_IN_NBYTES: Final = 64 << 10
_OUT_NBYTES: Final = 256 << 10
# A state takes some 45 KiB. When there are too many, every other one goes.
_MAX_STATES: Final = 512
_FIRST_SPACING: Final = 1 << 20
# Frames are compressed already: an archive of them hardly shrinks. One that grows so much more
# than its first part, when unpacked, was made to fill memory or time.
_MAX_RATIO: Final = 100
_FREE_NBYTES: Final = 1 << 30
_GZIP: Final = 16 + zlib.MAX_WBITS


class _State(NamedTuple):
    """The decompressor at a place: so many bytes are out, so many of the file were taken."""

    position: int
    taken: int
    inflater: Any


class GzipStream:
    """The unpacked bytes of a gzip, from a state on.

    Attributes
    ----------
    position
        Of the next byte, in the unpacked bytes.
    taken
        Bytes of the file that the decompressor has had.
    read_nbytes
        Bytes read from the file.
    """

    def __init__(self, file: ReadFile, state: _State | None = None) -> None:
        self._file = file
        self._inflater = state.inflater if state else zlib.decompressobj(_GZIP)
        self.position = state.position if state else 0
        self.taken = state.taken if state else 0
        self._pending = b""
        self._is_over = False
        self.read_nbytes = 0

    def state(self) -> _State:
        """Return a copy of where the stream is."""
        return _State(self.position, self.taken, self._inflater.copy())

    def next_piece(self, most: int) -> bytes:
        """Return 1 to ``most`` unpacked bytes, none at the end.

        Raises
        ------
        CorruptionError
            The stream is damaged or cut, or its checksum is wrong.
        """
        while not self._is_over:
            if self._inflater.eof:
                self._next_member()
                continue
            if not self._pending:
                self._pending = self._file.read(_IN_NBYTES, self.taken)
                self.read_nbytes += len(self._pending)
            if not self._pending:
                raise CorruptionError(f"the gzip is cut short: it ends at byte {self.taken}")
            try:
                piece: bytes = self._inflater.decompress(self._pending, most)
            except zlib.error as error:
                raise CorruptionError(
                    f"the gzip is damaged near byte {self.taken}: {error}"
                ) from None
            left = self._inflater.unused_data or self._inflater.unconsumed_tail
            self.taken += len(self._pending) - len(left)
            self._pending = left
            if piece:
                self.position += len(piece)
                return piece
        return b""

    def _next_member(self) -> None:
        """Go on with another gzip behind the one that has ended; zeros behind it are padding."""
        if not self._pending.strip(b"\0"):
            rest = self._file.read(_IN_NBYTES, self.taken)
            if not rest.strip(b"\0"):
                self._is_over = True
                return
            self._pending = rest
        zeros = len(self._pending) - len(self._pending.lstrip(b"\0"))
        self.taken += zeros
        self._pending = self._pending[zeros:]
        self._inflater = zlib.decompressobj(_GZIP)


class _IndexingForward:
    """The unpacked bytes once from end to end, keeping states on the way."""

    def __init__(self, file: ReadFile) -> None:
        self._stream = GzipStream(file)
        self._rest = memoryview(b"")
        self._spacing = _FIRST_SPACING
        self.states: list[_State] = [self._stream.state()]

    def read(self, nbytes: int) -> bytes:
        parts = []
        while nbytes:
            piece = self._piece(nbytes)
            if not piece:
                break
            parts.append(piece)
            nbytes -= len(piece)
        return b"".join(parts)

    def skip(self, nbytes: int) -> int:
        left = nbytes
        while left:
            piece = self._piece(left)
            if not piece:
                break
            left -= len(piece)
        return nbytes - left

    def finish(self) -> None:
        """Read what is behind the last member, so that the checksum is compared."""
        while self._next():
            pass

    def _piece(self, most: int) -> memoryview:
        if not self._rest:
            self._rest = memoryview(self._next())
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece

    def _next(self) -> bytes:
        stream = self._stream
        if stream.position - self.states[-1].position >= self._spacing:
            self.states.append(stream.state())
            if len(self.states) > _MAX_STATES:
                del self.states[1::2]
                self._spacing *= 2
        piece = stream.next_piece(_OUT_NBYTES)
        if stream.position > _FREE_NBYTES + _MAX_RATIO * stream.taken:
            raise FormatError(
                f"{stream.taken} bytes of the gzip unpack to more than {stream.position}: refused. "
                "Unpack it, if you trust it, and give the folder"
            )
        return piece


def open_tar_gz(path: str) -> ArchiveFiles:
    """Open a tar.gz: reads it once from end to end.

    Raises
    ------
    FormatError, CorruptionError, UnsupportedError
        See `chunkstore.importers.bcolz.tar.fill_index`; and a gzip that is damaged, or unpacks to
        very much more than it takes.
    """
    file = ReadFile(path)
    index = ArchiveIndex()
    try:
        stream = _IndexingForward(file)
        fill_index(stream, index, keep_heads=True)
        stream.finish()
    except ChunkStoreError as error:
        file.close()
        raise error.located(path) from None
    except BaseException:
        file.close()
        raise
    return ArchiveFiles(TarGzArchive(path, file, stream.states), index)


class TarGzArchive:
    """An open tar.gz.

    Notes
    -----
    Threads: safe. A reader that is closed leaves its place in the stream to the next one.
    """

    def __init__(self, path: str, file: ReadFile, states: list[_State]) -> None:
        self.path = path
        self.file = file
        self._states = states
        self._free: list[GzipStream] = []
        self._lock = threading.Lock()

    def open_member_reader(self) -> TarGzMemberReader:
        """Return a reader for one thread."""
        return TarGzMemberReader(self._stream_at, self._give_back)

    def close(self) -> None:
        """Close the file; again is allowed."""
        self._free.clear()
        self.file.close()

    def _stream_at(self, stream: GzipStream | None, position: int) -> GzipStream:
        """Return a stream that is at a position or a little before it."""
        before = [state for state in self._states if state.position <= position][-1]
        if stream is None:
            with self._lock:
                near = [s for s in self._free if before.position <= s.position <= position]
                if near:
                    stream = max(near, key=lambda s: s.position)
                    self._free.remove(stream)
        if stream is not None and before.position <= stream.position <= position:
            return stream
        # Copying a state changes nothing in it.
        return GzipStream(self.file, _State(before.position, before.taken, before.inflater.copy()))

    def _give_back(self, stream: GzipStream) -> None:
        with self._lock:
            self._free = [stream, *self._free[:1]]


class TarGzMemberReader:
    """Reads members of a tar.gz: fast in the archive's order, else from the state before."""

    def __init__(
        self,
        stream_at: Callable[[GzipStream | None, int], GzipStream],
        give_back: Callable[[GzipStream], None],
    ) -> None:
        self._stream_at = stream_at
        self._give_back = give_back
        self._stream: GzipStream | None = None
        self._done_nbytes = 0
        self._buffer = bytearray()

    @property
    def read_nbytes(self) -> int:
        """Bytes of the archive read so far."""
        return self._done_nbytes

    @property
    def buffer_nbytes(self) -> int:
        """The most memory that its buffers take."""
        return len(self._buffer) + _IN_NBYTES + _OUT_NBYTES

    def read_head(self, name: bytes, place: Place) -> Head:
        """Return how a member begins: one that begins with zeros, the others are known."""
        return Head(place.nbytes, bytes(self.read(name, place, PEEK_NBYTES)))

    def read(self, name: bytes, place: Place, limit: int) -> memoryview:
        """Return a member's bytes, at most ``limit``; valid until the next call."""
        nbytes = min(place.nbytes, limit)
        stream = self._stream_at(self._stream, place.offset)
        self._stream = stream
        before = stream.read_nbytes
        while stream.position < place.offset:
            if not stream.next_piece(min(_OUT_NBYTES, place.offset - stream.position)):
                break
        if len(self._buffer) < nbytes:
            self._buffer = bytearray(nbytes)
        done = 0
        while done < nbytes:
            piece = stream.next_piece(min(_OUT_NBYTES, nbytes - done))
            if not piece:
                break
            self._buffer[done : done + len(piece)] = piece
            done += len(piece)
        self._done_nbytes += stream.read_nbytes - before
        return memoryview(self._buffer)[:done]

    def close(self) -> None:
        """Give back what the reader holds; again is allowed."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._give_back(stream)
        self._buffer = bytearray()
