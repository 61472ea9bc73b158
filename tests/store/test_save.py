"""Does save take what people have, block by block, and does load give it back?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.store import samples
from tests.store.stores import check_file, names, random_array

X = random_array((100, 6), "f4", seed=2)
Y = np.arange(100)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.zarr.zip"


def test_numpy_arrays_and_lists_are_saved_and_loaded(path):
    cs.save(
        path,
        {"x": X, "y": Y.tolist(), "word": ["a", "bcd"] * 50, "group/deep": X[:, :1]},
        unaligned={"mean": X.mean(axis=0), "none": np.zeros((0, 2))},
        attributes={"k": "v"},
    )
    expected = {
        "x": X,
        "y": Y,
        "word": np.array(["a", "bcd"] * 50),
        "group/deep": X[:, :1],
        "mean": X.mean(axis=0),
        "none": np.zeros((0, 2)),
    }
    check_file(path, expected)
    loaded = cs.load(path)
    assert set(loaded) == set(expected)
    assert set(cs.load(path, ["y", "mean"])) == {"y", "mean"}
    loaded["x"][:] = 0
    check_file(path, expected)
    with pytest.raises(KeyError, match="no array 'z'"):
        cs.load(path, ["z"])
    with pytest.raises(TypeError, match=r"write \['y'\]"):
        cs.load(path, "y")


@given(
    blocks=st.lists(st.integers(0, 30), min_size=1, max_size=8), block_nbytes=st.integers(1, 999)
)
def test_dask_arrays_with_blocks_of_any_length_are_computed_once_each(
    blocks, block_nbytes, tmp_path_factory
):
    from tests.support import require

    array = require("dask.array")
    dask = require("dask")
    path = tmp_path_factory.mktemp("dask") / "a.zarr.zip"
    bounds = np.cumsum([0, *blocks])
    x = random_array((int(bounds[-1]), 4), "f4", seed=3)
    computed = []

    def part(start, stop):
        computed.append((start, stop))
        return x[start:stop]

    parts = [
        array.from_delayed(
            dask.delayed(part)(int(start), int(stop)), (int(stop - start), 4), x.dtype
        )
        for start, stop in itertools.pairwise(bounds)
    ]
    with pytest.MonkeyPatch.context() as patch, dask.config.set(scheduler="synchronous"):
        patch.setattr(samples, "_BLOCK_NBYTES", block_nbytes)
        cs.save(path, {"x": array.concatenate(parts)})
    check_file(path, {"x": x})
    wanted = [(int(a), int(b)) for a, b in itertools.pairwise(bounds) if a < b]
    assert sorted(block for block in computed if block[0] < block[1]) == wanted


def test_a_dask_array_of_unknown_length_is_refused_with_the_cure(path, require):
    array = require("dask.array")
    x = array.from_array(Y, chunks=10)
    with pytest.raises(ValueError, match=r"array 'x': .*not known.*compute_chunk_sizes"):
        cs.save(path, {"x": x[x > 5]})
    with require("dask").config.set(scheduler="synchronous"):
        cs.save(path, {"x": x[x > 5].compute_chunk_sizes()})
    check_file(path, {"x": Y[6:]})


@pytest.mark.leaves_open("zarr keeps an event loop for the life of the process")
def test_zarr_arrays_are_saved(path, require):
    zarr = require("zarr")
    source = zarr.create_array({}, data=X, chunks=(7, 3))
    cs.save(path, {"x": source, "y": zarr.create_array({}, data=Y, chunks=(13,))})
    check_file(path, {"x": X, "y": Y})


def test_hdf5_data_sets_are_saved(path, tmp_path, require):
    h5py = require("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = X
        file["big"] = X.astype(">f8")
        file.create_dataset("y", data=Y, chunks=(9,), compression="gzip")
    with h5py.File(tmp_path / "a.h5") as file:
        cs.save(path, {name: file[name] for name in file})
    check_file(path, {"x": X, "y": Y, "big": X.astype("f8")})


def test_arrays_of_a_store_are_saved_into_another(path, tmp_path):
    cs.save(tmp_path / "b.zarr.zip", {"x": X, "y": Y}, chunk_nbytes=100)
    with cs.open(tmp_path / "b.zarr.zip") as store:
        cs.save(path, store)
    check_file(path, {"x": X, "y": Y})


def test_anything_with_shape_dtype_and_slices_is_read_block_by_block(path, monkeypatch):
    monkeypatch.setattr(samples, "_BLOCK_NBYTES", 1000)
    read = []

    class Lazy:
        shape, dtype = X.shape, X.dtype

        def __getitem__(self, index):
            read.append((index.start, index.stop))
            return X[index]

    with cs.defaults(chunk_nbytes=240):
        cs.save(path, {"x": Lazy()})
    check_file(path, {"x": X})
    assert read[0][0] == 0
    assert read[-1][1] == 100
    assert [stop for _, stop in read[:-1]] == [start for start, _ in read[1:]]


@pytest.mark.parametrize(
    ("arrays", "kind", "message"),
    [
        ({"x": X, "y": Y[:9]}, ValueError, r"same number of samples .* got x: 100, y: 9; .*unalig"),
        ({}, ValueError, "at least one array"),
        ([X], TypeError, r"a mapping from names to arrays, such as \{'x': x\}; got list"),
        ({"x": 5}, ValueError, "array 'x': .* got a scalar"),
        ({"x": np.array([None])}, TypeError, "Python objects"),
        ({"x y/..": X}, ValueError, "an array's name"),
    ],
    ids=["lengths", "none", "list", "scalar", "objects", "name"],
)
def test_what_cannot_be_saved_is_refused_and_leaves_nothing(arrays, kind, message, path, tmp_path):
    with pytest.raises(kind, match=message):
        cs.save(path, arrays)
    assert names(tmp_path) == []


def test_a_name_given_twice_is_refused(path):
    with pytest.raises(ValueError, match="x: given as aligned and as unaligned"):
        cs.save(path, {"x": X}, unaligned={"x": X})


def test_save_replaces_a_file_only_when_told_and_only_when_complete(path):
    cs.save(path, {"x": X})
    with pytest.raises(FileExistsError):
        cs.save(path, {"x": Y})
    check_file(path, {"x": X})

    class Failing:
        shape, dtype = (10_000_000,), np.dtype("i8")

        def __getitem__(self, index):
            if index.start:
                raise RuntimeError("the source is gone")
            return np.zeros(index.stop - index.start, np.int64)

    with pytest.raises(RuntimeError, match="the source is gone"):
        cs.save(path, {"x": Failing()}, overwrite=True)
    check_file(path, {"x": X})
    cs.save(path, {"x": Y}, overwrite=True)
    check_file(path, {"x": Y})


def test_a_progress_bar_is_shown_when_asked_for(path, capsys, monkeypatch):
    monkeypatch.setattr("chunkstore.progress._DELAY_SECONDS", 0)
    cs.save(path, {"x": X}, progress=True)
    assert "writing" in capsys.readouterr().err
    cs.save(path, {"x": X}, overwrite=True)
    assert capsys.readouterr() == ("", "")
