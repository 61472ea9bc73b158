"""What of attributes that bcolz kept can a file hold, and what has to change for it?

bcolz wrote them with a JSON that allows NaN and lone surrogates, which JSON proper and UTF-8 do
not. One value that cannot be kept as it is takes no other one with it.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from chunkstore.store.node import OWN_ATTRIBUTES
from chunkstore.store.spec import MAX_ATTRIBUTES_NBYTES

_MAX_DEPTH: Final = 100
_RESERVED_PREFIX: Final = "bcolz "


def storable(
    attributes: dict[str, Any],
    whose: str,
    notes: list[str],
    *,
    reserved: tuple[str, ...] = (),
    prefix: str = _RESERVED_PREFIX,
) -> dict[str, Any]:
    """Return attributes in a form that a file can hold.

    Parameters
    ----------
    attributes
        As they were parsed from JSON.
    whose
        What they describe, for the notes.
    notes
        Gets a sentence for each value that is changed or left out.
    reserved
        Names that the file uses itself, besides its format's.
    prefix
        Stands before an attribute that has such a name.

    Examples
    --------
    >>> notes = []
    >>> storable({"a": float("nan"), "b": [1], "chunkstore": 2}, "array 'x'", notes)
    {'a': 'nan', 'b': [1], 'bcolz chunkstore': 2}
    >>> notes[0]
    "array 'x': attribute 'a' is changed: NaN and infinities are no JSON and kept as text"
    """
    kept: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    for key, value in attributes.items():
        changes: list[str] = []
        name = _text(key, changes)
        if name in (OWN_ATTRIBUTES, *reserved):
            name = prefix + name
            changes.append(f"the name belongs to the file; it is called {name!r} there")
        try:
            stored = _value(value, changes, depth=0)
            sizes[name] = len(json.dumps({name: stored}, allow_nan=False))
        except ValueError as error:
            notes.append(f"{whose}: attribute {key!r} is left out: {error}")
            continue
        kept[name] = stored
        notes += (
            f"{whose}: attribute {key!r} is changed: {change}" for change in dict.fromkeys(changes)
        )
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        if sum(sizes[other] for other in kept) <= MAX_ATTRIBUTES_NBYTES:
            break
        notes.append(
            f"{whose}: attribute {name!r} is left out: it takes {sizes[name]} bytes as JSON, all "
            f"together may take {MAX_ATTRIBUTES_NBYTES}"
        )
        del kept[name]
    return kept


def _value(value: Any, changes: list[str], *, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, str):
        return _text(value, changes)
    if isinstance(value, float) and not math.isfinite(value):
        changes.append("NaN and infinities are no JSON and kept as text")
        return repr(value)
    if isinstance(value, list):
        return [_value(item, changes, depth=depth + 1) for item in value]
    if isinstance(value, dict):
        return {
            _text(key, changes): _value(item, changes, depth=depth + 1)
            for key, item in value.items()
        }
    return value


def _text(text: str, changes: list[str]) -> str:
    """Return text that UTF-8 can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        changes.append("half a surrogate pair is no character and kept as \\u escape")
        return text.encode("utf-8", "backslashreplace").decode()
    return text
