"""How do the columns of parquet and arrow files become one file?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chunkstore.importers.arrays.attributes import json_attributes
from chunkstore.importers.arrays.column import Column
from chunkstore.importers.arrays.files import Place, listed_files
from chunkstore.importers.arrays.found import chosen_arrays
from chunkstore.importers.arrays.joined import JoinedColumn
from chunkstore.importers.arrays.options import import_arrays
from chunkstore.importers.arrays.samples import ArraySamples
from chunkstore.importers.arrays.text import TextColumn

try:
    from chunkstore.importers.parquet_exported import as_times, file_attributes, told_of
    from chunkstore.importers.parquet_file import RowGroups
    from chunkstore.importers.parquet_values import (
        dtype_of,
        is_text,
        layout_of,
        texts_of,
        values_of,
    )
except ImportError as error:
    raise ImportError(
        "parquet and arrow files need pyarrow: pip install 'chunkstore[parquet]'"
    ) from error

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from typing import Unpack

    import numpy as np
    from numpy.typing import NDArray

    from chunkstore.importers.arrays.options import ImportArguments, Imported

_PARQUET: Final = (".parquet", ".pq")
_ARROW: Final = (".arrow", ".feather", ".ipc")


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
        How the file is stored and the import done, see `chunkstore.import_npy`.

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
    Numbers, booleans, times and durations keep their types; a time that is missing is NaT. What
    `chunkstore.export` wrote comes back as it was, with its attributes. Text is kept, and so is
    binary where the column says how many bytes a value has: as NumPy's bytes of that size, which
    show no zero bytes at the end. Binary of any length is refused. Lists of numbers or of text, of
    a fixed size or all of the same, become an axis; tensors keep their shape.

    Memory: two groups of rows of all wanted columns, decoded, beside what every import takes.

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


def open_parquet(
    source: Place | Sequence[Place],
    *,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
) -> ArraySamples:
    """Return columns of files as samples; see `import_parquet`."""
    paths, name = listed_files(source, (*_PARQUET, *_ARROW))
    files = [RowGroups(path) for path in paths]
    first = files[0].schema
    wanted = chosen_arrays({c: c for c in first.names}, arrays, name, what="column")
    for file in files:
        for column in dict.fromkeys(wanted.values()):
            found = file.schema.field(column).type if column in file.schema.names else "none"
            if found != first.field(column).type:
                raise ValueError(
                    f"{file.path}: column {column!r} is {found}, in {files[0].path} "
                    f"{first.field(column).type}"
                )
    notes: list[str] = []
    columns: dict[str, Column] = {}
    for key, column in wanted.items():
        parts = [_column(file, column, notes) for file in files]
        place = f"{name}: column {column!r}"
        columns[key] = parts[0] if len(parts) == 1 else JoinedColumn(place, parts)
    return ArraySamples(
        "parquet",
        name,
        columns,
        attributes=json_attributes(file_attributes(files), name, notes, of_file=True),
        provenance={
            "files": len(files),
            "types": {key: str(first.field(column).type) for key, column in wanted.items()},
        },
        notes=notes,
        identity=" ".join(file.identity for file in files),
    )


class _ArrowText(TextColumn):
    """A column of text."""

    @property
    def is_cheap_anywhere(self) -> bool:
        """No: groups of rows are decoded, also where they are of several lengths."""
        return False


class _ArrowColumn(Column):
    """A column whose values are of one size."""

    def __init__(
        self,
        place: str,
        file: RowGroups,
        name: str,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        *,
        attributes: dict[str, Any],
    ) -> None:
        super().__init__(
            place,
            (file.num_rows, *shape),
            dtype,
            chunk_length=file.chunk_length,
            attributes=attributes,
        )
        self._file = file
        self._name = name

    @property
    def identity(self) -> str:
        """The file's."""
        return self._file.identity

    @property
    def is_cheap_anywhere(self) -> bool:
        """No: groups of rows are decoded, also where they are of several lengths."""
        return False

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read the groups of rows that hold the samples."""
        for first, rows in self._file.iter_rows(self._name, start, stop):
            part = out[first - start : first - start + len(rows)]
            part[...] = values_of(rows, self.place, first, self.shape[1:], self.dtype)


def _column(file: RowGroups, name: str, notes: list[str]) -> Column:
    place = f"{file.path}: column {name!r}"
    kind, shape = layout_of(file, name, place)
    told = told_of(file.schema.field(name))
    attributes = json_attributes(told.attributes, place, notes)
    if is_text(kind):
        return _ArrowText(
            place,
            (file.num_rows, *shape),
            lambda start, stop: _texts(file, name, shape, start, stop),
            chunk_length=file.chunk_length,
            identity=file.identity,
            least=told.num_characters,
            attributes=attributes,
        )
    dtype = dtype_of(kind, place)
    column = _ArrowColumn(place, file, name, dtype, shape, attributes=attributes)
    return column if told.times is None else as_times(column, told.times)


def _texts(file: RowGroups, name: str, shape: tuple[int, ...], start: int, stop: int) -> list[Any]:
    texts: list[Any] = []
    for first, rows in file.iter_rows(name, start, stop):
        texts += texts_of(rows, f"{file.path}: column {name!r}", first, shape)
    return texts
