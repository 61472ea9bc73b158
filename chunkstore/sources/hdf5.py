"""How is an h5py dataset read as it is?

HDF5 allows one thread at a time (h5py has one lock for everything), so threads overlap its reads
only with moving samples. The file is the caller's: opened before, closed after.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from chunkstore.sources.sliced import SlicedSource

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Hdf5Source(SlicedSource):
    """An h5py Dataset as a `ChunkSource`; see `SlicedSource`.

    Notes
    -----
    A contiguous dataset is read by about 1 MiB. The file's base name, the name of the dataset and
    the bytes it takes in the file are part of the fingerprint.
    """

    def __init__(self, name: str, array: Any) -> None:
        _check_open(name, array)
        if array.shape is None:
            raise ValueError(f"array {name!r} is an empty HDF5 dataspace: it has no sample axis")
        super().__init__(name, array)

    def identity(self) -> str:
        """Return where the dataset stands, and how many bytes it takes there."""
        file = Path(str(self.array.file.filename)).name
        return repr((file, self.array.name, self.array.chunks, self.array.id.get_storage_size()))

    def check_readable(self) -> None:
        """Raise ValueError if the file was closed or the dataset resized."""
        _check_open(self.name, self.array)
        super().check_readable()

    def temporary_nbytes(self) -> int:
        """Return the bytes of a chunk of the file, encoded and decoded: HDF5 has one at a time."""
        chunks = self.array.chunks
        return 0 if chunks is None else 2 * math.prod(chunks) * self.dtype.itemsize

    def read_samples_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read into the caller's memory; HDF5 converts the byte order on the way."""
        if out.nbytes:
            self.array.read_direct(out, np.s_[start:stop])

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"array {self.name!r} is an h5py dataset, which cannot be pickled: it belongs to a "
            f"file that this process has open ({self.array!r}). Open the file and make the Loader "
            "in each process, or write a store with chunkstore.save"
        )


def _check_open(name: str, array: Any) -> None:
    if not array:
        raise ValueError(
            f"array {name!r} is a dataset of an HDF5 file that is closed; keep the file open "
            "while it is loaded from"
        )
