"""How do datasets of HDF5 files become one file?

Any datasets by name; files of Nervana neon and of MATLAB 7.3 with the shapes that they had there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal, get_args

from chunkstore.errors import FormatError, SystemCallError
from chunkstore.importers.arrays.attributes import add_value, json_attributes
from chunkstore.importers.arrays.column import MemoryColumn
from chunkstore.importers.arrays.found import check_beside
from chunkstore.importers.arrays.joined import JoinedColumn
from chunkstore.importers.arrays.options import import_arrays
from chunkstore.importers.arrays.samples import ArraySamples, whole
from chunkstore.importers.hdf5_damage import reading_metadata
from chunkstore.importers.hdf5_exported import attributes_of
from chunkstore.importers.hdf5_file import Hdf5File, scalar
from chunkstore.importers.hdf5_matlab import matlab_columns
from chunkstore.importers.hdf5_neon import (
    INPUT,
    LSHAPE,
    MEAN,
    OUTPUT,
    input_column,
    mean_array,
    output_column,
    sample_shape,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    import numpy as np

    from chunkstore.importers.arrays.column import Column
    from chunkstore.importers.arrays.options import ImportArguments, Imported

Layout = Literal["auto", "plain", "neon", "matlab"]
Axis = Literal["auto", "first", "last"]
Source = str | os.PathLike[str]


def import_hdf5(
    source: Source | Sequence[Source],
    out: str | os.PathLike[str],
    *,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
    beside: Sequence[str] = (),
    layout: Layout = "auto",
    sample_axis: Axis = "auto",
    **options: Unpack[ImportArguments],
) -> Imported:
    """Bring datasets of HDF5 files into one file.

    Parameters
    ----------
    source
        The file; or several of equal layout, whose samples are taken one file after the other.
    out
        The new file, or with ``split`` the folder of the new files.
    arrays
        Paths of datasets by the names that their arrays get, ``{"x": "/images", "y": "/labels"}``,
        or paths alone. By default all datasets, under their own paths.
    beside
        Names of arrays that are no samples and have any length, such as a mean image or the names
        of classes; they are stored as they are. Datasets of a single value become attributes.
    layout
        ``"neon"`` gives ``/input`` the shape of its attribute ``lshape``, ``/output`` one integer a
        sample if it has ``nclass``, each checked, and keeps ``/mean`` beside them. ``"matlab"``
        gives arrays the axes that they have in MATLAB, samples first. ``"plain"`` takes datasets as
        they are. ``"auto"`` sees from the file which it is.
    sample_axis
        Of MATLAB's arrays, which axis counts samples. ``"auto"`` finds it where only one can be.
    options
        How the file is stored and the import done: ``codec``, ``level``, ``typesize``,
        ``chunk_nbytes``, ``chunk_length``, ``attributes``, ``shuffle``, ``seed``, ``split``,
        ``stratify``, ``threads``, ``verify``, ``resume``, ``overwrite``, ``progress``; see
        `chunkstore.importers.arrays.options.ImportArguments`.

    Returns
    -------
    report
        What was done; with ``split`` a dict of reports by part.

    Raises
    ------
    FormatError
        No HDF5 file, or labels and shapes that cannot be.
    CorruptionError
        A chunk cannot be decoded; says which dataset and samples. Or what describes the data is
        damaged.
    UnsupportedError
        A filter that is not installed, or elements of no fixed size.
    KeyError
        There is no such dataset.
    ValueError
        Arrays of different lengths, or names that cannot be.
    ChunkStoreError
        See `chunkstore.create`. What was done stays in ``out + ".partial"``; the same call goes on
        with it.

    Notes
    -----
    Every value and dtype is kept; text of any length becomes text of the longest one's. Attributes
    of datasets and of the file are kept where JSON can hold them.

    Chunks of deflate, LZF, Blosc and zstd, with shuffle and fletcher32, are decoded by all threads;
    other filters by h5py, one chunk at a time. Memory: a row of chunks beside what every import
    takes, so chunks that are as long as the dataset are decoded whole.

    Examples
    --------
    >>> import h5py, numpy as np, chunkstore as cs
    >>> with h5py.File("train.h5", "w") as file:
    ...     file["images"] = np.zeros((10, 8, 8, 3), "uint8")
    ...     file["labels"] = np.arange(10)
    >>> report = cs.import_hdf5("train.h5", "a.zarr.zip", arrays={"x": "/images", "y": "/labels"})
    >>> report.num_samples, cs.load("a.zarr.zip")["x"].shape
    (10, (10, 8, 8, 3))
    """
    with open_hdf5(
        source, arrays=arrays, beside=beside, layout=layout, sample_axis=sample_axis
    ) as samples:
        return import_arrays(samples, out, options)


def open_hdf5(
    source: Source | Sequence[Source],
    *,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
    beside: Sequence[str] = (),
    layout: Layout = "auto",
    sample_axis: Axis = "auto",
) -> ArraySamples:
    """Return datasets as samples; see `import_hdf5`."""
    if layout not in get_args(Layout):
        raise ValueError(f"layout must be one of {get_args(Layout)}, got {layout!r}")
    if sample_axis not in get_args(Axis):
        raise ValueError(f"sample_axis must be one of {get_args(Axis)}, got {sample_axis!r}")
    paths = [source] if isinstance(source, str | os.PathLike) else list(source)
    if not paths:
        raise ValueError("import_hdf5 needs at least one file, got none")
    with ExitStack() as resources:
        files = _opened(paths, resources)
        parts = [
            _Part(file, arrays, beside, layout=layout, sample_axis=sample_axis) for file in files
        ]
        first = parts[0]
        name = files[0].path if len(files) == 1 else f"{files[0].path} and {len(files) - 1} more"
        samples = ArraySamples(
            "hdf5",
            name,
            _joined(parts, name),
            unaligned=_common_beside(parts),
            attributes=first.attributes,
            provenance={
                "layout": first.layout,
                "sample_axis": sample_axis,
                "beside": sorted(beside),
                "files": len(files),
            },
            notes=[note for part in parts for note in part.notes],
            identity=" ".join(file.identity for file in files),
        )
        return samples.own(resources.pop_all())


def _opened(paths: Sequence[Source], resources: ExitStack) -> list[Hdf5File]:
    """Return all files, which stay open until the import is done."""
    files: list[Hdf5File] = []
    for path in paths:
        try:
            files.append(Hdf5File(path, resources))
        except SystemCallError as error:
            if error.errno != errno.EMFILE:
                raise
            raise SystemCallError(
                f"of {len(paths)} files {len(files)} are open, and this process may open no more; "
                "raise its limit (ulimit -n), or import them in parts and join these with "
                "chunkstore merge",
                os.fspath(path),
                errno=errno.EMFILE,
            ) from error
    return files


class _Part:
    """What is taken of one file: columns, arrays beside them, attributes."""

    def __init__(
        self,
        file: Hdf5File,
        arrays: Mapping[str, str] | Sequence[str] | None,
        beside: Sequence[str],
        *,
        layout: Layout,
        sample_axis: Axis,
    ) -> None:
        self.file = file
        self.notes: list[str] = []
        self.columns: dict[str, Column] = {}
        self.beside: dict[str, np.ndarray[Any, Any]] = {}
        self.beside_attributes: dict[str, dict[str, Any]] = {}
        self.layout = self._found_layout() if layout == "auto" else layout
        if layout == "neon" and not file.has_dataset(INPUT):
            raise FormatError(
                f"layout='neon' needs a dataset {INPUT!r}; there are {', '.join(file.datasets())}",
                file.path,
            )
        self.attributes = json_attributes(
            file.attributes(self.notes), file.path, self.notes, of_file=True
        )
        chosen = self._chosen(arrays)
        check_beside(beside, chosen)
        file.share_cache(len(chosen))
        if self.layout == "matlab":
            with reading_metadata(file.path):
                self.columns, self.beside, values = matlab_columns(
                    file,
                    chosen,
                    beside,
                    sample_axis=sample_axis,
                    is_chosen=arrays is not None,
                    notes=self.notes,
                )
            for name, value in values.items():
                add_value(self.attributes, name, value, file.place(chosen[name]), self.notes)
            return
        for name, path in chosen.items():
            with reading_metadata(file.place(path)):
                self._add(name, path, is_beside=name in beside)

    def _found_layout(self) -> Layout:
        if self.file.is_matlab:
            return "matlab"
        is_neon = self.file.has_dataset(INPUT) and LSHAPE in self.file.dataset(INPUT).attrs
        return "neon" if is_neon else "plain"

    def _chosen(self, arrays: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
        """Return paths by names, all with a leading slash."""
        if arrays is None:
            found = {path.lstrip("/"): path for path in self.file.datasets()}
            if not found:
                raise FormatError("there is no dataset in the file", self.file.path)
            self.notes += [
                f"{self.file.path}: {link}; it is left out: name it in arrays= to have it"
                for link in self.file.links()
            ]
            return found
        if isinstance(arrays, Mapping):
            return {name: "/" + path.lstrip("/") for name, path in arrays.items()}
        return {path.strip("/"): "/" + path.lstrip("/") for path in arrays}

    def _add(self, name: str, path: str, *, is_beside: bool) -> None:
        file, place = self.file, self.file.place(path)
        dataset = file.dataset(path)
        attributes = json_attributes(attributes_of(dataset, place, self.notes), place, self.notes)
        is_neon = self.layout == "neon"
        if dataset.shape == ():
            file.check_readable(dataset, place)
            add_value(self.attributes, name, scalar(dataset), place, self.notes)
            return
        column = file.column(path, attributes)
        if num_missing := file.num_missing_chunks(path):
            self.notes.append(
                f"{place}: {num_missing} chunks were never written; their samples are the fill "
                f"value {dataset.fillvalue}"
            )
        if file.is_unwritten(path):
            self.notes.append(
                f"{place} was never written; all its samples are the fill value {dataset.fillvalue}"
            )
        if is_neon and path == INPUT:
            if LSHAPE not in dataset.attrs:
                raise FormatError(f"{place} has no attribute 'lshape', which neon's input has")
            column = input_column(column, dataset.attrs)
        elif is_neon and path == OUTPUT:
            column = output_column(column, dataset.attrs)
        elif is_neon and path == MEAN:
            lshape = sample_shape(file.place(INPUT), file.dataset(INPUT).attrs)
            self.beside[name] = mean_array(place, whole(column), lshape)
            self.beside_attributes[name] = column.attributes
            return
        if is_beside:
            self.beside_attributes[name] = column.attributes
            self.beside[name] = whole(column)
        else:
            self.columns[name] = column


def _joined(parts: Sequence[_Part], name: str) -> dict[str, Column]:
    if len(parts) == 1:
        return parts[0].columns
    first = parts[0].columns
    for part in parts[1:]:
        if set(part.columns) != set(first):
            raise ValueError(
                f"{part.file.path} has the arrays {sorted(part.columns)}, the first file "
                f"{sorted(first)}; choose with arrays="
            )
    return {
        key: JoinedColumn(f"{name}: {key!r}", [part.columns[key] for part in parts])
        for key in first
    }


def _common_beside(parts: Sequence[_Part]) -> dict[str, Any]:
    """Return the arrays beside the samples, which all files must have alike.

    Their attributes are those of the first.
    """
    first = parts[0]
    for part in parts[1:]:
        for name, values in first.beside.items():
            other = part.beside.get(name)
            if other is None or other.tobytes() != values.tobytes() or other.dtype != values.dtype:
                raise ValueError(
                    f"array {name!r} stands beside the samples and is another in "
                    f"{part.file.path} than in {first.file.path}"
                )
    return {
        name: MemoryColumn(
            f"{first.file.path}: {name!r}",
            values,
            attributes=first.beside_attributes.get(name),
        )
        for name, values in first.beside.items()
    }
