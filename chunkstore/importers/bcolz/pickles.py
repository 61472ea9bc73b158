"""How is a stranger's pickle read without running anything?

A pickle names functions that it wants called. Only the few that plain values need are given out,
each wrapped: it takes what such a value is made of, and no more of it than the pickle holds.
"""

from __future__ import annotations

import datetime
import decimal
import io
import pickle
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import CorruptionError, UnsupportedError
from chunkstore.importers.bcolz.pickle_scan import check_pickle

if TYPE_CHECKING:
    from collections.abc import Callable

# Python 2 wrote its str as bytes without a code: the first of these that fits is taken.
ENCODINGS: Final = ("ASCII", "utf-8", "latin-1")
_TEXT_CODES: Final = frozenset({"latin1", "latin-1", "ascii", "utf-8", "utf8"})
# Longer numbers take long to convert: an int from decimal digits takes the square of their count.
_MAX_DIGITS: Final = 4300
_FREE_ITEMS: Final = 1 << 16
_SIZED: Final = (str, bytes, bytearray, tuple, list, dict, set, frozenset)


class _Allowance:
    """How much a pickle may still hand to functions: what it holds once, it hands over once."""

    def __init__(self, nbytes: int) -> None:
        self._left = _FREE_ITEMS + 4 * nbytes

    def take(self, arguments: tuple[Any, ...]) -> None:
        """Count the arguments of a call, and what is in them."""
        waiting: list[Any] = [arguments]
        while waiting:
            value = waiting.pop()
            is_sized = isinstance(value, _SIZED)
            self._left -= 1 + (len(value) if is_sized else 0)
            if self._left < 0:
                raise UnsupportedError(
                    "the pickle hands the same values to functions again and again, as no value "
                    "needs"
                )
            if isinstance(value, tuple | list):
                waiting += value


class _Callable:
    """A function that a pickle may call, and in which it can change nothing."""

    # Without a dict: a pickle could set attributes in it.
    __slots__ = ("_allowance", "_function")
    _function: Callable[..., Any]
    _allowance: _Allowance

    def __init__(self, function: Callable[..., Any], allowance: _Allowance) -> None:
        object.__setattr__(self, "_function", function)
        object.__setattr__(self, "_allowance", allowance)

    def __call__(self, *arguments: Any) -> Any:
        self._allowance.take(arguments)
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


def _number(kind: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that makes a number of numbers or of a few digits."""

    def make(*arguments: Any) -> Any:
        # A decimal of ten letters can be an integer of a milliard digits.
        for argument in arguments:
            is_short = isinstance(argument, str | bytes) and len(argument) <= _MAX_DIGITS
            if not is_short and type(argument) not in (int, float, bool):
                raise pickle.UnpicklingError(
                    f"the pickle makes a number of a {type(argument).__name__}, or of more than "
                    f"{_MAX_DIGITS} digits"
                )
        return kind(*arguments)

    return make


def _decimal(text: Any) -> decimal.Decimal:
    # Of text: converting an integer takes the square of its size.
    if not isinstance(text, str):
        raise pickle.UnpicklingError(f"the pickle makes a decimal of a {type(text).__name__}")
    return decimal.Decimal(text)


def _str(text: Any = "") -> str:
    # The text of anything else can be far longer than the thing, or take long to make.
    if not isinstance(text, str):
        raise pickle.UnpicklingError(f"the pickle makes text of a {type(text).__name__}")
    return text


# Lists, dicts and tuples are made by steps of their own, and never called.
_BUILTINS: Final[dict[str, Callable[..., Any]]] = {
    "str": _str,
    "unicode": _str,
    "bytes": _bytes,
    "bytearray": _bytearray,
    "int": _number(int),
    "long": _number(int),
    "float": _number(float),
    "complex": _number(complex),
    "set": set,
    "frozenset": frozenset,
}
_ALLOWED: Final[dict[tuple[str, str], Callable[..., Any]]] = {
    **{
        (module, name): function
        for module in ("builtins", "__builtin__")
        for name, function in _BUILTINS.items()
    },
    **{
        ("datetime", kind.__name__): kind
        for kind in (datetime.date, datetime.time, datetime.datetime, datetime.timedelta)
    },
    ("decimal", "Decimal"): _decimal,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, raw: bytes | memoryview, encoding: str) -> None:
        super().__init__(io.BytesIO(raw), encoding=encoding)
        self._allowance = _Allowance(len(raw))

    def find_class(self, module: str, name: str) -> Any:
        # Under protocols below 3 the names are Python 2's, and pickle translates them first.
        found = _ALLOWED.get((module, name))
        if found is None:
            raise UnsupportedError(
                f"the pickle asks for {module}.{name}, which is not given out: only text, bytes, "
                "numbers, lists, dicts, tuples, sets, dates and decimals are read"
            )
        return _Callable(found, self._allowance)

    def persistent_load(self, pid: Any) -> Any:
        raise UnsupportedError("the pickle refers to something outside itself")


def load_pickle(raw: bytes | memoryview) -> Any:
    """Return the plain value in a pickle.

    Raises
    ------
    UnsupportedError
        It asks for something else than plain values, or for more time or memory than a value of
        its size needs. Nothing of it was run.
    CorruptionError
        It is damaged.
    """
    check_pickle(raw)
    reason = ""
    for encoding in ENCODINGS:
        unpickler = _Unpickler(raw, encoding)
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
