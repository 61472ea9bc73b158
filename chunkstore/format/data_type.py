"""Which data types does zarr know, and how are their values written in JSON?

Source: zarr v3 core specification, "Data types" and "Fill value"; zarr v2, "Data type encoding".
"""

from __future__ import annotations

import math
import re
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import FormatError, UnsupportedError
from chunkstore.format.json_document import parse_extension, shown

if TYPE_CHECKING:
    from chunkstore.format.chain import Endian

CORE_NAMES: Final = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)
_V2_CORE = re.compile(r"([<>|])(b1|[iu][1248]|f[248]|c8|c16)")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_SPECIAL_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def parse_data_type(value: Any) -> np.dtype[Any]:
    """Return the dtype of a v3 ``data_type``, native byte order.

    Raises
    ------
    UnsupportedError
        It is not one of the core types; names it.
    FormatError
        No name at all.
    """
    name, configuration = parse_extension("data_type", value)
    if name not in CORE_NAMES or configuration:
        raise UnsupportedError(
            f"data type {shown(value)} is not read; those that are: {', '.join(CORE_NAMES)}"
        )
    return np.dtype(name)


def parse_v2_dtype(value: Any) -> tuple[np.dtype[Any], Endian | None]:
    """Return the dtype of a v2 ``dtype``, native byte order, and the stored byte order.

    Raises
    ------
    UnsupportedError
        Objects, strings, times and structures of v2.
    FormatError
        No data type at all, or none that has this byte order.
    """
    if not isinstance(value, str | list):
        raise FormatError(f"dtype must be a string or a list, got {shown(value)}")
    match = _V2_CORE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise UnsupportedError(
            f"data type {shown(value)} of zarr v2 is not read; numbers and bool are, such as "
            "'<f4' or '|u1'"
        )
    order, code = match.groups()
    dtype = np.dtype(code)
    if dtype.itemsize == 1:
        return dtype, None
    if order == "|":
        raise FormatError(f"dtype {value!r} must say its byte order, '<' or '>'")
    return dtype, "little" if order == "<" else "big"


def parse_fill_value(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a v3 fill value as a scalar of ``dtype``.

    Raises
    ------
    FormatError
        Another type, or out of range.
    """
    if dtype.kind == "b":
        if isinstance(value, bool):
            return np.bool_(value)
    elif dtype.kind in "iu":
        # bool is an int to Python, but not to JSON.
        if type(value) is int:
            limits = np.iinfo(dtype)
            if limits.min <= value <= limits.max:
                return dtype.type(value)
            raise FormatError(
                f"fill_value {shown(value)} does not fit {dtype}: {limits.min} to {limits.max}"
            )
    elif dtype.kind == "f":
        number = _parse_float(value, dtype)
        if number is not None:
            return number
    elif isinstance(value, list) and len(value) == 2:
        part = np.dtype(f"f{dtype.itemsize // 2}")
        parts = [_parse_float(item, part) for item in value]
        if parts[0] is not None and parts[1] is not None:
            # As bytes: arithmetic would change the payload of a NaN.
            return np.array(parts, part).view(dtype)[0]
    raise FormatError(f"fill_value {shown(value)} is no value of data type {dtype}")


def _parse_float(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a scalar of a floating point type, None if the value is of another type."""
    if isinstance(value, str):
        if value in _SPECIAL_FLOATS:
            return dtype.type(_SPECIAL_FLOATS[value])
        if _HEX.fullmatch(value) and len(value) == 2 + 2 * dtype.itemsize:
            bits = np.frombuffer(bytes.fromhex(value[2:]), f">u{dtype.itemsize}")
            return bits.astype(f"u{dtype.itemsize}").view(dtype)[0]
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        with np.errstate(over="ignore"):
            number = dtype.type(value)
    except OverflowError:
        number = dtype.type(math.inf)
    if not np.isfinite(number):
        # A number too large, or Python's NaN and Infinity, which are no JSON.
        raise FormatError(
            f"fill_value {shown(value)} does not fit {dtype}; others than finite numbers are "
            'written "NaN", "Infinity", "-Infinity" or "0x..."'
        )
    return number


def parse_v2_fill_value(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a v2 fill value; null, which leaves missing chunks undefined, is read as zero.

    Raises
    ------
    FormatError
        Another type, or out of range.
    """
    if value is None:
        return dtype.type(0)
    # v2 is looser than v3: numpy's own scalars of these types were written.
    if dtype.kind == "b" and type(value) is int and value in (0, 1):
        return np.bool_(value)
    if dtype.kind in "iu" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if dtype.kind == "c" and type(value) in (int, float):
        value = [value, 0]
    return parse_fill_value(value, dtype)


def fill_value_json(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a fill value as v3 JSON.

    Parameters
    ----------
    value
        Scalar of ``dtype``.
    dtype
        A core type.
    """
    scalar = np.array(value, dtype).reshape(1)
    if dtype.kind == "b":
        return bool(scalar[0])
    if dtype.kind in "iu":
        return int(scalar[0])
    if dtype.kind == "f":
        return _float_json(scalar)
    parts = scalar.view(f"f{dtype.itemsize // 2}")
    return [_float_json(parts[:1]), _float_json(parts[1:])]


def _float_json(number: np.ndarray[Any, Any]) -> Any:
    """Return the JSON of the only element of an array."""
    value = float(number[0])
    if math.isnan(value):
        usual = np.array([math.nan], number.dtype)
        if number.tobytes() == usual.tobytes():
            return "NaN"
        raw = number.tobytes()
        return "0x" + (raw[::-1] if sys.byteorder == "little" else raw).hex()
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
