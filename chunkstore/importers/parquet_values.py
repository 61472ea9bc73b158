"""What arrays are the values of a column of arrow?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from chunkstore.errors import FormatError, UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.importers.parquet_file import RowGroups

# NaT, as NumPy has it in memory.
_NO_TIME: Final = np.iinfo(np.int64).min


def layout_of(file: RowGroups, name: str, place: str) -> tuple[Any, tuple[int, ...]]:
    """Return arrow's type of an element, and the shape of a value.

    Lists of no fixed size have the first one's.

    Raises
    ------
    FormatError
        The first list is missing or empty: it says nothing of the others.
    UnsupportedError
        A tensor whose order of axes is not clear.
    """
    kind = file.schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if isinstance(kind, pa.FixedShapeTensorType):
        return kind.value_type, _tensor_shape(kind, place)
    shape: tuple[int, ...] = ()
    value: Any = None
    while _is_list(kind):
        if _is_fixed_list(kind):
            shape = (*shape, kind.list_size)
        else:
            if value is None and file.num_rows:
                _, rows = next(iter(file.iter_rows(name, 0, 1)))
                value = rows[0].as_py()
            inner = value
            for _ in shape:
                inner = inner[0] if inner else []
            if file.num_rows and not inner:
                raise FormatError(
                    f"{place}: the list of row 0 is {'missing' if inner is None else 'empty'}, and "
                    "the values of a column have the shape of its first one; leave the column out"
                )
            shape = (*shape, len(inner or []))
        kind = kind.value_type
    return kind, shape


def is_text(kind: Any) -> bool:
    """Return whether elements of a type are text."""
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in tests)


def _tensor_shape(kind: Any, place: str) -> tuple[int, ...]:
    """Return the shape of a tensor, whose axes lie in memory in an order that the type says.

    Raises
    ------
    UnsupportedError
        What the order means depends on who wrote it: arrow's specification has the inverse of what
        `pyarrow.FixedShapeTensorArray.from_numpy_ndarray` writes.
    """
    axes = _axes(kind)
    if any(axes[axis] != i for i, axis in enumerate(axes)):
        raise UnsupportedError(
            f"{place} holds tensors of shape {tuple(kind.shape)} with the permutation {axes}, "
            "which arrow's writers and readers take for two different orders of axes; write the "
            "column without a permutation, from arrays in C order"
        )
    return tuple(kind.shape[axis] for axis in axes)


def _axes(kind: Any) -> list[int]:
    return list(kind.permutation or range(len(kind.shape)))


def _is_list(kind: Any) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or _is_fixed_list(kind)


def _is_fixed_list(kind: Any) -> bool:
    return bool(pa.types.is_fixed_size_list(kind))


def dtype_of(kind: Any, place: str) -> np.dtype[Any]:
    """Return NumPy's type of elements.

    Raises
    ------
    UnsupportedError
        There is none.
    """
    types = pa.types
    if types.is_fixed_size_binary(kind) and not types.is_decimal(kind):
        return np.dtype(f"S{kind.byte_width}")
    if types.is_date32(kind):
        return np.dtype("M8[D]")
    is_plain = (
        types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_timestamp(kind)
        or types.is_duration(kind)
    )
    if not is_plain:
        raise UnsupportedError(
            f"{place} is {kind}, of which there is no array; choose other columns with arrays="
        )
    if types.is_timestamp(kind):
        # NumPy's times have no zone: they are in UTC, as arrow's with a zone are.
        return np.dtype(f"M8[{kind.unit}]")
    if types.is_duration(kind):
        return np.dtype(f"m8[{kind.unit}]")
    dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    return dtype


def values_of(
    rows: Any, place: str, first: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return the values of some rows, shape ``(len(rows), *shape)``."""
    array = _one_array(rows)
    # A time that is missing is none, for which NumPy has a value; a list of times is no time.
    may_miss = dtype.kind in "mM"
    if array.null_count and (shape or not may_miss):
        row = first + int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
        raise UnsupportedError(
            f"{place}: the value of row {row} is missing; fill it first, or leave the column out"
        )
    num_rows = len(array)
    if isinstance(array.type, pa.FixedShapeTensorType):
        return _tensors(array, place, first)
    array = _all_flattened(array, place, first, shape, may_miss=may_miss)
    if may_miss:
        if pa.types.is_date32(array.type):
            array = array.cast(pa.int32())
        counts = array.cast(pa.int64()).fill_null(_NO_TIME).to_numpy()
        times: NDArray[Any] = counts.view(dtype)
        return times.reshape(num_rows, *shape)
    values = array.to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype).reshape(num_rows, *shape)


def texts_of(rows: Any, place: str, first: int, shape: tuple[int, ...]) -> list[Any]:
    """Return the texts of some rows, one behind the other; None for one that is missing.

    Raises
    ------
    FormatError, UnsupportedError
        Lists of different lengths, or one that is missing.
    """
    try:
        array = _all_flattened(_one_array(rows), place, first, shape, may_miss=True)
    except ValueError as error:
        raise FormatError(str(error)) from None
    texts: list[Any] = array.to_pylist()
    return texts


def _one_array(rows: Any) -> Any:
    """Return rows as one array of values, and not of places in a dictionary."""
    array = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _tensors(array: Any, place: str, first: int) -> NDArray[Any]:
    kind = array.type
    elements = array.storage.flatten()
    if elements.null_count:
        bad = int(np.argmax(elements.is_null().to_numpy(zero_copy_only=False)))
        row = first + bad // (len(elements) // len(array))
        raise UnsupportedError(f"{place}: a value in the tensor of row {row} is missing")
    values: NDArray[Any] = elements.to_numpy(zero_copy_only=False)
    stored = values.reshape(len(array), *kind.shape)
    return stored.transpose(0, *(axis + 1 for axis in _axes(kind)))


def _all_flattened(
    array: Any, place: str, first: int, shape: tuple[int, ...], *, may_miss: bool
) -> Any:
    """Return the elements of lists in lists."""
    per_row = 1
    for length in shape:
        per_row *= length
        array = _flattened(array, length, place, first, per_row, may_miss=may_miss)
    return array


def _flattened(
    array: Any, length: int, place: str, first: int, per_row: int, *, may_miss: bool
) -> Any:
    """Return the elements of lists, which must all have a length."""
    if array.null_count:
        bad = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
        outer = max(1, per_row // max(1, length))
        raise UnsupportedError(
            f"{place}: the value of row {first + bad // outer} is missing; fill it first, or leave "
            "the column out"
        )
    if not _is_fixed_list(array.type):
        lengths = array.value_lengths().to_numpy()
        if (lengths != length).any():
            bad = int(np.argmax(lengths != length))
            outer = max(1, per_row // max(1, length))
            raise ValueError(
                f"{place}: row {first + bad // outer} has a list of {lengths[bad]} values, the "
                f"first row {length}"
            )
    inner = array.flatten()
    if inner.null_count and (_is_list(inner.type) or not may_miss):
        bad = int(np.argmax(inner.is_null().to_numpy(zero_copy_only=False)))
        raise UnsupportedError(
            f"{place}: a value in the list of row {first + bad // max(1, per_row)} is missing"
        )
    return inner
