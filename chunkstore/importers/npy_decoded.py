"""Where do the compressed arrays of npz files lie once they are decoded?

Each is decoded once, whole and with its CRC-32 checked, when it is first read. As many as fit a
fixed number of bytes lie in memory, all others in one temporary file without a name: however many
files there are, memory stays the same, and samples can be read in any order.
"""

from __future__ import annotations

import tempfile
import threading
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore import system
from chunkstore.errors import CorruptionError
from chunkstore.importers.arrays.column import Column
from chunkstore.importers.npy_file import read_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from numpy.typing import NDArray

    from chunkstore.importers.npy_file import NpyHeader

# Of all decoded arrays of an import together.
_IN_MEMORY_NBYTES: Final = 64 << 20
_STEP_NBYTES: Final = 4 << 20


class DecodedArrays:
    """The memory and the file that the arrays of an import share.

    Parameters
    ----------
    folder
        Of the temporary file, which takes what does not fit in memory; None for the system's.

    Notes
    -----
    Threads: safe. Close it, or the file stays until the process ends.
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._left = _IN_MEMORY_NBYTES
        self._file: IO[bytes] | None = None
        self._end = 0

    def memory(self, nbytes: int) -> NDArray[np.uint8] | None:
        """Return bytes in memory, or None where there is no more room."""
        with self._lock:
            if nbytes > self._left:
                return None
            self._left -= nbytes
        return np.empty(nbytes, np.uint8)

    def region(self, nbytes: int) -> tuple[IO[bytes], int]:
        """Return the file, and where in it as many bytes have their place."""
        with self._lock:
            if self._file is None:
                # Unbuffered: what is written can be read at its place.
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - see close
            offset = self._end
            self._end += nbytes
            return self._file, offset

    def write(self, piece: bytes, offset: int) -> None:
        """Write to a region."""
        rest = memoryview(piece)
        with self._lock:
            if self._file is None:
                raise ValueError("there is no file: region() comes first")
            self._file.seek(offset)
            while rest:
                rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Give the file back; again is allowed."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


class DecodedColumn(Column):
    """An array of which only the beginning can be found: decoded once, when it is first read.

    Parameters
    ----------
    place
        See `Column`.
    path, member
        The archive, and what to decode.
    header
        Of the array.
    identity
        Of the archive.
    decoded
        Where it shall lie.
    """

    def __init__(
        self,
        place: str,
        path: str,
        member: str,
        header: NpyHeader,
        identity: str,
        decoded: DecodedArrays,
    ) -> None:
        super().__init__(place, header.shape, header.dtype)
        self._path, self._member, self._header = path, member, header
        self._identity = identity
        self._decoded = decoded
        self._lock = threading.Lock()
        self._values: NDArray[Any] | None = None
        self._region: tuple[IO[bytes], int] | None = None

    @property
    def identity(self) -> str:
        """That of the archive, and the member."""
        return f"{self._identity} {self._member}"

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Copy from what was decoded.

        Raises
        ------
        CorruptionError
            The member does not decode, or not to its CRC-32 and length.
        """
        with self._lock:
            if self._values is None and self._region is None:
                self._decode()
        if self._region is None:
            if self._values is not None:
                out[...] = self._values[start:stop]
            return
        file, base = self._region
        raw = memoryview(out.reshape(-1).view(np.uint8).data)
        offset, done = base + start * self.sample_nbytes, 0
        while done < len(raw):
            count = system.calls.pread_into(file.fileno(), raw[done:], offset + done)
            if count <= 0:
                raise CorruptionError(f"{self.place}: the temporary file of its samples was cut")
            done += count
        if self._header.dtype != self.dtype:
            out[...] = out.view(self._header.dtype)

    def _decode(self) -> None:
        # Of the transpose in C order, an array in Fortran order is the transpose.
        is_fortran, dtype = self._header.is_fortran, self._header.dtype
        shape = self.shape[::-1] if is_fortran else self.shape
        memory = self._decoded.memory(self.nbytes)
        if memory is not None:
            done = 0
            for piece in self._pieces():
                memory[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
                done += len(piece)
            values = memory.view(dtype).reshape(shape)
            self._values = values.T if is_fortran else values
            return
        file, offset = self._decoded.region(self.nbytes)
        done = 0
        for piece in self._pieces():
            self._decoded.write(piece, offset + done)
            done += len(piece)
        if is_fortran:
            self._values = np.memmap(file, dtype, mode="r", offset=offset, shape=shape).T
        else:
            self._region = file, offset

    def _pieces(self) -> Iterator[bytes]:
        """Yield the elements as the member holds them, which are just as many as they must be."""
        num_copied = 0
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(self._member) as member:
                read_header(member, self.place)
                while piece := member.read(_STEP_NBYTES):
                    num_copied += len(piece)
                    if num_copied > self.nbytes:
                        break
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise CorruptionError(f"{self.place} cannot be decoded: {error}", self._path) from error
        if num_copied != self.nbytes:
            raise CorruptionError(
                f"{self.place}: shape {self.shape} and dtype {self.dtype} need {self.nbytes} "
                f"bytes, the member holds {num_copied}"
                + (" or more" if num_copied > self.nbytes else ""),
                self._path,
            )
