"""How do the columns of parquet and arrow files become one file?"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import CorruptionError, FormatError, UnsupportedError
from chunkstore.importers.arrays.column import Column, JoinedColumn
from chunkstore.importers.arrays.files import Place, file_identity, listed_files, missing
from chunkstore.importers.arrays.options import import_arrays, plan_arrays
from chunkstore.importers.arrays.samples import ArraySamples
from chunkstore.importers.arrays.text import TextColumn

try:
    import pyarrow as pa
    import pyarrow.ipc
    import pyarrow.parquet
except ImportError as error:
    raise ImportError(
        "parquet and arrow files need pyarrow: pip install 'chunkstore[parquet]'"
    ) from error

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from typing import Unpack

    from numpy.typing import NDArray

    from chunkstore.importers.arrays.options import ArrayPlan, ImportArguments, Imported

_PARQUET: Final = (".parquet", ".pq")
_ARROW: Final = (".arrow", ".feather", ".ipc")
# Groups of rows that are kept decoded: two threads are at two of them.
_KEPT_GROUPS: Final = 2


def import_parquet(
    source: Place | Sequence[Place],
    out: str | os.PathLike[str],
    *,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
    **options: Unpack[ImportArguments],
) -> Imported:
    """Bring columns of parquet and arrow files into one file.

    Parameters
    ----------
    source
        A parquet or arrow (feather) file, a folder of such, or several; rows of files follow each
        other in the order of the files' names.
    out
        The new file, or with ``split`` the folder of the new files.
    arrays
        Columns by the names that their arrays get, ``{"x": "pixels", "y": "label"}``, or columns
        alone. By default all.
    options
        How the file is stored and the import done: ``codec``, ``level``, ``chunk_nbytes``,
        ``chunk_length``, ``attributes``, ``shuffle``, ``seed``, ``split``, ``stratify``,
        ``threads``, ``verify``, ``resume``, ``overwrite``, ``progress``; see
        `chunkstore.importers.arrays.options.ImportArguments`.

    Returns
    -------
    report
        What was done; with ``split`` a dict of reports by part.

    Raises
    ------
    UnsupportedError
        A value is missing, or a column's type has no array; says which column and row.
    ValueError
        Lists of different lengths in a column, files with other columns.
    FormatError, CorruptionError
        Files that are neither, or damaged.
    KeyError
        There is no such column.
    ChunkStoreError
        See `chunkstore.create`.

    Notes
    -----
    Numbers, booleans, times and durations keep their types. Text and binary become text and, where
    the column says how many bytes a value has, bytes of one size. Lists of numbers, of a fixed size
    or all of the same, become an axis; tensors keep their shape. Memory: two groups of rows of all
    wanted columns, decoded, beside what every import takes.

    Examples
    --------
    >>> import pyarrow as pa, pyarrow.parquet as pq, chunkstore as cs
    >>> pq.write_table(pa.table({"x": [[1.0, 2.0], [3.0, 4.0]], "y": [0, 1]}), "train.parquet")
    >>> report = cs.import_parquet("train.parquet", "train.zarr.zip")
    >>> cs.load("train.zarr.zip")["x"].shape
    (2, 2)
    """
    with open_parquet(source, arrays=arrays) as samples:
        return import_arrays(samples, out, options)


def plan_parquet(
    source: Place | Sequence[Place],
    out: str | os.PathLike[str],
    *,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
    **options: Unpack[ImportArguments],
) -> ArrayPlan:
    """Return what `import_parquet` would do with the same arguments; nothing is written."""
    with open_parquet(source, arrays=arrays) as samples:
        return plan_arrays(samples, out, options)


def open_parquet(
    source: Place | Sequence[Place],
    *,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
) -> ArraySamples:
    """Return columns of files as samples; see `import_parquet`."""
    paths, name = listed_files(source, (*_PARQUET, *_ARROW))
    files = [_RowGroups(path) for path in paths]
    first = files[0].schema
    if arrays is None:
        wanted = {column: column for column in first.names}
    else:
        wanted = dict(arrays) if isinstance(arrays, Mapping) else {c: c for c in arrays}
    for column in wanted.values():
        if column not in first.names:
            raise KeyError(f"{name}: there is no column {column!r}, only {', '.join(first.names)}")
    for file in files:
        file.columns = list(dict.fromkeys(wanted.values()))
        for column in file.columns:
            found = file.schema.field(column).type if column in file.schema.names else "none"
            if found != first.field(column).type:
                raise ValueError(
                    f"{file.path}: column {column!r} is {found}, in {files[0].path} "
                    f"{first.field(column).type}"
                )
    columns: dict[str, Column] = {}
    for key, column in wanted.items():
        parts = [_column(file, column) for file in files]
        place = f"{name}: column {column!r}"
        columns[key] = parts[0] if len(parts) == 1 else JoinedColumn(place, parts)
    return ArraySamples(
        "parquet",
        name,
        columns,
        provenance={"files": len(files)},
        identity=" ".join(file.identity for file in files),
    )


class _RowGroups:
    """A file as groups of rows, of which the last ones that were read are kept.

    Notes
    -----
    Threads: safe; one group is decoded at a time.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.identity = file_identity(path)
        self.columns: list[str] = []
        self._lock = Lock()
        self._kept: OrderedDict[int, Any] = OrderedDict()
        try:
            with open(path, "rb") as stream:
                self.is_parquet = stream.read(4) == b"PAR1"
            if self.is_parquet:
                with pyarrow.parquet.ParquetFile(path) as file:
                    self.schema = file.schema_arrow
                    lengths = [
                        file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)
                    ]
            else:
                with pa.memory_map(path) as source, pyarrow.ipc.open_file(source) as file:
                    self.schema = file.schema
                    lengths = [file.get_batch(i).num_rows for i in range(file.num_record_batches)]
        except pa.ArrowException as error:
            raise FormatError(f"this is no parquet and no arrow file: {error}", path) from error
        except OSError as error:
            if error.errno is None:
                raise FormatError(f"the file is damaged: {error}", path) from error
            raise missing(error, path) from None
        self.bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        names = self.schema.names
        if repeated := [name for i, name in enumerate(names) if name in names[:i]]:
            raise FormatError(f"the column {repeated[0]!r} is there twice", path)

    @property
    def num_rows(self) -> int:
        """Of the file."""
        return int(self.bounds[-1])

    @property
    def chunk_length(self) -> int:
        """Rows of a group where all but the last have as many, else 1."""
        lengths = np.diff(self.bounds)
        if not len(lengths) or (lengths[:-1] != lengths[0]).any() or lengths[-1] > lengths[0]:
            return 1
        return int(lengths[0])

    def iter_rows(self, column: str, start: int, stop: int) -> Any:
        """Yield the rows ``[start, stop)`` of a column, as arrow arrays, with their first row."""
        group = int(np.searchsorted(self.bounds, start, side="right")) - 1
        position = start
        while position < stop:
            base, end = int(self.bounds[group]), int(self.bounds[group + 1])
            until = min(stop, end)
            if until > position:
                rows = self._group(group).column(column)
                yield position, rows.slice(position - base, until - position)
                position = until
            group += 1

    def _group(self, group: int) -> Any:
        with self._lock:
            if group in self._kept:
                self._kept.move_to_end(group)
                return self._kept[group]
            while len(self._kept) >= _KEPT_GROUPS:
                self._kept.popitem(last=False)
            try:
                table = self._read(group)
            except (pa.ArrowException, OSError) as error:
                raise CorruptionError(
                    f"rows [{self.bounds[group]}, {self.bounds[group + 1]}) cannot be read: "
                    f"{error}",
                    self.path,
                ) from error
            self._kept[group] = table
            return table

    def _read(self, group: int) -> Any:
        if self.is_parquet:
            with pyarrow.parquet.ParquetFile(self.path, page_checksum_verification=True) as file:
                return file.read_row_group(group, columns=self.columns, use_threads=False)
        with pa.OSFile(self.path) as source, pyarrow.ipc.open_file(source) as file:
            return file.get_batch(group).select(self.columns)


class _ArrowColumn(Column):
    """A column whose values are of one size."""

    def __init__(
        self, place: str, file: _RowGroups, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> None:
        super().__init__(place, (file.num_rows, *shape), dtype, chunk_length=file.chunk_length)
        self._file = file
        self._name = name

    @property
    def identity(self) -> str:
        """The file's."""
        return self._file.identity

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read the groups of rows that hold the samples."""
        for first, rows in self._file.iter_rows(self._name, start, stop):
            part = out[first - start : first - start + len(rows)]
            part[...] = _values(rows, self.place, first, self.shape[1:], self.dtype)


def _column(file: _RowGroups, name: str) -> Column:
    place = f"{file.path}: column {name!r}"
    kind = file.schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if _is_text(kind):
        return TextColumn(
            place,
            (file.num_rows,),
            lambda start, stop: _objects(file, name, start, stop),
            chunk_length=file.chunk_length,
            identity=file.identity,
        )
    dtype, shape = _layout(file, name, kind, place)
    return _ArrowColumn(place, file, name, dtype, shape)


def _is_text(kind: Any) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in tests)


def _objects(file: _RowGroups, name: str, start: int, stop: int) -> list[Any]:
    texts: list[Any] = []
    for _, rows in file.iter_rows(name, start, stop):
        texts += rows.to_pylist()
    return texts


def _layout(
    file: _RowGroups, name: str, kind: Any, place: str
) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and shape of a value; lists of no fixed size have the first one's."""
    shape: tuple[int, ...] = ()
    if isinstance(kind, pa.FixedShapeTensorType):
        return _dtype(kind.value_type, place), tuple(kind.shape)
    value: Any = None
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or _is_fixed_list(kind):
        if _is_fixed_list(kind):
            shape = (*shape, kind.list_size)
        else:
            if value is None and file.num_rows:
                _, rows = next(iter(file.iter_rows(name, 0, 1)))
                value = rows[0].as_py()
            inner = value
            for _ in shape:
                inner = inner[0] if inner else []
            shape = (*shape, len(inner or []))
        kind = kind.value_type
    return _dtype(kind, place), shape


def _is_fixed_list(kind: Any) -> bool:
    return bool(pa.types.is_fixed_size_list(kind))


def _dtype(kind: Any, place: str) -> np.dtype[Any]:
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


def _values(
    rows: Any, place: str, first: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return the values of some rows, shape ``(len(rows), *shape)``."""
    array = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.null_count:
        row = first + int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
        raise UnsupportedError(
            f"{place}: the value of row {row} is missing; fill it first, or leave the column out"
        )
    num_rows = len(array)
    if isinstance(array.type, pa.FixedShapeTensorType):
        return np.asarray(array.to_numpy_ndarray()).reshape(num_rows, *shape)
    per_row = 1
    for length in shape:
        per_row *= length
        array = _flattened(array, length, place, first, per_row)
    if pa.types.is_date32(array.type):
        array = array.cast(pa.int32())
        days: NDArray[Any] = array.to_numpy().astype("M8[D]")
        return days.reshape(num_rows, *shape)
    values = array.to_numpy(zero_copy_only=False)
    if dtype.kind == "S":
        values = _bytes(values, dtype, place, first)
    return np.asarray(values, dtype).reshape(num_rows, *shape)


def _flattened(array: Any, length: int, place: str, first: int, per_row: int) -> Any:
    """Return the elements of lists, which must all have a length."""
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
    if inner.null_count:
        bad = int(np.argmax(inner.is_null().to_numpy(zero_copy_only=False)))
        raise UnsupportedError(
            f"{place}: a value in the list of row {first + bad // max(1, per_row)} is missing"
        )
    return inner


def _bytes(values: Any, dtype: np.dtype[Any], place: str, first: int) -> NDArray[Any]:
    for i, value in enumerate(values):
        if value.endswith(b"\0"):
            raise UnsupportedError(
                f"{place}: row {first + i} ends in a zero byte, which NumPy's bytes drop"
            )
    return np.array(values, dtype)
