"""Which source reads an array of another library?

A class is known by its name and the package that defines it, so a library that a person does not
have is never imported. What no file here knows is read by slices, see `SlicedSource`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chunkstore.sources.dask_array import DaskSource
from chunkstore.sources.hdf5 import Hdf5Source
from chunkstore.sources.sliced import SlicedSource
from chunkstore.sources.tensorstore_array import TensorStoreSource
from chunkstore.sources.zarr_array import ZarrSource

if TYPE_CHECKING:
    from collections.abc import Callable

_BY_CLASS: Final[dict[tuple[str, str], Callable[[str, Any], SlicedSource]]] = {
    ("h5py", "Dataset"): Hdf5Source,
    ("zarr", "Array"): ZarrSource,
    ("dask", "Array"): DaskSource,
    ("tensorstore", "TensorStore"): TensorStoreSource,
}


def foreign_source(name: str, array: Any) -> SlicedSource:
    """Return an array of another library as a `ChunkSource`; nothing of it is read.

    Parameters
    ----------
    name
        How errors call the array.
    array
        An h5py Dataset, a zarr, dask or TensorStore array, an xarray DataArray, or anything with
        ``shape``, ``dtype`` and slices along axis 0. Kept, not copied, and never closed.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, or cannot be loaded: no sample axis, unknown length, a closed file.
    UnsupportedError
        If its elements have no fixed size.

    Examples
    --------
    >>> import dask.array
    >>> source = foreign_source("x", dask.array.ones((10, 2), chunks=(4, 2)))
    >>> source.chunk_length, source.num_chunks
    (10, 1)
    """
    for base in type(array).__mro__:
        class_name = (base.__module__.partition(".")[0], base.__qualname__)
        if class_name == ("xarray", "DataArray") and array.chunks is not None:
            # In blocks, it has a dask array inside.
            return DaskSource(name, array.data)
        if class_name in _BY_CLASS:
            return _BY_CLASS[class_name](name, array)
    return SlicedSource(name, array)
