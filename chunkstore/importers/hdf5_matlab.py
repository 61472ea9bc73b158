"""What did MATLAB mean by the datasets of its files of format 7.3?

MATLAB counts axes from the fastest and HDF5 from the slowest, so an array of size (H, W, C, N) is a
dataset of shape (N, C, W, H). Here it becomes (N, H, W, C): samples first, the other axes in
MATLAB's order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import CorruptionError, UnsupportedError
from chunkstore.importers.arrays.attributes import json_attributes
from chunkstore.importers.arrays.column import Column, MappedColumn, ReshapedColumn
from chunkstore.importers.arrays.samples import check_beside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from chunkstore.importers.hdf5_file import Hdf5File

_NUMERIC: Final = frozenset(
    {
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
        "double",
        "single",
        "logical",
    }
)
_CLASS: Final = "MATLAB_class"
_OWN: Final = ("MATLAB_class", "MATLAB_int_decode", "MATLAB_empty", "MATLAB_sparse", "H5PATH")


class _MatlabColumn(Column):
    """A dataset of MATLAB, samples along its first or last axis there."""

    def __init__(
        self, place: str, dataset: Any, *, is_first: bool, identity: str, attributes: dict[str, Any]
    ) -> None:
        # MATLAB's size is the dataset's shape from the end.
        size = dataset.shape[::-1]
        shape = size if is_first else (size[-1], *size[:-1])
        chunks = dataset.chunks
        length = 1 if chunks is None else chunks[-1 if is_first else 0]
        super().__init__(place, shape, dataset.dtype, chunk_length=length, attributes=attributes)
        self._dataset = dataset
        self._is_first = is_first
        self._identity = identity

    @property
    def identity(self) -> str:
        """That of the file, and the axis."""
        return f"{self._identity} {self._dataset.name} {self._is_first}"

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read a slab and turn its axes round.

        Raises
        ------
        CorruptionError
            HDF5 cannot decode it.
        """
        try:
            # The axis that counts samples is the last one of the dataset, or the first.
            slab = self._dataset[..., start:stop] if self._is_first else self._dataset[start:stop]
        except OSError as error:
            raise CorruptionError(
                f"{self.place}: samples [{start}, {stop}) cannot be read: {error}"
            ) from error
        # (sample, a, b, c) from (c, b, a, sample); else (sample, a, b, c) from (sample, c, b, a)
        out[...] = slab.T if self._is_first else np.moveaxis(slab.T, -1, 0)


def matlab_columns(
    file: Hdf5File,
    chosen: Mapping[str, str],
    beside: Sequence[str],
    *,
    sample_axis: str,
    is_chosen: bool,
    notes: list[str],
) -> tuple[dict[str, Column], dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the variables of a file: as columns of samples, as arrays beside them, as values.

    Parameters
    ----------
    file
        That MATLAB wrote.
    chosen
        Paths by the names that the arrays get.
    beside
        Names of arrays that are no samples; they keep MATLAB's shape.
    sample_axis
        ``"first"``, ``"last"`` or ``"auto"``.
    is_chosen
        Whether somebody asked for just these: then text, cells and sparse matrices are errors;
        else they are noted and left out.
    notes
        Gets what is left out.

    Raises
    ------
    UnsupportedError
        See ``is_chosen``.
    ValueError
        Which axis counts samples cannot be told.
    CorruptionError
        HDF5 cannot decode what stands beside the samples.

    Notes
    -----
    MATLAB has no single values: what is 1x1 is one, unless all may be a single sample.
    """
    datasets: dict[str, tuple[str, Any]] = {}
    for name, path in chosen.items():
        dataset, place = file.dataset(path), file.place(path)
        reason = _unsupported(dataset)
        if reason and is_chosen:
            raise UnsupportedError(f"{place} {reason}")
        if reason:
            notes.append(f"{place} {reason}; it is left out")
            continue
        file.check_readable(dataset, place)
        datasets[name] = (place, dataset)
    samples = {name: found for name, found in datasets.items() if name not in beside}
    singles = {name: found for name, found in samples.items() if found[1].size == 1}
    others = [dataset.shape[::-1] for name, (_, dataset) in samples.items() if name not in singles]
    if not others or all(1 in _candidates(size, sample_axis) for size in others):
        singles = {}
    samples = {name: found for name, found in samples.items() if name not in singles}
    num_samples = _num_samples(
        file.path, {name: d.shape[::-1] for name, (_, d) in samples.items()}, sample_axis
    )
    columns: dict[str, Column] = {}
    for name, (place, dataset) in samples.items():
        size = dataset.shape[::-1]
        is_first = sample_axis == "first" if sample_axis != "auto" else size[0] == num_samples
        if _is_vector(size):
            # MATLAB has no arrays of one axis: a vector lies or stands.
            is_first = size[0] == num_samples
        attributes = json_attributes(
            {key: value for key, value in dataset.attrs.items() if key not in _OWN}, place, notes
        )
        column: Column = _MatlabColumn(
            place, dataset, is_first=is_first, identity=file.identity, attributes=attributes
        )
        if _is_vector(size):
            column = ReshapedColumn(column, ())
        columns[name] = _as_bool(column) if _class_of(dataset) == "logical" else column
    aside = {
        name: _whole(place, dataset)
        for name, (place, dataset) in datasets.items()
        if name in beside
    }
    values = {name: _whole(*found).reshape(-1)[0] for name, found in singles.items()}
    return columns, aside, values


def _whole(place: str, dataset: Any) -> NDArray[Any]:
    """Return a variable with MATLAB's shape."""
    check_beside(place, dataset.nbytes)
    try:
        values = np.ascontiguousarray(dataset[()].T)
    except OSError as error:
        raise CorruptionError(f"{place} cannot be read: {error}") from error
    return values.astype(np.bool_) if _class_of(dataset) == "logical" else values


def _unsupported(dataset: Any) -> str:
    """Return why a variable cannot be an array, or ""."""
    if dataset.attrs.get("MATLAB_empty", 0):
        return "is empty in MATLAB"
    if "MATLAB_sparse" in dataset.attrs or "MATLAB_sparse" in dataset.parent.attrs:
        return "is part of a sparse matrix; save full(...) of it in MATLAB"
    kind = _class_of(dataset)
    if kind and kind not in _NUMERIC:
        return f"is a MATLAB {kind}, of which only numbers and logicals are read"
    if dataset.dtype.kind not in "iufb":
        return f"holds {dataset.dtype}, of which only numbers and logicals are read"
    return ""


def _class_of(dataset: Any) -> str:
    kind = dataset.attrs.get(_CLASS, b"")
    return kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)


def _is_vector(size: tuple[int, ...]) -> bool:
    return len(size) == 2 and 1 in size


def _num_samples(path: str, sizes: Mapping[str, tuple[int, ...]], sample_axis: str) -> int:
    """Return the one length that all variables can have as their number of samples."""
    if not sizes:
        return 0
    common = set.intersection(*(_candidates(size, sample_axis) for size in sizes.values()))
    both = [name for name, size in sizes.items() if not _is_vector(size) and size[0] == size[-1]]
    if len(common) == 1 and not (both and sample_axis == "auto"):
        return common.pop()
    shown = ", ".join(f"{name}: {'x'.join(map(str, size))}" for name, size in sizes.items())
    if not common:
        raise ValueError(
            f"{path}: the variables have no number of samples in common: {shown}; choose with "
            "arrays=, and name those that are no samples in beside="
        )
    raise ValueError(
        f"{path}: the first or the last axis may count samples: {shown}; say sample_axis='first' "
        "or 'last' (--sample-axis)"
    )


def _candidates(size: tuple[int, ...], sample_axis: str) -> set[int]:
    """Return what may be the number of samples of a variable."""
    if _is_vector(size):
        return {max(size)}
    if sample_axis == "auto":
        return {size[0], size[-1]}
    return {size[0] if sample_axis == "first" else size[-1]}


def _as_bool(column: Column) -> Column:
    def as_bool(values: NDArray[Any], _: int) -> NDArray[Any]:
        return values.astype(np.bool_)

    return MappedColumn(column, as_bool, sample_shape=column.shape[1:], dtype=np.dtype(np.bool_))
