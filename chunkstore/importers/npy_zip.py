"""How are the arrays of an npz file read in any order?

What is stored in it as it is, is read at its place. What is compressed is decoded once, into memory
or, where it is large, into a temporary file. Either way its CRC-32 is checked first.
"""

from __future__ import annotations

import io
import os
import struct
import tempfile
import threading
import zipfile
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore import system
from chunkstore.container.checksum import crc32
from chunkstore.errors import CorruptionError, FormatError, UnsupportedError
from chunkstore.importers.arrays.column import Column
from chunkstore.importers.arrays.files import file_identity, missing
from chunkstore.importers.arrays.raw import FortranColumn, RawColumn
from chunkstore.importers.npy_file import read_header
from chunkstore.system import ReadFile

if TYPE_CHECKING:
    from contextlib import ExitStack
    from typing import IO

    from numpy.typing import NDArray

    from chunkstore.importers.npy_file import NpyHeader

_SUFFIX: Final = ".npy"
_IN_MEMORY_NBYTES: Final = 64 << 20
_STEP_NBYTES: Final = 4 << 20
_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")
_ENCRYPTED: Final = 1


class _DecodedColumn(Column):
    """An array of which only the beginning can be found: decoded once, when it is first read."""

    def __init__(
        self, place: str, path: str, member: str, header: NpyHeader, identity: str, folder: str
    ) -> None:
        super().__init__(place, header.shape, header.dtype)
        self._path, self._member, self._header = path, member, header
        self._identity = identity
        self._folder = folder
        self._lock = threading.Lock()
        self._values: NDArray[Any] | None = None
        self._file: IO[bytes] | None = None

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
            if self._values is None and self._file is None:
                self._decode()
        if self._values is not None:
            out[...] = self._values[start:stop]
            return
        raw = memoryview(out.reshape(-1).view(np.uint8).data)
        offset, done = start * self.sample_nbytes, 0
        while done < len(raw) and self._file is not None:
            done += system.calls.pread_into(self._file.fileno(), raw[done:], offset + done)
        if self._header.dtype != self.dtype:
            out[...] = out.view(self._header.dtype)

    def close(self) -> None:
        """Give memory and file back; again is allowed."""
        self._values = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _decode(self) -> None:
        is_small = self.nbytes <= _IN_MEMORY_NBYTES
        target: IO[bytes] = (
            io.BytesIO() if is_small else tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - see close
        )
        try:
            self._copy_to(target)
        except BaseException:
            target.close()
            raise
        # Of the transpose in C order, an array in Fortran order is the transpose.
        is_fortran, dtype = self._header.is_fortran, self._header.dtype
        shape = self.shape[::-1] if is_fortran else self.shape
        if isinstance(target, io.BytesIO):
            values: NDArray[Any] = np.frombuffer(target.getbuffer(), dtype).reshape(shape)
            self._values = values.T if is_fortran else values
        elif is_fortran:
            self._values = np.memmap(target, dtype, mode="r", shape=shape).T
            target.close()
        else:
            self._file = target

    def _copy_to(self, target: IO[bytes]) -> None:
        num_copied = 0
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(self._member) as member:
                read_header(member, self.place)
                while piece := member.read(_STEP_NBYTES):
                    num_copied += len(piece)
                    if num_copied > self.nbytes:
                        break
                    target.write(piece)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise CorruptionError(f"{self.place} cannot be decoded: {error}", self._path) from error
        if num_copied != self.nbytes:
            raise CorruptionError(
                f"{self.place}: shape {self.shape} and dtype {self.dtype} need {self.nbytes} "
                f"bytes, the member holds {num_copied}"
                + (" or more" if num_copied > self.nbytes else ""),
                self._path,
            )
        target.flush()


def npz_columns(path: str, resources: ExitStack, *, folder: str) -> dict[str, Column | Any]:
    """Return the arrays of an npz file by name; those of a single value as that value.

    Parameters
    ----------
    path
        The file.
    resources
        Gets what has to be closed.
    folder
        Where a large array is decoded to, in a file without a name.

    Raises
    ------
    FormatError, CorruptionError, UnsupportedError
        It is no npz file, damaged, encrypted, or holds objects.
    """
    identity = file_identity(path)
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise FormatError(f"this is no npz file: {error}", path) from None
    except OSError as error:
        raise missing(error, path) from None
    file = resources.enter_context(closing(ReadFile(path)))
    found: dict[str, Column | Any] = {}
    with archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            name = info.filename.removesuffix(_SUFFIX)
            place = f"{path}: array {name!r}"
            if name == info.filename:
                raise FormatError(f"the member {info.filename!r} is no npy file", path)
            if name in found:
                raise FormatError(f"the array {name!r} is in it twice", path)
            if info.flag_bits & _ENCRYPTED:
                raise UnsupportedError(f"{place} is encrypted")
            found[name] = _member(archive, info, place, path, file, identity, folder, resources)
    if not found:
        raise FormatError("there is no array in the file", path)
    return found


def _member(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    place: str,
    path: str,
    file: ReadFile,
    identity: str,
    folder: str,
    resources: ExitStack,
) -> Column | Any:
    try:
        with archive.open(info) as member:
            header = read_header(member, place)
            if header.shape == ():
                raw = member.read(header.dtype.itemsize + 1)
                if len(raw) != header.dtype.itemsize:
                    raise CorruptionError(f"{place} has {len(raw)} bytes for one value", path)
                return np.frombuffer(raw, header.dtype)[0]
    except NotImplementedError as error:
        raise UnsupportedError(f"{place}: {error}", path) from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CorruptionError(f"{place} cannot be decoded: {error}", path) from error
    if info.compress_type != zipfile.ZIP_STORED:
        column = _DecodedColumn(place, path, info.filename, header, identity, folder)
        resources.callback(column.close)
        return column
    start = _data_offset(file, info, place)
    _check_crc(file, start, info, place)
    offset = start + header.offset
    if header.is_fortran:
        return mapped(place, path, header, offset=offset, identity=identity)
    return RawColumn(
        place, file, offset=offset, shape=header.shape, dtype=header.dtype, identity=identity
    )


def mapped(place: str, path: str, header: NpyHeader, *, offset: int, identity: str) -> Column:
    """Return an array in Fortran order.

    Raises
    ------
    CorruptionError
        The file ends before the array.
    """
    nbytes = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
    if offset + nbytes > os.path.getsize(path):
        raise CorruptionError(
            f"{place}: shape {header.shape} and dtype {header.dtype} need {offset + nbytes} bytes, "
            f"the file has {os.path.getsize(path)}; it was cut off",
            path,
        )
    if not nbytes:
        values: NDArray[Any] = np.empty(header.shape, header.dtype, order="F")
    else:
        values = np.memmap(
            path, header.dtype, mode="r", offset=offset, shape=header.shape, order="F"
        )
    return FortranColumn(place, values, identity=identity)


def _data_offset(file: ReadFile, info: zipfile.ZipInfo, place: str) -> int:
    raw = file.read(_LOCAL_HEADER.size, info.header_offset)
    if len(raw) < _LOCAL_HEADER.size or raw[:4] != b"PK\x03\x04":
        raise CorruptionError(f"{place}: its local header is damaged", file.path)
    _, name_nbytes, extra_nbytes = _LOCAL_HEADER.unpack(raw)
    return info.header_offset + _LOCAL_HEADER.size + int(name_nbytes) + int(extra_nbytes)


def _check_crc(file: ReadFile, start: int, info: zipfile.ZipInfo, place: str) -> None:
    buffer = memoryview(bytearray(min(_STEP_NBYTES, max(1, info.file_size))))
    found, position = 0, 0
    while position < info.file_size:
        piece = buffer[: min(len(buffer), info.file_size - position)]
        if file.read_into(piece, start + position) != len(piece):
            raise CorruptionError(f"{place} ends early; the file was cut off", file.path)
        found = crc32(piece, found)
        position += len(piece)
    if found != info.CRC:
        raise CorruptionError(
            f"{place}: crc32 is 0x{found:08x}, expected 0x{info.CRC:08x}", file.path
        )
