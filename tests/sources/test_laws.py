"""Laws of the Loader hold over the arrays of every library."""

from __future__ import annotations

import warnings

import dask
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.pipeline.fitting import known_array
from chunkstore.pipeline.memory import MemorySource
from chunkstore.sources import sliced
from tests.sources.foreign import KINDS, dask_array

VALUES = np.random.Generator(np.random.Philox(5)).integers(-999, 999, (303, 6), dtype=np.int32)
ARGUMENTS = {"batch_size": 16, "seed": 3, "memory": "1MiB", "window": 4}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    # So that 303 samples are many units: about ten samples are read together.
    monkeypatch.setattr(sliced, "DEFAULT_CHUNK_NBYTES", 10 * VALUES.itemsize * VALUES.shape[1])
    for module in ("zarr_array", "dask_array"):
        monkeypatch.setattr(f"chunkstore.sources.{module}.DEFAULT_CHUNK_NBYTES", 240)


@pytest.fixture(params=KINDS)
def foreign(request, tmp_path):
    with KINDS[request.param](VALUES, tmp_path) as array:
        yield array


def check_laws(array, values):
    """Every sample once an epoch, in the order of numpy, for any threads; batches stay; resume."""
    length = known_array("x", array).chunk_length if not isinstance(array, np.ndarray) else 10
    reference = {"x": MemorySource("x", values, chunk_length=length)}
    labels = np.arange(len(values))
    with cs.Loader(reference, ("x", "@index"), **ARGUMENTS) as loader:
        expected = [[index for _, index in loader] for _ in range(2)]
    assert sorted(np.concatenate(expected[0])) == list(range(len(values)))
    given = known_array("x", array) if not isinstance(array, np.ndarray) else reference["x"]
    for threads in (1, 4):
        arrays = {"x": given, "y": labels}
        with cs.Loader(arrays, ("x", "y", "@index"), threads=threads, **ARGUMENTS) as loader:
            epochs = [list(loader) for _ in range(2)]
            iterator = iter(loader)
            next(iterator)
            state = loader.state_dict()
            rest = [index for *_, index in iterator]
        for epoch, wanted in zip(epochs, expected, strict=True):
            for (x, y, index), order in zip(epoch, wanted, strict=True):
                assert np.array_equal(index, order)
                # All batches were kept until here.
                assert np.array_equal(x, values[index])
                assert np.array_equal(y, index)
                assert x.dtype.isnative
        with cs.Loader(arrays, ("x", "y", "@index"), threads=threads, **ARGUMENTS) as loader:
            loader.load_state_dict(state)
            assert all(np.array_equal(a, b) for a, (*_, b) in zip(rest, list(loader), strict=True))


def test_an_epoch_over_any_library_is_that_of_numpy(foreign):
    check_laws(foreign, VALUES)


@settings(max_examples=15)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=30).filter(lambda n: sum(n) > 0),
    st.integers(1, 6),
)
def test_dask_blocks_may_be_cut_in_any_way(lengths, width):
    values = np.arange(sum(lengths) * 6).reshape(-1, 6)
    with dask_array(values, tuple(lengths), width) as array:
        check_laws(array, values)


def test_parts_splits_joins_statistics_and_files_are_those_of_numpy(foreign, tmp_path):
    data = {"x": foreign, "y": np.arange(303)}
    some = cs.select(data, slice(20, 250))
    with cs.Loader(some, ("x", "y"), **ARGUMENTS) as loader:
        batches = list(loader)
    assert sorted(np.concatenate([y for _, y in batches])) == list(range(20, 250))
    assert all(np.array_equal(x, VALUES[y]) for x, y in batches)
    assert np.array_equal(some["x"][[0, 100]], VALUES[[20, 120]])

    with warnings.catch_warnings():
        # Some of them are a single chunk.
        warnings.filterwarnings("ignore", "the split leaves no sample", cs.ChunkStoreWarning)
        parts = cs.split(data, {"train": 0.5, "val": 0.5}, by="chunk", chunks_of="x")
    assert parts["train"].num_samples + parts["val"].num_samples == 303
    both = cs.concat([data, {"x": VALUES, "y": np.arange(303)}])
    with cs.Loader(both, ("x", "y"), batch_size=16) as loader:
        assert all(np.array_equal(x, VALUES[y]) for x, y in loader)
    with cs.Loader(data, "x", balance=np.arange(303) % 2, batch_size=16) as loader:
        assert sum(map(len, loader)) == 303

    assert np.allclose(cs.mean(data, "x"), VALUES.mean(axis=0))
    assert np.allclose(cs.std(data, "x"), VALUES.std(axis=0))
    # The threads of dask's own scheduler would outlive the test.
    with dask.config.set(scheduler="synchronous"):
        cs.save(tmp_path / "x.zarr.zip", {"x": foreign})
    assert np.array_equal(cs.load(tmp_path / "x.zarr.zip")["x"], VALUES)
    cs.predict(lambda x: x * 2, data, tmp_path / "p.zarr.zip", arrays="x", batch_size=50)
    with cs.open(tmp_path / "p.zarr.zip") as store:
        (name,) = store
        assert np.array_equal(store[name][...], VALUES * 2)


def test_a_memory_map_is_loaded_like_an_array(tmp_path):
    np.save(tmp_path / "x.npy", VALUES)
    check_laws(np.load(tmp_path / "x.npy", mmap_mode="r"), VALUES)


@pytest.mark.parametrize("dtype", ["?", "f2", "S5", "c8", [("a", ">i4"), ("b", "f8", (2,))]])
@pytest.mark.parametrize("kind", ["hdf5-contiguous", "dask-regular", "sliceable"])
def test_fixed_size_types_arrive_as_they_are(dtype, kind, tmp_path):
    values = np.zeros((40, 3), dtype)
    if values.dtype.names:
        values["a"] = np.arange(120).reshape(40, 3)
    else:
        values[...] = np.arange(120).reshape(40, 3) % 7
    with (
        KINDS[kind](values, tmp_path) as array,
        cs.Loader({"x": array}, ("x", "@index"), **ARGUMENTS) as loader,
    ):
        for x, index in loader:
            assert np.array_equal(x, values[index])


def test_no_samples_make_no_batches(tmp_path):
    with (
        KINDS["hdf5-contiguous"](VALUES[:0], tmp_path) as array,
        cs.Loader({"x": array, "z": zarr_of_nothing()}, **ARGUMENTS) as loader,
    ):
        assert list(loader) == []


def zarr_of_nothing():
    return zarr.create_array({}, shape=(0, 3), chunks=(4, 3), dtype="u1")
