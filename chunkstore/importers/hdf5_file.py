"""How are the datasets of one HDF5 file found and read?"""

from __future__ import annotations

import math
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import CorruptionError, FormatError, UnsupportedError
from chunkstore.importers.arrays.column import ForeignColumn
from chunkstore.importers.arrays.files import file_identity, missing
from chunkstore.importers.arrays.raw import RawColumn
from chunkstore.importers.arrays.text import TextColumn
from chunkstore.importers.hdf5_chunks import UnfilledColumn, chunk_column, is_filled
from chunkstore.importers.hdf5_damage import reading_metadata
from chunkstore.importers.hdf5_exported import NUMPY_DTYPE, as_times, attributes_of, told_dtype
from chunkstore.system import ReadFile

try:
    import h5py
except ImportError as error:
    raise ImportError("HDF5 files need h5py: pip install 'chunkstore[hdf5]'") from error

if TYPE_CHECKING:
    from contextlib import ExitStack

    from chunkstore.importers.arrays.column import Column

# Decoded chunks that HDF5 keeps for all datasets of a file, and for one at least.
_CACHE_NBYTES: Final = 64 << 20
_LEAST_CACHE_NBYTES: Final = 1 << 20
# What MATLAB keeps for itself beside the variables.
_INTERNAL: Final = ("#refs#", "#subsystem#")
_DEFAULT_SLOTS: Final = 521


class Hdf5File:
    """An HDF5 file that is open for reading.

    Parameters
    ----------
    path
        The file.
    resources
        Gets what has to be closed.

    Raises
    ------
    FormatError
        It is no HDF5 file, or damaged in a way that it does not open.
    SystemCallError
        It cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], resources: ExitStack) -> None:
        self.path = os.fspath(path)
        self._identity = file_identity(path)
        self._linked: dict[str, str] = {}
        self._raw = resources.enter_context(closing(ReadFile(self.path)))
        if not _is_hdf5(self.path):
            if self._raw.read(10, 0) == b"MATLAB 5.0":
                raise FormatError(
                    "this is a MATLAB file of the format before 7.3, which is no HDF5; save it "
                    "with '-v7.3', or read it by scipy.io.loadmat and write it by cs.save",
                    self.path,
                )
            raise FormatError("this is no HDF5 file", self.path)
        try:
            self._file = resources.enter_context(h5py.File(self.path, "r"))
        except OSError as error:
            if error.errno:
                raise missing(error, self.path) from None
            raise FormatError(f"HDF5 cannot open the file: {error}", self.path) from error
        if self._is_written:
            # Of what this process wrote, some is only in HDF5's memory.
            self._file.flush()
            self._identity = file_identity(path)
        self._cache_nbytes = _CACHE_NBYTES

    @property
    def identity(self) -> str:
        """What tells the file from others, and the files that its links led to so far."""
        return " ".join((self._identity, *self._linked.values()))

    @property
    def _is_written(self) -> bool:
        """Whether this process has the file open for writing as well: HDF5 opens it once."""
        return bool(self._file.id.get_intent() & h5py.h5f.ACC_RDWR)

    @property
    def is_matlab(self) -> bool:
        """Whether MATLAB wrote it, in its format 7.3."""
        return self._raw.read(10, 0) == b"MATLAB 7.3"

    def attributes(self, notes: list[str]) -> dict[str, Any]:
        """Return those of the root group; see `attributes_of`."""
        return attributes_of(self._file, self.path, notes)

    def datasets(self) -> list[str]:
        """Return the paths of all datasets in the order of their names, such as ``/group/x``.

        Those that only a link refers to are not among them; they are found by their path.
        """
        found: list[str] = []

        def visit(name: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset) and name.partition("/")[0] not in _INTERNAL:
                found.append(f"/{name}")

        with reading_metadata(self.path, keys=True):
            self._file.visititems(visit)
        return found

    def has_dataset(self, path: str) -> bool:
        """Return whether `datasets` has a path; no other ones are looked at."""
        with reading_metadata(self.path, keys=True):
            is_own = self._file.get(path, getclass=True, getlink=True) is h5py.HardLink
            return is_own and isinstance(self._file.get(path), h5py.Dataset)

    def links(self) -> list[str]:
        """Return what the links are that `datasets` does not follow."""
        found: list[str] = []

        def visit(name: str, link: Any) -> None:
            if isinstance(link, h5py.ExternalLink):
                found.append(f"'/{name}' is a link to {link.path!r} of the file {link.filename!r}")
            elif isinstance(link, h5py.SoftLink) and name.partition("/")[0] not in _INTERNAL:
                found.append(f"'/{name}' is a link to {link.path!r}")

        with reading_metadata(self.path, keys=True):
            self._file.visititems_links(visit)
        return found

    def dataset(self, path: str) -> Any:
        """Return a dataset of h5py, its chunks kept as far as they are met again.

        Raises
        ------
        KeyError
            There is none; lists those that there are.
        CorruptionError
            It is there, and cannot be opened.
        UnsupportedError
            Its elements are of a type that NumPy has not.
        """
        # A path may lead to a group, or through a link to nothing.
        with reading_metadata(self.place(path), keys=True):
            node = self._file.get(path)
            if node is None and self._file.get(path, getclass=True, getlink=True) is h5py.HardLink:
                node = self._file[path]
        if not isinstance(node, h5py.Dataset):
            raise KeyError(
                f"{self.path}: there is no dataset {path!r}, only {', '.join(self.datasets())}"
            )
        try:
            with reading_metadata(self.place(path)):
                _ = node.dtype, node.shape, node.chunks
        except (TypeError, ValueError) as error:
            raise UnsupportedError(
                f"{self.place(path)} has elements of a type that NumPy has not: {error}"
            ) from error
        linked = node.file.filename
        if linked != self._file.filename and linked not in self._linked:
            # Behind an external link.
            self._linked[linked] = file_identity(linked)
        return node

    def place(self, path: str) -> str:
        """Return how errors call a dataset."""
        return f"{self.path}: dataset {path!r}"

    def share_cache(self, num_datasets: int) -> None:
        """Say how many datasets are read at a time: they share the memory for decoded chunks."""
        self._cache_nbytes = max(_LEAST_CACHE_NBYTES, _CACHE_NBYTES // max(1, num_datasets))

    def column(self, path: str, attributes: dict[str, Any]) -> Column:
        """Return a dataset as a column.

        Raises
        ------
        KeyError
            There is none.
        ValueError, TypeError, UnsupportedError
            It has no sample axis, elements of no fixed size, or a filter that is not installed.
        CorruptionError
            It is put together from files that are not there.
        """
        dataset, place = self.dataset(path), self.place(path)
        self.check_readable(dataset, place)
        enum = h5py.check_enum_dtype(dataset.dtype)
        if enum is not None and dataset.dtype.kind != "b":
            names = {name: int(value) for name, value in enum.items()}
            attributes = {**attributes, "enum": names}
        told = told_dtype(dataset)
        if told is not None:
            attributes = {key: v for key, v in attributes.items() if key != NUMPY_DTYPE}
        text = h5py.check_string_dtype(dataset.dtype)
        if text is not None and text.length is None:
            return TextColumn(
                place,
                dataset.shape,
                lambda start, stop: dataset[start:stop],
                chunk_length=dataset.chunks[0] if dataset.chunks else 1,
                identity=self.identity,
                least=1 if told is None else told.itemsize // 4,
                attributes=attributes,
            )
        column = self._values(dataset, place, attributes)
        return column if told is None else as_times(column, told)

    def _values(self, dataset: Any, place: str, attributes: dict[str, Any]) -> Column:
        """Return a dataset of values of one size, read by ourselves where that is possible."""
        is_as_in_memory = _is_as_in_memory(self._file, dataset) and not self._is_written
        offset = dataset.id.get_offset() if is_as_in_memory and dataset.chunks is None else None
        if offset is not None:
            return RawColumn(
                place,
                self._raw,
                offset=offset,
                shape=dataset.shape,
                dtype=dataset.dtype,
                identity=self.identity,
                attributes=attributes,
            )
        kind = ForeignColumn if is_filled(dataset) else UnfilledColumn
        column = kind(place, self._with_cache(dataset), attributes=attributes)
        return chunk_column(column, dataset, self._raw) if is_as_in_memory else column

    def check_readable(self, dataset: Any, place: str) -> None:
        """Raise unless everything that the dataset needs is here; see `column`."""
        if dataset.shape is None:
            raise ValueError(f"{place} is an empty dataspace: it holds no values")
        if dataset.dtype.subdtype is not None:
            raise UnsupportedError(
                f"{place} has arrays for elements ({dataset.dtype}); write it as a dataset of more "
                "axes first: file.create_dataset(name, data=dataset[...])"
            )
        elements = h5py.check_vlen_dtype(dataset.dtype)
        if elements is not None and h5py.check_string_dtype(dataset.dtype) is None:
            raise UnsupportedError(
                f"{place} holds arrays of different lengths ({elements}); pad them to one length "
                "first"
            )
        if h5py.check_ref_dtype(dataset.dtype) is not None:
            raise UnsupportedError(f"{place} holds references to other objects, no values")
        _check_filters(dataset, place)
        if dataset.is_virtual:
            folder = Path(dataset.file.filename).parent
            for source in dataset.virtual_sources():
                if source.file_name != "." and not (folder / source.file_name).exists():
                    raise CorruptionError(
                        f"{place} is put together from other files, of which {source.file_name!r} "
                        "is not there; HDF5 would give fill values in its place"
                    )

    def num_missing_chunks(self, path: str) -> int:
        """Return how many chunks of a dataset were never written: they read as the fill value."""
        dataset = self.dataset(path)
        if dataset.chunks is None or dataset.is_virtual:
            return 0
        num_cells = math.prod(
            -(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True)
        )
        return int(num_cells - dataset.id.get_num_chunks())

    def is_unwritten(self, path: str) -> bool:
        """Return whether a dataset without chunks holds nothing and reads as the fill value."""
        dataset = self.dataset(path)
        is_stored = dataset.chunks is not None or dataset.is_virtual or bool(dataset.external)
        return not is_stored and dataset.size > 0 and dataset.id.get_storage_size() == 0

    def _with_cache(self, dataset: Any) -> Any:
        """Return the dataset opened so that chunks cut by a block's end are decoded once."""
        if dataset.chunks is None or dataset.is_virtual:
            return dataset
        row = math.prod(
            -(-n // c) for n, c in zip(dataset.shape[1:], dataset.chunks[1:], strict=True)
        )
        chunk_nbytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
        # A row of chunks for each of the blocks at hand.
        wanted = min(max(_LEAST_CACHE_NBYTES, 2 * row * chunk_nbytes), self._cache_nbytes)
        access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
        access.set_chunk_cache(max(_DEFAULT_SLOTS, 20 * row + 1), wanted, 1.0)
        # Its own file, which behind an external link is another one.
        return h5py.Dataset(h5py.h5d.open(dataset.file.id, dataset.name.encode(), access))


def _is_hdf5(path: str) -> bool:
    try:
        return bool(h5py.is_hdf5(path))
    except OSError as error:
        # The system's: HDF5 itself says yes or no.
        raise missing(error, path) from None


def _is_as_in_memory(file: Any, dataset: Any) -> bool:
    """Return whether a dataset's elements lie in this file as they are in memory."""
    if (
        dataset.external
        or dataset.is_virtual
        or dataset.dtype.kind not in "iufcb"
        or file.userblock_size
        or file.driver not in ("sec2", "stdio")
        or dataset.file.filename != file.filename
        or not dataset.shape
    ):
        return False
    # Types of fewer bits than NumPy's are converted by HDF5.
    return bool(h5py.h5t.py_create(dataset.dtype) == dataset.id.get_type())


def _check_filters(dataset: Any, place: str) -> None:
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(i) for i in range(properties.get_nfilters())]
    absent = [(code, name) for code, _, _, name in filters if not h5py.h5z.filter_avail(code)]
    if not absent:
        return
    _load_plugins()
    for code, name in absent:
        if not h5py.h5z.filter_avail(code):
            called = name.decode("utf-8", "replace") or "without a name"
            raise UnsupportedError(
                f"{place} is compressed by the filter {code} ({called}), which is not here; "
                "pip install 'chunkstore[hdf5]' brings Blosc, Blosc2, zstd, LZ4, bitshuffle and "
                "others"
            )


def _load_plugins() -> None:
    """Make the filters of hdf5plugin known to HDF5, if they are installed."""
    try:
        import hdf5plugin  # noqa: F401 - importing it makes its filters known
    except ImportError:
        return


def scalar(dataset: Any) -> Any:
    """Return the one value of a dataset without axes."""
    value = dataset[()]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else np.asarray(value)[()]
