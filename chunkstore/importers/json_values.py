"""How does a plain Python value become JSON text that loses nothing?

What JSON has no word for is an object with one key that begins with ``$``: ``{"$bytes": base64}``,
``{"$float": "nan"}``, ``{"$date": ISO}``, ``{"$time": ISO}``, ``{"$datetime": ISO}``,
``{"$timedelta": [days, seconds, microseconds]}``, ``{"$decimal": text}``,
``{"$complex": [real, imag]}``, ``{"$tuple": list}``, ``{"$set": list}``, ``{"$frozenset": list}``,
``{"$bytearray": base64}``, and ``{"$dict": [[key, value], ...]}`` for one whose keys are not all
text or begin with ``$``.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
from decimal import Decimal
from typing import Any


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

    Examples
    --------
    >>> to_json_text({"a": (1, b"x")}).decode()
    '{"a":{"$tuple":[1,{"$bytes":"eA=="}]}}'
    """
    return json.dumps(
        _encoded(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode()


def from_json_text(text: bytes) -> Any:
    """Return the value that `to_json_text` was given.

    Examples
    --------
    >>> from_json_text(to_json_text([1, (2.5, {3: "drei"}), b"x"]))
    [1, (2.5, {3: 'drei'}), b'x']
    """
    return _decoded(json.loads(text))


def _encoded(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind is list:
        return [_encoded(item) for item in value]
    if kind is dict:
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {key: _encoded(item) for key, item in value.items()}
        return {"$dict": [[_encoded(key), _encoded(item)] for key, item in value.items()]}
    for name, (known, encode, _) in _KINDS.items():
        if kind is known:
            return {name: encode(value)}
    raise TypeError(
        f"a {kind.__module__}.{kind.__qualname__} is no plain value: None, numbers, text, bytes, "
        "dates, and lists, tuples, sets and dicts of these are"
    )


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((name, content),) = value.items()
        if name == "$float":
            return float(content)
        if name == "$dict":
            return {_decoded(key): _decoded(item) for key, item in content}
        if name in _KINDS:
            return _KINDS[name][2](content)
    return {key: _decoded(item) for key, item in value.items()}


def _base64(value: Any) -> str:
    return base64.b64encode(value).decode()


def _items(value: Any) -> list[Any]:
    return [_encoded(item) for item in value]


def _sorted_items(value: Any) -> list[Any]:
    # A set has no order of its own: equal sets give equal text.
    return sorted(_items(value), key=lambda item: json.dumps(item, sort_keys=True))


_KINDS: dict[str, tuple[type, Any, Any]] = {
    "$bytes": (bytes, _base64, base64.b64decode),
    "$bytearray": (bytearray, _base64, lambda text: bytearray(base64.b64decode(text))),
    "$tuple": (tuple, _items, lambda items: tuple(_decoded(items))),
    "$set": (set, _sorted_items, lambda items: set(_decoded(items))),
    "$frozenset": (frozenset, _sorted_items, lambda items: frozenset(_decoded(items))),
    "$complex": (
        complex,
        lambda value: _items([value.real, value.imag]),
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
