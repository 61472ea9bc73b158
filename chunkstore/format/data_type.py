"""Which data types does zarr know, and how are their values written in JSON?

Source: zarr v3 core specification, "Data types" and "Fill value"; zarr v2, "Data type encoding".
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from chunkstore.errors import FormatError, UnsupportedError

CORE_NAMES = (
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
_V2_PATTERN = re.compile(r"([<>|])([biufc])(\d+)")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_SPECIAL_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def parse_data_type(value: Any) -> np.dtype[Any]:
    """Return the dtype of a v3 ``data_type``, native byte order.

    Raises
    ------
    UnsupportedError
        It is not one of the core types; names it.
    """
    name = value.get("name") if isinstance(value, dict) else value
    if name not in CORE_NAMES or (isinstance(value, dict) and value.get("configuration")):
        raise UnsupportedError(
            f"data type {_shown(value)} is not read; the core types are: {', '.join(CORE_NAMES)}"
        )
    return np.dtype(name)


def parse_v2_dtype(value: Any) -> np.dtype[Any]:
    """Return the dtype of a v2 ``dtype``, with its byte order.

    Raises
    ------
    UnsupportedError
        Objects, strings, times and structures of v2.
    FormatError
        No data type at all.
    """
    match = _V2_PATTERN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise UnsupportedError(
            f"v2 data type {_shown(value)} is not read; numbers and bool are, such as '<f4'"
        )
    try:
        dtype: np.dtype[Any] = np.dtype(str(value))
    except TypeError:
        raise FormatError(f"v2 data type {_shown(value)} does not exist") from None
    if dtype.newbyteorder("=").name not in CORE_NAMES:
        raise UnsupportedError(f"v2 data type {_shown(value)} is not read")
    return np.dtype(dtype)


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
        if type(value) is int:
            limits = np.iinfo(dtype)
            if limits.min <= value <= limits.max:
                return dtype.type(value)
            raise FormatError(
                f"fill value {_shown(value)} does not fit {dtype}: [{limits.min}, {limits.max}]"
            )
    elif dtype.kind == "f":
        number = _parse_float(value, dtype)
        if number is not None:
            return number
    elif isinstance(value, list) and len(value) == 2:
        part = np.dtype(f"f{dtype.itemsize // 2}")
        parts = [_parse_float(v, part) for v in value]
        if None not in parts:
            return np.array(parts, part).view(dtype)[0]
    raise FormatError(f"fill value {_shown(value)} is no value of data type {dtype}")


def _parse_float(value: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(value, str):
        if value in _SPECIAL_FLOATS:
            return dtype.type(_SPECIAL_FLOATS[value])
        if _HEX.fullmatch(value) and len(value) == 2 + 2 * dtype.itemsize:
            raw = bytes.fromhex(value[2:])
            return np.frombuffer(raw, dtype.newbyteorder(">"))[0].astype(dtype)
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        with np.errstate(over="ignore"):
            return dtype.type(value)
    except OverflowError:
        raise FormatError(f"fill value {_shown(value)} does not fit {dtype}") from None


def parse_v2_fill_value(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a v2 fill value; null, which leaves missing chunks undefined, is read as zero.

    Raises
    ------
    FormatError
        Another type, or out of range.
    """
    if value is None:
        return dtype.type(0)
    if dtype.kind == "b" and type(value) is int and value in (0, 1):
        return np.bool_(value)
    if dtype.kind in "iu" and isinstance(value, float) and value.is_integer():
        value = int(value)
    return parse_fill_value(value, dtype)


def fill_value_json(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a fill value as v3 JSON."""
    if dtype.kind == "b":
        return bool(value)
    if dtype.kind in "iu":
        return int(value)
    if dtype.kind == "f":
        return _float_json(value, dtype)
    part = np.dtype(f"f{dtype.itemsize // 2}")
    return [_float_json(part.type(value.real), part), _float_json(part.type(value.imag), part)]


def _float_json(value: Any, dtype: np.dtype[Any]) -> Any:
    if np.isnan(value):
        raw = np.array(value, dtype.newbyteorder(">")).tobytes()
        usual = np.array(math.nan, dtype.newbyteorder(">")).tobytes()
        return "NaN" if raw == usual else "0x" + raw.hex()
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."
