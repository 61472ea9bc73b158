"""What becomes of the arrays of a source: samples, arrays that stand beside them, or attributes?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from chunkstore.importers.arrays.attributes import add_value
from chunkstore.importers.arrays.column import Column, MemoryColumn
from chunkstore.importers.arrays.samples import ArraySamples, whole

if TYPE_CHECKING:
    from collections.abc import Collection

Found = TypeVar("Found")
Arrays = Mapping[str, str] | Sequence[str] | None


def chosen_arrays(
    found: Mapping[str, Found], arrays: Arrays, place: str, *, what: str = "array"
) -> dict[str, Found]:
    """Return what is wanted of a source, by the names that it gets.

    Parameters
    ----------
    found
        All arrays of the source by their paths there.
    arrays
        Paths by new names, or paths alone; None for all. A slash at their ends says nothing.
    place, what
        How errors call the source, and what is in it.

    Raises
    ------
    KeyError
        There is no such array; says which there are.

    Examples
    --------
    >>> chosen_arrays({"a/b": 1, "c": 2}, {"x": "/a/b"}, "train.h5")
    {'x': 1}
    """
    if arrays is None:
        return dict(found)
    wanted = (
        dict(arrays) if isinstance(arrays, Mapping) else {path.strip("/"): path for path in arrays}
    )
    chosen: dict[str, Found] = {}
    for name, path in wanted.items():
        key = path if path in found else path.strip("/")
        if key not in found:
            raise KeyError(f"{place}: there is no {what} {path!r}, only {', '.join(found)}")
        chosen[name] = found[key]
    return chosen


def check_beside(beside: Sequence[str], names: Collection[str]) -> None:
    """Raise KeyError where ``beside=`` names an array that is not taken."""
    if unknown := [name for name in beside if name not in names]:
        raise KeyError(f"beside= names {unknown[0]!r}; there are {', '.join(names)}")


def found_samples(
    kind: str,
    name: str,
    found: Mapping[str, Column | Any],
    *,
    beside: Sequence[str],
    places: Mapping[str, str] | None = None,
    attributes: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    notes: list[str] | None = None,
    identity: str = "",
) -> ArraySamples:
    """Return the arrays that were taken of a source as samples.

    Parameters
    ----------
    kind, name, provenance, identity
        See `ArraySamples`.
    found
        By the names that they get: columns, and single values, which become attributes.
    beside
        Names of the columns that are no samples; they are read now.
    places
        How notes call single values, where it is not their name.
    attributes
        Of the source.
    notes
        What was found before; gets what is noted of single values.

    Raises
    ------
    KeyError
        ``beside`` names something else than a column.
    ValueError
        See `ArraySamples`; or what stands beside the samples is too large for memory.
    """
    notes = [] if notes is None else notes
    columns = {key: value for key, value in found.items() if isinstance(value, Column)}
    check_beside(beside, columns)
    known = dict(attributes or {})
    for key, value in found.items():
        if not isinstance(value, Column):
            add_value(known, key, value, (places or {}).get(key, f"{name}: {key!r}"), notes)
    return ArraySamples(
        kind,
        name,
        {key: column for key, column in columns.items() if key not in beside},
        unaligned={
            key: MemoryColumn(
                columns[key].place, whole(columns[key]), attributes=columns[key].attributes
            )
            for key in beside
        },
        attributes=known,
        provenance={
            **(provenance or {}),
            "beside": {key: columns[key].place for key in beside},
        },
        notes=notes,
        identity=" ".join([identity, *(columns[key].identity for key in beside)]),
    )
