"""How is a stranger's pickle read without running anything?

A pickle names functions that it wants called. Only the few that plain values need are given out,
and those that could be asked for more than they are given are wrapped.
"""

from __future__ import annotations

import datetime
import decimal
import io
import pickle
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import CorruptionError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

# Python 2 wrote its str as bytes without a code: the first of these that fits is taken.
ENCODINGS: Final = ("ASCII", "utf-8", "latin-1")
_TEXT_CODES: Final = frozenset({"latin1", "latin-1", "ascii", "utf-8", "utf8"})


class _Callable:
    """A function that a pickle may call, and in which it can change nothing."""

    # Without a dict: a pickle could set attributes in it.
    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"the pickle sets an attribute {name!r}")


def _bytes(*arguments: Any) -> bytes:
    """Return bytes of values that are there: a number would ask for so many zeros."""
    if len(arguments) == 2:
        return _encode(*arguments)
    if not arguments or (len(arguments) == 1 and isinstance(arguments[0], bytes | list)):
        return bytes(*arguments)
    raise pickle.UnpicklingError("the pickle asks for bytes of something else than bytes")


def _bytearray(*arguments: Any) -> bytearray:
    return bytearray(_bytes(*arguments))


def _encode(text: Any, code: Any = "utf-8") -> bytes:
    """Return text in a code that only looks letters up: others decompress."""
    if not isinstance(text, str) or code not in _TEXT_CODES:
        raise pickle.UnpicklingError(f"the pickle encodes by {str(code)[:40]!r}")
    return text.encode(code)


_ALLOWED: Final[dict[tuple[str, str], Any]] = {
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (str, int, float, complex, list, dict, tuple, set, frozenset)
    },
    ("builtins", "bytes"): _Callable(_bytes),
    ("builtins", "bytearray"): _Callable(_bytearray),
    ("__builtin__", "bytes"): _Callable(_bytes),
    ("__builtin__", "bytearray"): _Callable(_bytearray),
    ("__builtin__", "unicode"): str,
    ("__builtin__", "long"): int,
    **{
        ("datetime", kind.__name__): kind
        for kind in (datetime.date, datetime.time, datetime.datetime, datetime.timedelta)
    },
    ("decimal", "Decimal"): decimal.Decimal,
    ("_codecs", "encode"): _Callable(_encode),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # Under protocols below 3 the names are Python 2's, and pickle translates them first.
        found = _ALLOWED.get((module, name))
        if found is None:
            raise UnsupportedError(
                f"the pickle asks for {module}.{name}, which is not given out: only text, bytes, "
                "numbers, lists, dicts, tuples, sets, dates and decimals are read"
            )
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise UnsupportedError("the pickle refers to something outside itself")


def load_pickle(raw: bytes | memoryview) -> Any:
    """Return the plain value in a pickle.

    Raises
    ------
    UnsupportedError
        It asks for something else than plain values. Nothing of it was run.
    CorruptionError
        It is damaged.
    """
    reason = ""
    for encoding in ENCODINGS:
        unpickler = _Unpickler(io.BytesIO(raw), encoding=encoding)
        try:
            return unpickler.load()
        except UnsupportedError:
            raise
        except UnicodeDecodeError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - what is given out is called with anything
            raise CorruptionError(
                f"the pickle is damaged: {type(error).__name__}: {error}"
            ) from None
    raise CorruptionError(f"the pickle is damaged: {reason}")
