"""How do samples become the rows of a parquet or arrow file?"""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import ChunkStoreWarning, UnsupportedError
from chunkstore.format.stored_dtype import stored_form

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from chunkstore.exporting.contents import Contents

# Units of dates that arrow has; others become the next finer one.
_DATE_UNITS = {"D": "s", "h": "s", "m": "s", "s": "s", "ms": "ms", "us": "us", "ns": "ns"}
_DAY = "D"
# Decoded bytes of a group of rows. Parquet's writer takes some twenty times as much for bytes, of
# which it makes numbers of 32 bits with their levels.
_GROUP_NBYTES = {"parquet": 4 << 20, "arrow": 16 << 20}
# Of metadata that are ours.
_KEY = "chunkstore"
# Of a date in days, of 32 bits.
_MOST_DAYS = 2**31 - 1


def write_arrow(contents: Contents, out: Path) -> None:
    """Write a row for each sample and a column for each array.

    Samples of several numbers are of arrow's type for tensors of one shape, which readers that do
    not know it see as lists of fixed length. Under the key ``chunkstore`` the metadata of the
    schema hold the user's attributes as JSON, and those of each field the attributes of its array,
    and its NumPy type where arrow has no such.

    Raises
    ------
    ValueError
        If no array has a value for each sample.
    UnsupportedError
        A type that arrow has not: complex numbers, structures.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError(
            "parquet and arrow files need pyarrow: pip install 'chunkstore[parquet]'"
        ) from error
    if not contents.aligned:
        raise ValueError("a row is a sample, and none of the arrays has a value for each sample")
    left_out = [name for name in contents.arrays if name not in contents.aligned]
    if left_out:
        warnings.warn(
            f"a row is a sample: {', '.join(left_out)} are not exported",
            ChunkStoreWarning,
            stacklevel=2,
        )
    fields = [
        # A date that is none, NaT, is what arrow calls null.
        pa.field(
            name,
            _column_type(name, contents.arrays[name]),
            nullable=contents.arrays[name].dtype.kind in "mM",
            metadata=_told(contents, name),
        )
        for name in contents.aligned
    ]
    metadata = {_KEY: json.dumps(contents.attributes)}
    schema = pa.schema(fields, metadata=metadata)
    compression = contents.compression or ("zstd" if contents.format == "parquet" else "none")
    if contents.format == "parquet":
        writer = pq.ParquetWriter(out, schema, compression=compression.upper())
    else:
        options = pa.ipc.IpcWriteOptions(compression=None if compression == "none" else compression)
        writer = pa.ipc.new_file(str(out), schema, options=options)
    with writer:
        for rows in contents.iter_rows(nbytes=_GROUP_NBYTES[contents.format]):
            columns = [
                _column(name, rows[name], schema.field(name).type) for name in contents.aligned
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def _told(contents: Contents, name: str) -> dict[str, str] | None:
    """Return the metadata of an array's field; None where arrow says all."""
    told: dict[str, Any] = {}
    dtype = contents.arrays[name].dtype
    if dtype.kind in "mMU":
        told["dtype"] = stored_form(dtype)[2]
    if attributes := contents.array_attributes(name):
        told["attributes"] = attributes
    return {_KEY: json.dumps(told)} if told else None


def _column_type(name: str, array: Any) -> Any:
    import pyarrow as pa

    dtype = array.dtype
    if dtype.kind == "U":
        value_type = pa.string()
    elif dtype.kind == "S":
        value_type = pa.binary(max(dtype.itemsize, 1))
    elif dtype.kind in "mM":
        unit = np.datetime_data(dtype)[0]
        if unit not in _DATE_UNITS or np.datetime_data(dtype)[1] != 1:
            raise UnsupportedError(f"array {name!r}: parquet has no dates in units of {dtype}")
        kind = pa.timestamp if dtype.kind == "M" else pa.duration
        is_day = dtype.kind == "M" and unit == _DAY
        value_type = pa.date32() if is_day else kind(_DATE_UNITS[unit])
    elif dtype.kind in "biuf":
        value_type = pa.from_numpy_dtype(dtype)
    else:
        raise UnsupportedError(
            f"array {name!r} of type {dtype} has no type in parquet and arrow; export its parts "
            "as arrays of their own, or choose another format"
        )
    shape = array.shape[1:]
    if not shape:
        return value_type
    if not all(shape):
        raise UnsupportedError(f"array {name!r}: samples of shape {shape} hold nothing")
    if dtype.kind in "iuf":
        return pa.fixed_shape_tensor(value_type, shape)
    # Arrow's tensors hold numbers: other elements are lists of lists.
    for length in reversed(shape):
        value_type = pa.list_(value_type, length)
    return value_type


def _with_unit(name: str, values: NDArray[Any], dtype: str, *, most: int | None) -> NDArray[Any]:
    """Return dates in another unit, each the same moment.

    Raises
    ------
    UnsupportedError
        One is too far away for the unit.
    """
    converted = values.astype(dtype)
    is_lost = converted.astype(values.dtype) != values
    if most is not None:
        is_lost |= np.abs(converted.astype(np.int64)) > most
    is_lost &= ~np.isnat(values)
    if is_lost.any():
        raise UnsupportedError(
            f"array {name!r}: {values[np.argmax(is_lost)]} is too far away for parquet and arrow, "
            f"which hold it in {np.datetime_data(dtype)[0]}"
        )
    return converted


def _column(name: str, block: NDArray[Any], column_type: Any) -> Any:
    import pyarrow as pa

    flat = np.ascontiguousarray(block).reshape(-1)
    if isinstance(column_type, pa.FixedShapeTensorType):
        values = pa.array(flat, type=column_type.value_type)
        width = column_type.storage_type.list_size
        storage = pa.FixedSizeListArray.from_arrays(values, width)
        return pa.ExtensionArray.from_storage(column_type, storage)
    widths = []
    inner = column_type
    while pa.types.is_fixed_size_list(inner):
        widths.append(inner.list_size)
        inner = inner.value_type
    if flat.dtype.kind in "mM":
        unit = _DAY if pa.types.is_date32(inner) else inner.unit
        most = _MOST_DAYS if unit == _DAY else None
        flat = _with_unit(name, flat, f"{flat.dtype.kind}8[{unit}]", most=most)
    if flat.dtype.kind == "S":
        # NumPy cuts the zeros off that fill a value up.
        width = inner.byte_width
        values = pa.array([value.ljust(width, b"\0") for value in flat.tolist()], type=inner)
    else:
        values = pa.array(flat.tolist() if flat.dtype.kind == "U" else flat, type=inner)
    for width in reversed(widths):
        values = pa.FixedSizeListArray.from_arrays(values, width)
    return values
