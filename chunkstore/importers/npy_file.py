"""What does an npy file say about the array in it, and where does that begin?

The header is read here and not by NumPy, so that a file of 100 bytes that claims objects, or more
than there is, is an error that names it before a sample is read.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from chunkstore.errors import CorruptionError, FormatError, UnsupportedError

if TYPE_CHECKING:
    from typing import IO, Any

ENDINGS: Final = (".npy", ".npz")
MAGIC: Final = b"\x93NUMPY"
_MAX_HEADER_NBYTES: Final = 1 << 16
_KEYS: Final = {"descr", "fortran_order", "shape"}
# Python 2 wrote its long integers so.
_LONG: Final = re.compile(r"\b(\d+)L\b")


class NpyHeader(NamedTuple):
    """Of an array: type, shape, order of its elements, and bytes before the first of them."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool
    offset: int


def read_header(file: IO[bytes], place: str) -> NpyHeader:
    """Return what stands before the array; the file's position is then its first byte.

    Parameters
    ----------
    file
        At the start of an npy file.
    place
        How errors call it.

    Raises
    ------
    FormatError
        This is no npy file.
    CorruptionError
        It ends in the header.
    UnsupportedError
        A version of the format that nobody knows, an array of Python objects, or of elements
        without bytes.
    """
    start = file.read(8)
    if start[:6] != MAGIC:
        raise FormatError(f"{place} is no npy file: it does not begin with \\x93NUMPY")
    major = start[6] if len(start) == 8 else -1
    if major not in (1, 2, 3):
        raise UnsupportedError(f"{place} is an npy file of version {major}, known are 1, 2 and 3")
    size = 2 if major == 1 else 4
    raw_length = file.read(size)
    length = int.from_bytes(raw_length, "little")
    if length > _MAX_HEADER_NBYTES:
        raise FormatError(
            f"{place}: the header claims {length} bytes, at most {_MAX_HEADER_NBYTES} are read"
        )
    raw = file.read(length)
    if len(raw_length) < size or len(raw) < length:
        raise CorruptionError(f"{place} ends in its header; it was cut off")
    text = raw.decode("utf-8" if major == 3 else "latin-1", "replace")
    dtype, shape, is_fortran = _parsed(text, place)
    return NpyHeader(dtype, shape, is_fortran and len(shape) > 1, 8 + size + length)


def read_value(file: IO[bytes], header: NpyHeader, place: str, path: str) -> Any:
    """Return the single value behind the header of an array of shape ().

    Parameters
    ----------
    file
        Where `read_header` left it.
    header
        That one.
    place, path
        How errors call it, and the file it is in.

    Raises
    ------
    CorruptionError
        There are not just the bytes of one value.
    """
    raw = file.read(header.dtype.itemsize + 1)
    if len(raw) != header.dtype.itemsize:
        got = f"{len(raw)}" if len(raw) < header.dtype.itemsize else "more"
        raise CorruptionError(
            f"{place}: a single value of dtype {header.dtype} takes {header.dtype.itemsize} bytes, "
            f"got {got}",
            path,
        )
    return np.frombuffer(raw, header.dtype)[0]


def _parsed(text: str, place: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    try:
        value = ast.literal_eval(_LONG.sub(r"\1", text).strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise FormatError(f"{place}: the header cannot be read: {error}") from None
    if not isinstance(value, dict) or set(value) != _KEYS:
        raise FormatError(
            f"{place}: the header must have the keys {sorted(_KEYS)}, got {text!r:.200}"
        )
    shape, is_fortran = value["shape"], value["fortran_order"]
    if (
        not isinstance(shape, tuple)
        or not all(type(n) is int and n >= 0 for n in shape)
        or not isinstance(is_fortran, bool)
    ):
        raise FormatError(f"{place}: the header has no shape and order: {text!r:.200}")
    try:
        dtype = np.lib.format.descr_to_dtype(value["descr"])
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise FormatError(f"{place}: the dtype {value['descr']!r:.80} is none: {error}") from None
    if dtype.hasobject:
        raise UnsupportedError(
            f"{place} holds Python objects as a pickle, which may run code when it is read. If you "
            "made it, save it again as an array of numbers or text"
        )
    if not dtype.itemsize:
        raise UnsupportedError(f"{place}: elements of dtype {dtype.str!r} have no bytes")
    return dtype, shape, is_fortran
