"""What of a foreign array's attributes can JSON hold?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.importers.bcolz.storable import storable
from chunkstore.importing.position import PROVENANCE

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_ELEMENTS: Final = 1 << 14


def json_attributes(
    attributes: Mapping[str, Any], whose: str, notes: list[str], *, of_file: bool = False
) -> dict[str, Any]:
    """Return attributes as JSON values; what cannot be one is left out and noted.

    Parameters
    ----------
    attributes
        NumPy scalars and arrays, text, bytes, and what JSON has.
    whose
        What they describe, for the notes.
    notes
        Gets a sentence for each value that is changed or left out.
    of_file
        Whether the new file shall have them, and not an array of it.

    Examples
    --------
    >>> json_attributes({"lshape": np.array([1, 28, 28]), "by": b"neon"}, "x", [])
    {'lshape': [1, 28, 28], 'by': 'neon'}
    """
    plain: dict[str, Any] = {}
    for name, value in attributes.items():
        try:
            plain[str(name)] = _plain(value, f"{whose}: attribute {name!r}", notes)
        except ValueError as error:
            notes.append(f"{whose}: attribute {name!r} is left out: {error}")
    reserved = (PROVENANCE,) if of_file else ()
    return storable(plain, whose, notes, reserved=reserved, prefix="source ")


def add_value(
    attributes: dict[str, Any], name: str, value: Any, place: str, notes: list[str]
) -> None:
    """Add an array of a single value to a file's attributes; one that it replaces is noted.

    Parameters
    ----------
    attributes
        Of the file; changed.
    name, value
        Of the array.
    place
        How notes call it.
    notes
        See `json_attributes`.
    """
    added = json_attributes({name: value}, place, notes, of_file=True)
    notes.extend(
        f"{place} takes the place of the file's attribute {key!r}, which was {attributes[key]!r}"
        for key in added
        if key in attributes and attributes[key] != added[key]
    )
    attributes |= added


def _plain(value: Any, what: str, notes: list[str]) -> Any:
    if isinstance(value, np.ndarray):
        if value.size > _MAX_ELEMENTS:
            raise ValueError(f"it has {value.size} elements, at most {_MAX_ELEMENTS} are kept")
        return _plain(value.tolist(), what, notes)
    if isinstance(value, np.generic):
        return _plain(value.item(), what, notes)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            notes.append(f"{what} is changed: it is no UTF-8, and each byte a letter of Latin-1")
            return value.decode("latin-1")
    if isinstance(value, list | tuple):
        return [_plain(item, what, notes) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item, what, notes) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"a {type(value).__name__} is no JSON value")
