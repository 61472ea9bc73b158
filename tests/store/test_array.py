"""Does an array of a file behave as its documentation says, whatever is stored in it?"""

from __future__ import annotations

import copy
import os
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chunkstore as cs
from chunkstore.format.codecs import CodecChain
from tests.store.stores import DTYPES, STRUCTURE, check_file, random_array, write


@pytest.mark.parametrize("dtype", [*DTYPES, STRUCTURE], ids=str)
@pytest.mark.parametrize("shape", [(0,), (1,), (23,), (7, 3, 2)], ids=str)
def test_every_data_type_comes_back_as_it_was(dtype, shape, tmp_path):
    x = random_array(shape, dtype, seed=3)
    check_file(write(tmp_path / "a.zarr.zip", {"x": x}, chunk_length=5), {"x": x})


@pytest.mark.parametrize(
    "dtype", [">i4", ">f8", ">c16", ">U3", ">M8[s]", [("a", ">i4"), ("b", "<f2")]], ids=str
)
def test_big_endian_values_come_back_in_native_order(dtype, tmp_path):
    x = random_array((11, 2), np.dtype(dtype).newbyteorder("="), seed=4).astype(dtype)
    path = tmp_path / "a.zarr.zip"
    with cs.create(path) as writer:
        writer.append(x=x[:4])
        writer.append(x=x[4:])
    with cs.open(path) as store:
        assert store["x"].dtype.isnative
        np.testing.assert_array_equal(store["x"][...], x)


@given(
    x=hnp.arrays(
        st.sampled_from(["f2", "f4", "f8", "c8", "c16", "M8[us]", "u1", "?", "i8"]),
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6),
    ),
    chunk_length=st.integers(1, 12),
    codec=st.sampled_from(["zstd", "lz4", "lz4hc", "blosclz", "zlib", "gzip", "raw"]),
    shuffle=st.sampled_from(["none", "byte", "bit", "auto"]),
)
def test_every_bit_pattern_comes_back(x, chunk_length, codec, shuffle, tmp_path_factory):
    path = tmp_path_factory.mktemp("bits") / "a.zarr.zip"
    write(path, {"x": x}, chunk_length=chunk_length, codec=codec, shuffle=shuffle)
    check_file(path, {"x": x})


@pytest.mark.parametrize(
    "shape",
    [(0, 3), (5, 0), (0, 0), (1, 1), (4, 2, 0, 3)],
    ids=lambda shape: "x".join(map(str, shape)),
)
def test_empty_arrays_keep_their_shape(shape, tmp_path):
    x = np.zeros(shape, "f4")
    path = write(tmp_path / "a.zarr.zip", {"x": x})
    check_file(path, {"x": x})
    with cs.append(path) as writer:
        writer.append(x=np.ones((2, *shape[1:]), "f4"))
    check_file(path, {"x": np.concatenate([x, np.ones((2, *shape[1:]), "f4")])})


def test_a_chunk_may_be_longer_than_the_array_and_a_sample_larger_than_a_chunk(tmp_path):
    x = random_array((3, 50, 50), "f4")
    path = write(tmp_path / "long.zarr.zip", {"x": x}, chunk_length=1000)
    check_file(path, {"x": x})
    path = tmp_path / "wide.zarr.zip"
    cs.save(path, {"x": x}, chunk_nbytes=100)
    with cs.open(path) as store:
        assert store["x"].chunk_shape == (2, 50, 50)  # 16 KiB is the least
    cs.save(path, {"x": np.tile(x, (1, 1, 40))}, chunk_nbytes=100, overwrite=True)
    with cs.open(path) as store:
        assert store["x"].chunk_shape == (1, 50, 2000)
    check_file(path, {"x": np.tile(x, (1, 1, 40))})


@pytest.fixture
def store(tmp_path):
    x = random_array((23, 4), "f4", seed=1)
    path = write(
        tmp_path / "a.zarr.zip", {"x": x, "y": np.arange(23)}, chunk_length=5, attributes={"a": [1]}
    )
    with cs.open(path) as store:
        yield store


def test_an_array_describes_itself(store):
    x = store["x"]
    assert (x.name, x.shape, x.dtype, x.ndim, x.size, len(x)) == ("x", (23, 4), "f4", 2, 92, 23)
    assert (x.nbytes, x.chunk_length, x.num_chunks, x.chunk_shape) == (368, 5, 5, (5, 4))
    assert 0 < x.encoded_nbytes < store.file_nbytes
    assert x.dimension_names == ("sample", "x_1")
    assert x.codec.startswith("blosc zstd-1")
    assert repr(x).startswith("<chunkstore.Array 'x' shape=(23, 4) dtype=float32 chunk_length=5")
    assert store.num_samples == 23
    assert store.sample_arrays == ("x", "y")
    assert store.attributes == {"a": [1]}
    assert list(store) == ["x", "y"]


def test_a_name_that_is_not_there_is_a_key_error_that_lists_those_that_are(store):
    with pytest.raises(KeyError, match=r"no array 'z'; there are 'x', 'y'"):
        store["z"]


def test_iteration_yields_the_samples_and_decodes_each_chunk_once(store, monkeypatch):
    x = store["x"][...]
    decoded = []
    decode_into = CodecChain.decode_into
    monkeypatch.setattr(
        CodecChain,
        "decode_into",
        lambda self, encoded, out: (decoded.append(0), decode_into(self, encoded, out))[1],
    )
    np.testing.assert_array_equal(list(store["x"]), x)
    assert len(decoded) == 5
    assert [chunk.shape[0] for chunk in store["x"].iter_chunks()] == [5, 5, 5, 5, 3]
    np.testing.assert_array_equal(np.concatenate(list(store["x"].iter_chunks())), x)


def test_asarray_is_allowed_for_small_arrays_and_names_the_loader_for_large_ones(store):
    x = store["x"][...]
    np.testing.assert_array_equal(np.asarray(store["x"]), x)
    assert np.asarray(store["x"], "f8").dtype == np.float64
    with (
        cs.defaults(asarray_nbytes=x.nbytes - 1),
        pytest.raises(
            ValueError, match=r"array 'x' takes 368 bytes; .* up to 367 bytes.*chunkstore\.Loader"
        ),
    ):
        np.asarray(store["x"])
    with cs.defaults(asarray_nbytes=x.nbytes):
        np.asarray(store["x"])
    with pytest.raises(ValueError, match="reading it always copies"):
        np.array(store["x"], copy=False)


def test_a_closed_store_says_so(store):
    x = store["x"]
    x[3]
    store.close()
    store.close()
    for read in (lambda: x[0], lambda: np.asarray(x), lambda: next(x.iter_chunks())):
        with pytest.raises(ValueError, match=r"a\.zarr\.zip: the store is closed; open it again"):
            read()
    assert x.shape == (23, 4)


@pytest.mark.parametrize(
    "copied", [lambda o: pickle.loads(pickle.dumps(o)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_a_copied_store_or_array_is_opened_again(copied, store):
    other = copied(store)
    np.testing.assert_array_equal(other["x"][...], store["x"][...])
    other.close()
    store["x"][0]
    array = copied(store["x"])
    np.testing.assert_array_equal(array[[4, -1]], store["x"][[4, -1]])
    assert array.name == "x"


def test_an_array_that_changed_since_it_was_pickled_is_refused(store):
    pickled = pickle.dumps(store["x"])
    with cs.append(store.path) as writer:
        writer.append(x=np.zeros((1, 4), "f4"), y=[0])
    with pytest.raises(cs.CorruptionError, match="array 'x' has changed since it was pickled"):
        pickle.loads(pickled)


def test_threads_that_share_an_array_all_read_right(tmp_path):
    x = random_array((400, 64), "f4", seed=5)
    path = write(tmp_path / "a.zarr.zip", {"x": x}, chunk_length=16)
    start = threading.Barrier(4)
    with cs.open(path) as store:
        array = store["x"]

        def read(seed):
            rng = np.random.default_rng(seed)
            start.wait()
            for _ in range(100):
                numbers = rng.integers(0, 400, 9)
                np.testing.assert_array_equal(array[numbers], x[numbers])
            return True

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(read, range(4)))


def test_a_large_index_is_read_by_several_threads_and_is_right(tmp_path):
    x = random_array((600, 64, 256), "u1", seed=6)
    path = write(tmp_path / "a.zarr.zip", {"x": x}, chunk_length=64, codec="lz4")
    numbers = np.random.default_rng(0).permutation(600)
    with cs.open(path) as store:
        np.testing.assert_array_equal(store["x"][...], x)
        np.testing.assert_array_equal(store["x"][numbers], x[numbers])
        np.testing.assert_array_equal(store["x"][::-1, ::2], x[::-1, ::2])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_3000_reads_in_forked_processes_and_threads_are_all_right(tmp_path):
    x = random_array((300, 50), "f4", seed=7)
    path = write(tmp_path / "a.zarr.zip", {"x": x}, chunk_length=8)
    with cs.open(path) as store:
        array = store["x"]

        def read(seed, count):
            rng = np.random.default_rng(seed)
            for _ in range(count):
                numbers = rng.integers(0, 300, 2)
                if array[numbers].tobytes() != x[numbers].tobytes():
                    return False
            return True

        read(0, 3)
        children = []
        for seed in (1, 2):
            pid = os.fork()
            if pid == 0:
                os._exit(0 if read(seed, 750) else 1)
            children.append(pid)
        with ThreadPoolExecutor(2) as pool:
            assert all(pool.map(read, (3, 4), (750, 750)))
        for pid in children:
            assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_forked_while_other_threads_read_does_not_wait_for_them(store):
    expected = store["x"][...].tobytes()
    stop = threading.Event()

    def read():
        while not stop.is_set():
            store["x"][3:9]

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                os._exit(0 if store["x"][...].tobytes() == expected else 1)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_samples_are_not_changed_in_place_and_the_error_says_what_is_there(tmp_path):
    cs.save(tmp_path / "a.zarr.zip", {"x": np.arange(4)})
    with (
        cs.open(tmp_path / "a.zarr.zip") as store,
        pytest.raises(TypeError, match=r"array 'x' .* is not changed in place; chunkstore\.append"),
    ):
        store["x"][0] = 1
