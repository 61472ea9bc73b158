"""How are the arrays of an npz file read in any order?

What is stored in it as it is, is read at its place. What is compressed is decoded first. Either way
its CRC-32 is checked before a sample is used.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.container.checksum import crc32
from chunkstore.errors import CorruptionError, FormatError, UnsupportedError
from chunkstore.importers.arrays.files import PlainFile, file_identity, missing
from chunkstore.importers.arrays.raw import FortranColumn, RawColumn
from chunkstore.importers.npy_decoded import DecodedArrays, DecodedColumn
from chunkstore.importers.npy_file import read_header, read_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.importers.arrays.column import Column
    from chunkstore.importers.npy_file import NpyHeader

_SUFFIX: Final = ".npy"
_STEP_NBYTES: Final = 4 << 20
_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")
_ENCRYPTED: Final = 1


def npz_columns(path: str, decoded: DecodedArrays) -> dict[str, Column | Any]:
    """Return the arrays of an npz file by name; those of a single value as that value.

    Parameters
    ----------
    path
        The file.
    decoded
        Where compressed arrays lie once they are decoded; to be closed when all are read.

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
    # There may be very many.
    file = PlainFile(path)
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
            found[name] = _member(archive, info, place, file, identity, decoded)
    if not found:
        raise FormatError("there is no array in the file", path)
    return found


def _member(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    place: str,
    file: PlainFile,
    identity: str,
    decoded: DecodedArrays,
) -> Column | Any:
    path = file.path
    try:
        with archive.open(info) as member:
            header = read_header(member, place)
            if header.shape == ():
                return read_value(member, header, place, path)
    except NotImplementedError as error:
        raise UnsupportedError(f"{place}: {error}", path) from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CorruptionError(f"{place} cannot be decoded: {error}", path) from error
    if info.compress_type != zipfile.ZIP_STORED:
        return DecodedColumn(place, path, info.filename, header, identity, decoded)
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


def _data_offset(file: PlainFile, info: zipfile.ZipInfo, place: str) -> int:
    raw = file.read(_LOCAL_HEADER.size, info.header_offset)
    if len(raw) < _LOCAL_HEADER.size or raw[:4] != b"PK\x03\x04":
        raise CorruptionError(f"{place}: its local header is damaged", file.path)
    _, name_nbytes, extra_nbytes = _LOCAL_HEADER.unpack(raw)
    return info.header_offset + _LOCAL_HEADER.size + int(name_nbytes) + int(extra_nbytes)


def _check_crc(file: PlainFile, start: int, info: zipfile.ZipInfo, place: str) -> None:
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
