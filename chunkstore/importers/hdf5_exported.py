"""What did an export of ours say in an HDF5 file about values that HDF5 has no type for?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import FormatError
from chunkstore.format.stored_dtype import restored_dtype
from chunkstore.importers.arrays.column import MappedColumn
from chunkstore.importers.hdf5_damage import reading_metadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.importers.arrays.column import Column

# The names that `chunkstore.exporting.hdf5` gives them.
NUMPY_DTYPE: Final = "numpy_dtype"
JSON_ATTRIBUTES: Final = "chunkstore_json"


def told_dtype(dataset: Any) -> np.dtype[Any] | None:
    """Return the type that an export of ours stored as numbers or text of any length, or None."""
    name = dataset.attrs.get(NUMPY_DTYPE)
    if not isinstance(name, str):
        return None
    try:
        dtype = restored_dtype(name)
    except FormatError:
        # Somebody else's attribute of this name.
        return None
    is_times = dtype.kind in "mM" and dataset.dtype == np.int64
    return dtype if is_times or (dtype.kind == "U" and dataset.dtype.kind == "O") else None


def as_times(column: Column, dtype: np.dtype[Any]) -> Column:
    """Return a column of 64-bit integers as times."""

    def viewed(values: NDArray[Any], _: int) -> NDArray[Any]:
        return values.view(dtype)

    return MappedColumn(column, viewed, sample_shape=column.shape[1:], dtype=dtype)


def attributes_of(node: Any, place: str, notes: list[str]) -> dict[str, Any]:
    """Return the attributes of a group or dataset; those that an export of ours wrote as JSON read.

    Parameters
    ----------
    node
        Of h5py.
    place
        How notes call it.
    notes
        Gets what is no JSON, though it is said to be, and what is of a type that NumPy has not.

    Raises
    ------
    CorruptionError
        HDF5 cannot read them.
    """
    attributes: dict[str, Any] = {}
    with reading_metadata(f"{place}: attributes", keys=True):
        for name in node.attrs:
            try:
                attributes[name] = node.attrs[name]
            except (TypeError, ValueError) as error:
                notes.append(f"{place}: attribute {name!r} is left out: {error}")
    listed = np.asarray(attributes.pop(JSON_ATTRIBUTES, []), object).reshape(-1)
    for name in listed.tolist():
        text = attributes.get(name)
        if not isinstance(text, str):
            continue
        try:
            attributes[name] = json.loads(text)
        except (ValueError, RecursionError) as error:
            notes.append(f"{place}: attribute {name!r} is kept as text: it is no JSON: {error}")
    return attributes
