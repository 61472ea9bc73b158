"""Which NumPy type does the text in ``meta/storage`` name?

bcolz wrote ``str(dtype)``. Nothing is evaluated: the text is a plain name, or a Python literal
whose parts are checked one by one before NumPy, whose own notation allows much more, sees them.
"""

from __future__ import annotations

import ast
import re
from typing import Any, Final

import numpy as np

from chunkstore.errors import FormatError
from chunkstore.format.data_type import CORE_NAMES
from chunkstore.format.json_document import shown

_NAMES: Final = frozenset({*CORE_NAMES, "object"})
_CODE: Final = re.compile(
    r"[<>=|]?(\?|b1|[iu][1248]|f[248]|c8|c16|O8?|[SaUV][1-9][0-9]{0,8}"
    r"|[mM]8(\[([1-9][0-9]{0,8})?(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)"
)
_TIME_NAME: Final = re.compile(r"(datetime|timedelta)64(\[.{1,20}\])?")
_MAX_TEXT: Final = 1 << 20
_MAX_DEPTH: Final = 8
_MAX_FIELDS: Final = 10_000
_MAX_ITEM_NBYTES: Final = (1 << 31) - 1
_STRUCTURE_KEYS: Final = frozenset({"names", "formats", "offsets", "itemsize"})


def parse_dtype(text: Any) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the type as it is on disk, with its byte order, and axes that the text adds.

    Parameters
    ----------
    text
        Such as ``"float32"``, ``"|S10"``, ``">f4"``, ``"[('a', '<i4'), ('b', '<f8')]"``.

    Raises
    ------
    FormatError
        It is none of those.

    Examples
    --------
    >>> parse_dtype("('<f4', (3, 224, 224))")
    (dtype('float32'), (3, 224, 224))
    """
    if not isinstance(text, str) or len(text) > _MAX_TEXT:
        raise FormatError(f"dtype must be the text of a NumPy type, got {shown(text)}")
    try:
        if text.lstrip()[:1] in ("[", "(", "{"):
            value = ast.literal_eval(text.strip())
            if isinstance(value, tuple):
                base, shape = value
                dtype, axes = _restore(base, 0), _lengths(shape)
            else:
                dtype, axes = _restore(value, 0), ()
        else:
            dtype, axes = _plain(text), ()
    except (
        ValueError,
        TypeError,
        SyntaxError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as error:
        raise FormatError(f"dtype {shown(text)} is no NumPy type: {error}") from None
    if not 0 < dtype.itemsize <= _MAX_ITEM_NBYTES:
        raise FormatError(f"dtype {shown(text)} takes {dtype.itemsize} bytes")
    return dtype, axes


def _plain(text: str) -> np.dtype[Any]:
    match = _TIME_NAME.fullmatch(text)
    if match:
        text = ("M8" if match[1] == "datetime" else "m8") + (match[2] or "")
    if text not in _NAMES and not _CODE.fullmatch(text):
        raise ValueError("this name is none of those that bcolz wrote")
    return np.dtype("O" if text.lstrip("<>=|") in ("object", "O8") else text)


def _restore(value: Any, depth: int) -> np.dtype[Any]:
    """Return the type that a literal describes."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {_MAX_DEPTH}")
    if isinstance(value, str):
        dtype = _plain(value)
        if dtype.hasobject and depth:
            raise ValueError("a field of Python objects cannot be read")
        return dtype
    if isinstance(value, list) and 0 < len(value) <= _MAX_FIELDS:
        fields = [_field(item, depth) for item in value]
        return np.dtype(fields)
    if isinstance(value, dict) and set(value) - {"aligned"} == _STRUCTURE_KEYS:
        names, formats = value["names"], value["formats"]
        if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise TypeError(f"names {shown(names)} is no list of strings")
        if not (isinstance(formats, list) and 0 < len(formats) <= _MAX_FIELDS):
            raise TypeError(f"formats {shown(formats)} is no list")
        return np.dtype(
            {
                "names": names,
                "formats": [_restore(part, depth + 1) for part in formats],
                "offsets": list(_lengths(value["offsets"])),
                "itemsize": _lengths([value["itemsize"]])[0],
            }
        )
    raise ValueError(f"{shown(value)} describes no type")


def _field(item: Any, depth: int) -> tuple[Any, ...]:
    if not isinstance(item, tuple) or len(item) not in (2, 3):
        raise TypeError(f"field {shown(item)} must have a name, a type and perhaps a shape")
    name = item[0]
    # A field with a title is written as a pair of texts.
    if isinstance(name, tuple) and len(name) == 2:
        name = name[1]
    if not isinstance(name, str):
        raise TypeError(f"field {shown(item)} has no name")
    inner = _restore(item[1], depth + 1)
    return (name, inner) if len(item) == 2 else (name, inner, _lengths(item[2]))


def _lengths(value: Any) -> tuple[int, ...]:
    if type(value) is int:
        value = (value,)
    if not isinstance(value, tuple | list) or any(
        type(n) is not int or not 0 <= n < 1 << 31 for n in value
    ):
        raise ValueError(f"{shown(value)} is no row of lengths")
    return tuple(value)
