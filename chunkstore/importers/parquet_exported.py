"""What did an export of ours say in a parquet or arrow file that arrow has no type for?

Under the key ``chunkstore`` stand JSON documents: the user's attributes in the metadata of the
schema, and in that of a field the attributes and the NumPy type of its array.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from chunkstore.errors import CorruptionError, FormatError
from chunkstore.format.stored_dtype import restored_dtype
from chunkstore.importers.arrays.column import MappedColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chunkstore.importers.arrays.column import Column
    from chunkstore.importers.parquet_file import RowGroups

# The key that `chunkstore.exporting.arrow` writes.
_KEY: Final = b"chunkstore"


class Told(NamedTuple):
    """What is said of a column.

    Attributes
    ----------
    attributes
        Of the array.
    times
        The type that its times had; None where nothing is said.
    num_characters
        That its texts had room for, at least 1.
    """

    attributes: dict[str, Any]
    times: np.dtype[Any] | None
    num_characters: int


def told_of(field: Any) -> Told:
    """Return what the metadata of a field of a schema say; nothing where they are not ours."""
    document = _document(field.metadata)
    attributes = document.get("attributes")
    try:
        dtype = restored_dtype(document.get("dtype"))
    except FormatError:
        dtype = np.dtype(np.uint8)
    return Told(
        attributes if isinstance(attributes, dict) else {},
        dtype if dtype.kind in "mM" else None,
        dtype.itemsize // 4 if dtype.kind == "U" else 1,
    )


def file_attributes(files: Sequence[RowGroups]) -> dict[str, Any]:
    """Return the attributes that all files have alike."""
    first, *others = (_document(file.schema.metadata) for file in files)
    return {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in others)
    }


def as_times(column: Column, dtype: np.dtype[Any]) -> Column:
    """Return a column of times in the unit that they had before they were exported."""
    if column.dtype.kind != dtype.kind or column.dtype == dtype:
        return column

    def converted(values: NDArray[Any], start: int) -> NDArray[Any]:
        times = values.astype(dtype)
        is_other = (times.astype(values.dtype) != values) & ~np.isnat(values)
        if is_other.any():
            sample = start + int(np.argwhere(is_other)[0][0])
            raise CorruptionError(
                f"{column.place}: row {sample} is no whole number of the unit of {dtype}, which "
                "the column's metadata say it has"
            )
        return times

    return MappedColumn(column, converted, sample_shape=column.shape[1:], dtype=dtype)


def _document(metadata: Any) -> dict[str, Any]:
    """Return the JSON document under our key; an empty one where there is none."""
    try:
        document = json.loads((metadata or {}).get(_KEY, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
