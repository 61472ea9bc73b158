"""How does a plain Python value become JSON text that loses nothing?

What JSON has no word for is an object with one key that begins with ``$``: ``{"$bytes": base64}``,
``{"$float": "nan"}``, ``{"$date": ISO}``, ``{"$time": ISO}``, ``{"$datetime": ISO}``,
``{"$timedelta": [days, seconds, microseconds]}``, ``{"$decimal": text}``,
``{"$complex": [real, imag]}``, ``{"$tuple": list}``, ``{"$set": list}``, ``{"$frozenset": list}``,
``{"$bytearray": base64}``, ``{"$int": hexadecimal}`` for a number of very many digits,
``{"$text": base64}`` of UTF-8 for text with halves of surrogate pairs in it, and
``{"$dict": [[key, value], ...]}`` for one whose keys are not all such text as JSON has, or begin
with ``$``.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_DEPTH: Final = 100
# One list that a value holds a thousand times is written a thousand times.
MAX_TEXT_LENGTH: Final = 64 << 20
# Python converts at least so many digits, whatever limit was set; hexadecimal ones without limit.
_MAX_INT_BITS: Final = 2048
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class JsonTextError(ValueError):
    """A value is nested too deep, or takes too much text."""


def to_json_text(value: Any) -> bytes:
    """Return a value as UTF-8 JSON.

    Parameters
    ----------
    value
        None, bool, int, float, complex, text, bytes, dates and times, decimals, and lists, tuples,
        sets and dicts of such.

    Raises
    ------
    TypeError
        It is something else; says what.
    JsonTextError
        It is nested more than `MAX_DEPTH` deep, as one is that holds itself, or takes more than
        `MAX_TEXT_LENGTH` letters.

    Examples
    --------
    >>> to_json_text({"a": (1, b"x")}).decode()
    '{"a":{"$tuple":[1,{"$bytes":"eA=="}]}}'
    """
    writer = _Writer()
    writer.write(value, 0)
    return "".join(writer.parts).encode()


def from_json_text(text: bytes) -> Any:
    """Return the value that `to_json_text` was given.

    Examples
    --------
    >>> from_json_text(to_json_text([1, (2.5, {3: "drei"}), b"x"]))
    [1, (2.5, {3: 'drei'}), b'x']
    """
    return _decoded(json.loads(text))


class _Writer:
    """Puts text together, and stops when it becomes too much."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._length = 0

    def write(self, value: Any, depth: int) -> None:
        scalar = _scalar_text(value)
        if scalar is not None:
            self._add(scalar)
            return
        if depth == MAX_DEPTH:
            raise JsonTextError(f"the value is nested more than {MAX_DEPTH} deep, or holds itself")
        kind = type(value)
        if kind is list:
            self._add_list(value, depth)
        elif kind is dict and all(type(key) is str and _is_plain_key(key) for key in value):
            self._add("{")
            for i, (key, item) in enumerate(value.items()):
                self._add(("," if i else "") + _quoted(key) + ":")
                self.write(item, depth + 1)
            self._add("}")
        elif kind is dict:
            self._add_named("$dict", ([key, item] for key, item in value.items()), depth)
        elif kind is tuple:
            self._add_named("$tuple", value, depth)
        elif kind in (set, frozenset):
            self._add(f'{{"${kind.__name__}":[' + ",".join(self._sorted(value, depth)) + "]}")
        else:
            raise TypeError(
                f"a {kind.__module__}.{kind.__qualname__} is no plain value: None, numbers, text, "
                "bytes, dates, and lists, tuples, sets and dicts of these are"
            )

    def _add(self, text: str) -> None:
        self._length += len(text)
        if self._length > MAX_TEXT_LENGTH:
            raise JsonTextError(
                f"the value takes more than {MAX_TEXT_LENGTH} letters of JSON text; what it holds "
                "several times is written several times"
            )
        self.parts.append(text)

    def _add_list(self, items: Iterable[Any], depth: int) -> None:
        self._add("[")
        for i, item in enumerate(items):
            if i:
                self._add(",")
            self.write(item, depth + 1)
        self._add("]")

    def _add_named(self, name: str, items: Iterable[Any], depth: int) -> None:
        self._add(f'{{"{name}":')
        self._add_list(items, depth)
        self._add("}")

    def _sorted(self, items: Iterable[Any], depth: int) -> list[str]:
        """Return the texts of a set's items: it has no order of its own, equal sets give equal."""
        parts, length, texts = self.parts, self._length, []
        for item in items:
            self.parts = []
            self.write(item, depth + 1)
            texts.append("".join(self.parts))
        # They are counted when they are put into the text.
        self.parts, self._length = parts, length
        return sorted(texts)


_quoted = json.JSONEncoder(ensure_ascii=False).encode


def _is_plain_key(key: str) -> bool:
    return not key.startswith("$") and _SURROGATE.search(key) is None


def _scalar_text(value: Any) -> str | None:
    """Return the text of a value that holds no others; None if it does, or is nothing known."""
    kind = type(value)
    if kind is str:
        if _SURROGATE.search(value) is None:
            return _quoted(value)
        return _named("$text", _base64(value.encode("utf-8", "surrogatepass")))
    if kind is int:
        if value.bit_length() <= _MAX_INT_BITS:
            return repr(value)
        return _named("$int", hex(value))
    if kind is float:
        return repr(value) if math.isfinite(value) else _named("$float", repr(value))
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    for name, (known, encode, _) in _KINDS.items():
        if kind is known:
            return _named(name, encode(value))
    return None


def _named(name: str, content: Any) -> str:
    return f'{{"{name}":{json.dumps(content, ensure_ascii=False, separators=(",", ":"))}}}'


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((name, content),) = value.items()
        if name == "$dict":
            return {_decoded(key): _decoded(item) for key, item in content}
        if name in _CONTAINERS:
            return _CONTAINERS[name](_decoded(content))
        if name in _WORDS:
            return _WORDS[name](content)
        if name in _KINDS:
            return _KINDS[name][2](content)
    return {key: _decoded(item) for key, item in value.items()}


def _base64(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode()


def _number(value: float) -> Any:
    return value if math.isfinite(value) else {"$float": repr(value)}


_CONTAINERS: Final[dict[str, Callable[[Any], Any]]] = {
    "$tuple": tuple,
    "$set": set,
    "$frozenset": frozenset,
}
_WORDS: Final[dict[str, Callable[[Any], Any]]] = {
    "$float": float,
    "$int": lambda digits: int(digits, 16),
    "$text": lambda text: base64.b64decode(text).decode("utf-8", "surrogatepass"),
}
_KINDS: Final[dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]]] = {
    "$bytes": (bytes, _base64, base64.b64decode),
    "$bytearray": (bytearray, _base64, lambda text: bytearray(base64.b64decode(text))),
    "$complex": (
        complex,
        lambda value: [_number(value.real), _number(value.imag)],
        lambda parts: complex(*_decoded(parts)),
    ),
    "$datetime": (
        datetime.datetime,
        lambda value: value.isoformat(),
        datetime.datetime.fromisoformat,
    ),
    "$date": (datetime.date, lambda value: value.isoformat(), datetime.date.fromisoformat),
    "$time": (datetime.time, lambda value: value.isoformat(), datetime.time.fromisoformat),
    "$timedelta": (
        datetime.timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: datetime.timedelta(*parts),
    ),
    "$decimal": (Decimal, str, Decimal),
}
