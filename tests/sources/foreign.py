"""The same values in the arrays of every library that the Loader reads as they are."""

from __future__ import annotations

import contextlib

import dask.array
import h5py
import zarr
from zarr.storage import LocalStore, MemoryStore, ZipStore

# zarr keeps the event loop of its first call for ever: no test shall have opened it.
zarr.create_array({}, shape=(1,), dtype="u1")[...]


class Sliceable:
    """No more than the Loader asks for: shape, dtype and slices, counted."""

    def __init__(self, array, chunks=None):
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype
        self.slices = []
        if chunks is not None:
            self.chunks = chunks

    def __getitem__(self, key):
        self.slices.append((key.start, key.stop))
        return self.array[key]


@contextlib.contextmanager
def hdf5(array, folder, **options):
    path = folder / "data.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=array, **options)
    with h5py.File(path) as file:
        yield file["x"]


@contextlib.contextmanager
def zarr_in(store, array, **options):
    try:
        yield zarr.create_array(store, data=array, **options)
    finally:
        store.close()


@contextlib.contextmanager
def as_it_is(array):
    yield array


def dask_array(array, *chunks):
    return as_it_is(dask.array.from_array(array, chunks=chunks))


# How to make each, from an array of at least two axes and an empty folder.
KINDS = {
    "hdf5-chunked": lambda a, folder: hdf5(a, folder, chunks=(7, 2), compression="gzip"),
    "hdf5-contiguous": hdf5,
    "hdf5-big-endian": lambda a, folder: hdf5(a.astype(a.dtype.newbyteorder(">")), folder),
    "zarr-folder": lambda a, folder: zarr_in(LocalStore(folder / "x.zarr"), a, chunks=(7, 2)),
    "zarr-v2": lambda a, folder: zarr_in(
        LocalStore(folder / "x.zarr"), a.astype(a.dtype.newbyteorder(">")), zarr_format=2
    ),
    "zarr-zip": lambda a, folder: zarr_in(
        ZipStore(folder / "x.zip", mode="w"), a, chunks=(7, a.shape[1])
    ),
    "zarr-memory-sharded": lambda a, folder: zarr_in(
        MemoryStore(), a, chunks=(5, a.shape[1]), shards=(20, a.shape[1])
    ),
    "dask-regular": lambda a, folder: dask_array(a, 7, 2),
    "dask-irregular": lambda a, folder: dask_array(
        a, (*[3, 8, 1] * (len(a) // 12), len(a) % 12), 3
    ),
    "numpy": lambda a, folder: as_it_is(a),
    "sliceable": lambda a, folder: as_it_is(Sliceable(a, chunks=(9, 1))),
    "sliceable-unchunked": lambda a, folder: as_it_is(Sliceable(a)),
}
