"""How are the files of a bcolz folder read from a directory?

No link below the top is followed, no pipe is waited for, and a file that the disk cannot read is a
problem of that file.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

import numpy as np

from chunkstore import system
from chunkstore.errors import CorruptionError, FormatError, system_call_error
from chunkstore.importers.bcolz.files import (
    CHUNK_NAME,
    KIND_TEXTS,
    MAX_METADATA_NBYTES,
    TAIL_NBYTES,
    Head,
    Kind,
    count_end_zeros,
)
from chunkstore.importers.bcolz.frame import HEAD_NBYTES, PEEK_NBYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

# No link is followed, and a pipe in a file's place does not hang.
_READ_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
)
_SEEK_HOLE: Final = getattr(os, "SEEK_HOLE", None)
# What a system says of one file that is bad, or is none: a bad sector, a checksum of the file
# system, a link or a pipe that has taken a file's place.
_FILE_ERRORS: Final = frozenset(
    getattr(errno, name)
    for name in ("EIO", "EBADMSG", "EUCLEAN", "EISDIR", "ELOOP", "ENXIO", "ESPIPE")
    if hasattr(errno, name)
)


class DirectoryFiles:
    """Files of a directory. Links in it are not followed: they could lead anywhere.

    Parameters
    ----------
    path
        The directory; it may itself be reached by a link.

    Notes
    -----
    Threads: safe. Nothing is kept open.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        # The working directory may change.
        self._place = os.path.abspath(path)

    def entries(self, folder: str) -> dict[str, Kind]:
        """Return what is in a folder, by name; nothing if there is no such folder."""
        return {entry.name: _kind(entry) for entry in self._scan(folder)}

    def has_chunks(self, folder: str) -> bool:
        """Say whether a folder holds a chunk file."""
        return any(CHUNK_NAME.fullmatch(entry.name) for entry in self._scan(folder))

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes; None if there is none."""
        if self._is_behind_link(path.rpartition("/")[0]):
            return None
        try:
            descriptor = os.open(self._system_path(path), _READ_FLAGS)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _refused(error, self.path, path, "the file cannot be opened") from error
        try:
            with os.fdopen(descriptor, "rb") as file:
                # Of a pipe nothing is read: it would take what is meant for somebody else.
                is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
                raw = file.read(MAX_METADATA_NBYTES + 1) if is_file else b""
        except OSError as error:
            raise _refused(error, self.path, path, "the file cannot be read") from error
        if not is_file:
            raise CorruptionError(
                f"this is {KIND_TEXTS['other']}, a file is wanted", self.path, path
            )
        if len(raw) > MAX_METADATA_NBYTES:
            raise FormatError(
                f"the file has more than {MAX_METADATA_NBYTES} bytes", self.path, path
            )
        return raw

    def chunk_files(self, folder: str) -> DirectoryChunkFiles:
        """Return the chunk files of a folder."""
        regular: list[int] = []
        irregular: dict[int, Kind] = {}
        for entry in self._scan(folder):
            match = CHUNK_NAME.fullmatch(entry.name)
            if match is None:
                continue
            kind = _kind(entry)
            if kind == "file":
                regular.append(int(match[1]))
            else:
                irregular[int(match[1])] = kind
        indices = np.array(regular, np.int64)
        indices.sort()
        return DirectoryChunkFiles(self._system_path(folder), indices, irregular)

    def close(self) -> None:
        """Do nothing: no file is kept open."""

    def _scan(self, folder: str) -> Iterator[os.DirEntry[str]]:
        if self._is_behind_link(folder):
            return
        try:
            with os.scandir(self._system_path(folder)) as found:
                yield from found
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise system_call_error(error, "the folder cannot be listed") from error

    def _is_behind_link(self, folder: str) -> bool:
        """Say whether a link lies on the way from the top to a folder."""
        place = self._place
        for name in folder.split("/") if folder else ():
            place = os.path.join(place, name)
            if os.path.islink(place):
                return True
        return False

    def _system_path(self, path: str) -> str:
        return os.path.join(self._place, *path.split("/")) if path else self._place


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


class DirectoryChunkFiles:
    """The chunk files of a ``data`` folder in a directory."""

    def __init__(
        self, place: str, indices: NDArray[np.int64], irregular: Mapping[int, Kind]
    ) -> None:
        self.indices = indices
        self.irregular = irregular
        self._place = place

    def open_reader(self) -> DirectoryChunkReader:
        """Return a reader for one thread."""
        return DirectoryChunkReader(self._place)


class DirectoryChunkReader:
    """Opens, reads and closes one chunk file after the other."""

    def __init__(self, place: str) -> None:
        self._prefix = os.path.join(place, "__")
        self._buffer = memoryview(b"")
        self.read_nbytes = 0

    @property
    def buffer_nbytes(self) -> int:
        """Bytes that the buffer takes now."""
        return self._buffer.nbytes

    def read_head(self, index: int) -> Head:
        """Return how a file begins and ends."""
        descriptor = self._open(index)
        try:
            nbytes = os.fstat(descriptor).st_size
            start = os.read(descriptor, PEEK_NBYTES)
            has_holes = nbytes > 0 and _has_holes(descriptor, nbytes)
            tail = bytearray(min(TAIL_NBYTES, nbytes))
            done = _fill(descriptor, memoryview(tail), nbytes - len(tail))
        except OSError as error:
            raise self._refused(error, index) from error
        finally:
            os.close(descriptor)
        self.read_nbytes += len(start) + done
        return Head(nbytes, start, has_holes, count_end_zeros(bytes(tail[:done])))

    def read(self, index: int, limit: int) -> memoryview:
        """Return a file's bytes, at most ``limit``; valid until the next call."""
        descriptor = self._open(index)
        try:
            nbytes = min(os.fstat(descriptor).st_size, limit)
            if self._buffer.nbytes < nbytes:
                self._buffer = memoryview(b"")
                self._buffer = np.empty(nbytes, np.uint8).data
            done = _fill(descriptor, self._buffer[:nbytes], 0)
        except OSError as error:
            raise self._refused(error, index) from error
        finally:
            os.close(descriptor)
        self.read_nbytes += done
        return self._buffer[:done]

    def read_content(self, index: int, content: memoryview) -> tuple[bytes, int]:
        """Put what stands behind a file's headers into the caller's memory."""
        descriptor = self._open(index)
        try:
            head = os.read(descriptor, HEAD_NBYTES)
            done = _fill(descriptor, content, HEAD_NBYTES)
        except OSError as error:
            raise self._refused(error, index) from error
        finally:
            os.close(descriptor)
        self.read_nbytes += len(head) + done
        return head, done

    def close(self) -> None:
        """Give the buffer back."""
        self._buffer = memoryview(b"")

    def _open(self, index: int) -> int:
        try:
            return os.open(f"{self._prefix}{index}.blp", _READ_FLAGS)
        except FileNotFoundError:
            raise CorruptionError("the chunk file is missing") from None
        except OSError as error:
            raise self._refused(error, index) from error

    def _refused(self, error: OSError, index: int) -> Exception:
        if error.errno in _FILE_ERRORS:
            # The others can perhaps be read. Who reads the chunk knows its name.
            return CorruptionError(_file_text(error, "the chunk file cannot be read"))
        return system_call_error(
            error, "the chunk file cannot be read", f"{self._prefix}{index}.blp"
        )


def _file_text(error: OSError, what: str) -> str:
    if error.errno == errno.ELOOP:
        return f"this is {KIND_TEXTS['link']}"
    if error.errno == errno.EISDIR:
        return f"this is {KIND_TEXTS['folder']}, a file is wanted"
    return f"{what}: {error.strerror}"


def _refused(error: OSError, place: str, key: str, what: str) -> Exception:
    if error.errno in _FILE_ERRORS:
        return CorruptionError(_file_text(error, what), place, key)
    return system_call_error(error, what, os.path.join(place, key))


def _has_holes(descriptor: int, nbytes: int) -> bool:
    """Say whether parts of a file were never written; False where the system does not tell."""
    if _SEEK_HOLE is None:
        return False
    try:
        return os.lseek(descriptor, 0, _SEEK_HOLE) < nbytes
    except OSError:
        return False


def _fill(descriptor: int, buffer: memoryview, offset: int) -> int:
    """Read a file from ``offset`` on and return how much of ``buffer`` was filled."""
    done = 0
    while done < len(buffer):
        count = system.calls.pread_into(descriptor, buffer[done:], offset + done)
        if count == 0:
            break
        done += count
    return done
