"""How are the columns of one parquet or arrow file read, a group of rows at a time?"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from chunkstore.errors import CorruptionError, FormatError
from chunkstore.importers.arrays.files import file_identity, missing

# Groups of rows of a column that are kept decoded: two threads are at two of them.
_KEPT_GROUPS: Final = 2
# Of a group of parquet, decoded one after the other; and what is read of the file at a time.
_NUM_PARTS: Final = 16
_BUFFER_NBYTES: Final = 1 << 20


class RowGroups:
    """A file as groups of rows, of which the last ones that were read are kept.

    Notes
    -----
    Threads: safe; one group is decoded at a time.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.identity = file_identity(path)
        self._lock = Lock()
        self._kept: dict[str, OrderedDict[int, Any]] = {}
        self._metadata: Any = None
        try:
            with open(path, "rb") as stream:
                self.is_parquet = stream.read(4) == b"PAR1"
            if self.is_parquet:
                with pyarrow.parquet.ParquetFile(path) as file:
                    self.schema = file.schema_arrow
                    self._metadata = file.metadata
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
                rows = self._group(group, column)
                yield position, rows.slice(position - base, until - position)
                position = until
            group += 1

    def _group(self, group: int, column: str) -> Any:
        """Return a column of a group; the last ones of each column are kept."""
        with self._lock:
            kept = self._kept.setdefault(column, OrderedDict())
            if group in kept:
                kept.move_to_end(group)
                return kept[group]
            while len(kept) >= _KEPT_GROUPS:
                kept.popitem(last=False)
            try:
                rows = self._read(group, column)
            except (pa.ArrowException, OSError) as error:
                raise CorruptionError(
                    f"rows [{self.bounds[group]}, {self.bounds[group + 1]}) cannot be read: "
                    f"{error}",
                    self.path,
                ) from error
            kept[group] = rows
            return rows

    def _read(self, group: int, column: str) -> Any:
        """Decode one column of a group and no other."""
        if self.is_parquet:
            return self._read_in_parts(group, column)
        only = pa.ipc.IpcReadOptions(included_fields=[self.schema.names.index(column)])
        with pa.OSFile(self.path) as source, pa.ipc.open_file(source, options=only) as file:
            return file.get_batch(group).column(column)

    def _read_in_parts(self, group: int, column: str) -> Any:
        """Decode a column of a group of parquet some rows at a time.

        Beside the values that it makes, parquet's decoder takes several times their size, and what
        it was given back stays with arrow's allocator.
        """
        num_rows = int(self.bounds[group + 1] - self.bounds[group])
        with pyarrow.parquet.ParquetFile(
            self.path,
            metadata=self._metadata,
            buffer_size=_BUFFER_NBYTES,
            page_checksum_verification=True,
        ) as file:
            parts = [
                _plain(batch.column(0))
                for batch in file.iter_batches(
                    batch_size=max(1, num_rows // _NUM_PARTS),
                    row_groups=[group],
                    columns=[column],
                    use_threads=False,
                )
            ]
        pa.default_memory_pool().release_unused()
        return pa.chunked_array(parts)


def _plain(values: Any) -> Any:
    """Return values without a dictionary, which may be another one in each part."""
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
