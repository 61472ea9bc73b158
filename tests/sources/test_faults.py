"""What cannot be loaded is refused with a sentence, and what breaks while reading is an error."""

from __future__ import annotations

import pickle
import subprocess
import sys
from itertools import count

import dask
import dask.array
import h5py
import numpy as np
import pytest
import zarr

import chunkstore as cs
from chunkstore.sources.dask_array import DaskSource, fitting_length, touched_samples
from chunkstore.sources.hdf5 import Hdf5Source
from chunkstore.sources.recognise import foreign_source
from chunkstore.sources.sliced import SlicedSource
from chunkstore.sources.zarr_array import ZarrSource
from tests.sources.foreign import Sliceable, hdf5
from tests.support import REPOSITORY, require

VALUES = np.arange(4000, dtype=np.int64).reshape(1000, 4)


def load(array, **arguments):
    with cs.Loader(
        {"x": array}, "x", **{"batch_size": 10, "memory": "16MiB"} | arguments
    ) as loader:
        return list(loader)


def test_a_damaged_hdf5_chunk_is_an_error_that_names_array_and_samples(tmp_path):
    with hdf5(VALUES, tmp_path, chunks=(100, 4), fletcher32=True) as x:
        offset = x.id.get_chunk_info(5).byte_offset
    damaged = bytearray((tmp_path / "data.h5").read_bytes())
    damaged[offset + 8] ^= 1
    (tmp_path / "data.h5").write_bytes(damaged)
    with h5py.File(tmp_path / "data.h5") as file, pytest.raises(OSError, match="read") as caught:
        load(file["x"])
    assert caught.value.__notes__ == ["while reading samples [0, 1000) of array 'x'"]


def test_a_damaged_zarr_chunk_is_an_error_that_names_array_and_samples(tmp_path):
    x = zarr.create_array(tmp_path / "x.zarr", data=VALUES, chunks=(100, 4))
    (tmp_path / "x.zarr/c/5/0").write_bytes(b"no frame of any codec")
    with pytest.raises(Exception, match=r".") as caught:
        load(x)
    assert "while reading samples [0, 1000) of array 'x'" in caught.value.__notes__


def test_a_file_that_is_closed_is_named_before_and_during_loading(tmp_path):
    with hdf5(VALUES, tmp_path) as x:
        loader = cs.Loader({"x": x}, "x", batch_size=10, memory="16MiB")
    with loader, pytest.raises(ValueError, match="'x' is a dataset of an HDF5 file that is closed"):
        list(loader)
    with pytest.raises(ValueError, match="'x' is a dataset of an HDF5 file that is closed"):
        load(x)


def test_a_dataset_that_is_resized_is_an_error(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        x = file.create_dataset("x", data=VALUES, chunks=(100, 4), maxshape=(None, 4))
        with cs.Loader({"x": x}, "x", batch_size=10, memory="16MiB") as loader:
            x.resize(900, axis=0)
            with pytest.raises(ValueError, match=r"had shape \(1000, 4\) when it was given"):
                list(loader)


def test_an_array_that_gives_other_samples_than_it_says_is_an_error():
    short, other = Sliceable(VALUES), Sliceable(VALUES)
    short.array = VALUES[:500]
    other.array = VALUES.astype("f4")
    with pytest.raises(ValueError, match=r"gives shape \(500, 4\) for its samples \[0, 1000\)"):
        load(short)
    with pytest.raises(TypeError, match="has dtype int64, but gives float32"):
        load(other)


def test_an_hdf5_dataset_refuses_to_be_pickled_by_name_and_zarr_goes_along(tmp_path):
    with hdf5(VALUES, tmp_path) as x:
        view = cs.select({"x": x}, slice(3))
        with pytest.raises(TypeError, match="'x' is an h5py dataset, which cannot be pickled"):
            pickle.dumps(view)
    stored = zarr.create_array(tmp_path / "x.zarr", data=VALUES)
    arguments = {"batch_size": 10, "memory": "16MiB"}
    with (
        cs.Loader({"x": stored}, "x", **arguments) as loader,
        pickle.loads(pickle.dumps(loader)) as copy,
    ):
        assert all(map(np.array_equal, loader, copy))


def test_a_position_does_not_go_on_in_another_file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as a, h5py.File(tmp_path / "b.h5", "w") as b:
        a["x"] = b["x"] = VALUES
        with cs.Loader({"x": a["x"]}, "x", batch_size=10) as loader:
            state = loader.state_dict()
        with (
            cs.Loader({"x": b["x"]}, "x", batch_size=10) as loader,
            pytest.raises(ValueError, match="layout"),
        ):
            loader.load_state_dict(state)


class NoDtype:
    shape = (3,)


def _unknown_length():
    x = dask.array.ones((10, 2), chunks=(5, 2))
    return x[x[:, 0] > 0]


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: [1, 2, 3], TypeError, "must be an array .*; got list"),
        (NoDtype, TypeError, "got NoDtype"),
        (lambda: zarr.create_array({}, shape=(), dtype="u1"), ValueError, "no sample axis"),
        (lambda: dask.array.ones(()), ValueError, "no sample axis"),
        (_unknown_length, ValueError, "compute_chunk_sizes"),
        (lambda: zarr.create_array({}, shape=(3,), dtype="str"), cs.UnsupportedError, "no fixed"),
        (
            lambda: dask.array.from_array(np.array([None, 1]), chunks=1),
            cs.UnsupportedError,
            "no fixed",
        ),
        (lambda: np.ma.masked_equal(np.arange(4), 2), TypeError, "masked"),
    ],
    ids=["list", "no-dtype", "zarr-0d", "dask-0d", "nan", "strings", "objects", "masked"],
)
def test_what_cannot_be_loaded_is_refused_with_its_name(make, error, text):
    with pytest.raises(error, match=f"'x'.*{text}"):
        load(make())


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda file: file.create_dataset("x", data=["a", "bc"]), cs.UnsupportedError),
        (lambda file: file.create_dataset("x", data=h5py.Empty("f4")), ValueError),
        (lambda file: file.create_dataset("x", data=1.0), ValueError),
        (lambda file: file.create_group("x"), TypeError),
        (
            lambda file: file.create_dataset("x", (3,), dtype=h5py.vlen_dtype("i4")),
            cs.UnsupportedError,
        ),
    ],
    ids=["vlen-strings", "empty", "scalar", "group", "vlen"],
)
def test_hdf5_objects_that_cannot_be_loaded_are_refused(make, error, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file, pytest.raises(error, match="'x'"):
        load(make(file))


def test_masked_values_of_a_dask_array_are_refused():
    x = dask.array.ma.masked_equal(dask.array.arange(10, chunks=5), 7)
    with pytest.raises(TypeError, match="values are masked"):
        load(x)


def test_libraries_are_told_apart_by_their_classes(tmp_path):
    with hdf5(VALUES, tmp_path) as x:
        assert type(foreign_source("x", x)) is Hdf5Source
    assert type(foreign_source("x", zarr.create_array({}, data=VALUES))) is ZarrSource
    assert type(foreign_source("x", dask.array.ones(3))) is DaskSource
    assert type(foreign_source("x", Sliceable(VALUES))) is SlicedSource


@pytest.mark.parametrize(
    ("lengths", "wanted", "length"),
    [
        ([4, 4, 4, 2], 1, 4),
        ([4, 4, 4, 9], 1, 8),
        ([3, 5] * 6, 20, 16),
        ([3, 5] * 6, 1, 5),
        ([0, 0], 7, 1),
        ([10], 3, 10),
    ],
)
def test_a_chunk_of_a_dask_array_cuts_few_blocks(lengths, wanted, length):
    assert fitting_length(np.array(lengths), wanted=wanted) == length


def test_blocks_that_a_chunk_touches_are_counted_whole():
    assert touched_samples(np.array([3, 5, 4]), length=4).tolist() == [8, 5, 4]


def test_inner_chunks_are_grouped_inside_their_shard():
    x = zarr.create_array({}, shape=(600, 65536), chunks=(1, 65536), shards=(30, 65536), dtype="u1")
    assert foreign_source("x", x).chunk_length == 15


def test_each_block_is_computed_once_an_epoch_in_the_threads_of_the_loader():
    calls = count()

    def compute(block):
        next(calls)
        return block + 1

    x = dask.array.from_array(VALUES.repeat(200, axis=1), chunks=(100, 800))
    x = x.map_blocks(compute, meta=np.empty((0, 0), np.int64))
    batches = load(x, threads=2)
    assert sum(map(len, batches)) == 1000
    assert next(calls) == 10


def test_a_scheduler_that_the_caller_chose_is_used():
    used = []

    def scheduler(graph, keys, **options):
        used.append(keys)
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=scheduler):
        load(dask.array.from_array(VALUES, chunks=(100, 4)))
    assert used


MEMORY = """
import dask.array, chunkstore as cs
from chunkstore.sources import recognise
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) << 10
x = dask.array.ones((30_000, 2048), chunks=((150, 90, 160) * 75, 2048), dtype="f4") + 1
x[:1].compute(scheduler="synchronous")
cs.Loader, recognise.foreign_source
before = peak()
with cs.Loader({"x": x}, "x", batch_size=64, memory="64MiB", threads=2) as loader:
    assert sum(len(batch) for batch in loader) == 30_000
print(x.nbytes >> 20, (peak() - before) >> 20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_dask_array_larger_than_the_budget_is_loaded_within_it():
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    whole, peak = map(int, done.stdout.split())
    assert whole > 200
    assert peak < 64 + 64


def test_a_tensorstore_is_read_by_its_chunks_and_must_begin_at_zero(tmp_path):
    ts = require("tensorstore")
    x = ts.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(tmp_path / "x.zarr")}},
        create=True,
        dtype=ts.int64,
        shape=VALUES.shape,
        chunk_layout=ts.ChunkLayout(chunk_shape=[30, 4]),
    ).result()
    x.write(VALUES).result()
    assert foreign_source("x", x).own_length() == 30
    assert foreign_source("x", ts.array(VALUES)).chunk_length == 1000
    assert np.array_equal(np.concatenate(load(x, shuffle=False)), VALUES)
    with pytest.raises(ValueError, match="its sample axis begins at 5"):
        load(x[5:])


def test_an_xarray_is_loaded_as_the_dask_array_in_it():
    xarray = require("xarray")
    whole = xarray.DataArray(VALUES)
    assert type(foreign_source("x", whole.chunk({"dim_0": 100}))) is DaskSource
    for array in (whole, whole.chunk({"dim_0": 100})):
        assert np.array_equal(np.concatenate(load(array, shuffle=False)), VALUES)
