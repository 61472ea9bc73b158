"""A bcolz folder has the interface of a store, and a Loader reads it."""

from __future__ import annotations

import json
import os
import pickle
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.importers.bcolz import snappy
from chunkstore.importers.bcolz.inspection import check_bcolz, inspect_bcolz
from chunkstore.pipeline.source import ChunkSource
from tests.importers.bcolz.folders import (
    blosc_frame,
    built_frame,
    chunk_file,
    images,
    write_carray,
    write_ctable,
)

X = images(53)
Y = np.arange(53, dtype=np.int64)


@pytest.fixture
def table(tmp_path):
    return write_ctable(tmp_path / "table", {"x": X, "y": Y}, chunk_length=7)


def snappy_frame(part):
    return built_frame(part.tobytes(), typesize=part.dtype.itemsize, block_nbytes=part.nbytes)


def test_everything_that_a_store_tells_is_told(table):
    with cs.open_bcolz(table) as store:
        assert (store.num_samples, store.sample_arrays) == (53, ("x", "y"))
        assert store.nbytes == X.nbytes + Y.nbytes
        assert store.tables == {"": ("x", "y")}
        assert store.path == str(table)
        x = store["x"]
        assert (x.name, x.shape, x.dtype, x.ndim, len(x)) == ("x", (53, 3, 4), np.uint8, 3, 53)
        assert (x.chunk_shape, x.chunk_length, x.num_chunks) == ((7, 3, 4), 7, 8)
        assert (x.size, x.nbytes) == (X.size, X.nbytes)
        files = list((table / "x" / "data").iterdir())
        assert x.encoded_nbytes == sum(file.stat().st_size for file in files)
        assert x.codec.startswith("blosc ")
        assert x.storage["cparams"]["clevel"] == 5
        assert (x.dimension_names, x.fill_value) == (None, None)
        assert "table" in repr(store)
        assert "shape=(53, 3, 4)" in repr(x)
        with pytest.raises(KeyError, match="no array 'z'; there are 'x', 'y'"):
            store["z"]


ARRAY_NAMES = [
    "attributes",
    "chunk_length",
    "chunk_shape",
    "codec",
    "dimension_names",
    "dtype",
    "encoded_nbytes",
    "fill_value",
    "fingerprint",
    "iter_chunks",
    "name",
    "nbytes",
    "ndim",
    "num_chunks",
    "open_reader",
    "shape",
    "size",
]
STORE_NAMES = [
    "attributes",
    "close",
    "encoded_nbytes",
    "fingerprint",
    "nbytes",
    "num_samples",
    "path",
    "sample_arrays",
    "select",
]


def test_the_interface_is_that_of_a_store_and_its_arrays(table, tmp_path):
    cs.save(tmp_path / "a.zarr.zip", {"x": X})
    with cs.open(tmp_path / "a.zarr.zip") as ours, cs.open_bcolz(table) as theirs:
        for store in (ours, theirs):
            assert [name for name in STORE_NAMES if not hasattr(store, name)] == []
            assert [name for name in ARRAY_NAMES if not hasattr(store["x"], name)] == []


KEYS = st.one_of(
    st.integers(-53, 52),
    st.slices(53),
    st.lists(st.integers(-53, 52), max_size=9),
    st.just(...),
    st.tuples(st.slices(53), st.integers(0, 2)),
    st.tuples(st.lists(st.integers(0, 52), min_size=1, max_size=5), st.slices(3)),
    st.tuples(st.integers(0, 52), st.just(None), st.just(...), st.integers(0, 3)),
)


@given(key=KEYS, chunk_length=st.sampled_from([1, 7, 53, 500]))
def test_indices_are_numpys(tmp_path_factory, key, chunk_length):
    folder = tmp_path_factory.mktemp("indices") / "a"
    write_carray(folder, X, chunk_length=chunk_length)
    with cs.open_bcolz(folder) as store:
        assert np.array_equal(store[""][key], X[key])


def test_masks_wrong_indices_and_whole_arrays(table):
    with cs.open_bcolz(table) as store:
        x = store["x"]
        assert np.array_equal(x[Y % 3 == 0], X[Y % 3 == 0])
        assert np.array_equal(np.asarray(x), X)
        assert np.asarray(x, dtype=np.float32).dtype == np.float32
        assert np.array_equal(np.stack(list(x)), X)
        assert [len(chunk) for chunk in x.iter_chunks()] == [7] * 7 + [4]
        with pytest.raises(IndexError, match="sample 53 is out of bounds"):
            x[53]
        with pytest.raises(IndexError, match="shape"):
            x[:, 7]
        with pytest.raises(ValueError, match="copies"):
            np.asarray(x, copy=False)
        with cs.defaults(asarray_nbytes=10), pytest.raises(ValueError, match="Loader"):
            np.asarray(x)


@pytest.mark.parametrize("chunk_length", [1, 4, 7, 60])
def test_a_loader_reads_each_sample_once(tmp_path, chunk_length):
    write_carray(tmp_path / "x", X, chunk_length=chunk_length)
    write_carray(tmp_path / "y", Y, chunk_length=11, frame=snappy_frame)
    with cs.open_bcolz(tmp_path) as store:
        assert all(isinstance(array, ChunkSource) for array in store.values())
        loader = cs.Loader(store, ("x", "y"), batch_size=8, seed=3)
        for _ in range(2):
            batches = list(loader)
            y = np.concatenate([batch[1] for batch in batches])
            assert sorted(y.tolist()) == Y.tolist()
            assert y.tolist() != Y.tolist()
            assert np.array_equal(np.concatenate([batch[0] for batch in batches]), X[y])
        stats = loader.stats()
        assert stats.read_nbytes > 0
        loader.close()


def test_the_order_is_that_of_equal_data_in_equal_chunks_whatever_the_format(table, tmp_path):
    with cs.open_bcolz(table) as store:
        one = [y.tolist() for _, y in cs.Loader(store, ("x", "y"), batch_size=8, seed=3)]
        again = [y.tolist() for _, y in cs.Loader(store, ("x", "y"), batch_size=8, seed=3)]
        part = store.select(slice(None, None, 2))
        assert part["y"][:].tolist() == Y[::2].tolist()
    assert one == again


def test_a_pickled_store_is_opened_again_and_a_changed_one_refused(table):
    with cs.open_bcolz(table) as store:
        raw = pickle.dumps(store)
        with pickle.loads(raw) as other:
            assert np.array_equal(other["x"][:], X)
    chunk = table / "x" / "data" / "__0.blp"
    chunk.write_bytes(chunk_file(blosc_frame(np.zeros_like(X[:7]))))
    with pytest.raises(cs.CorruptionError, match="changed since the store was pickled"):
        pickle.loads(raw)


def test_an_array_pickles_by_itself(table):
    with cs.open_bcolz(table, arrays=["x"]) as store:
        raw = pickle.dumps(store["x"])
    x = pickle.loads(raw)
    assert np.array_equal(x[:], X)
    (table / "x" / "data" / "__0.blp").write_bytes(chunk_file(blosc_frame(np.zeros_like(X[:7]))))
    with pytest.raises(cs.CorruptionError, match="changed since it was pickled"):
        pickle.loads(raw)


def test_a_closed_store_reads_no_more(table):
    store = cs.open_bcolz(table)
    x = store["x"]
    store.close()
    store.close()
    with pytest.raises(ValueError, match="the store is closed"):
        x[0]


def test_several_threads_read_one_array(table):
    with cs.open_bcolz(table) as store:
        results = []

        def read():
            results.append(bool(np.array_equal(store["x"][:], X)))

        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 8


def test_a_large_array_is_read_by_several_threads(tmp_path):
    x = images(64, shape=(256, 1024))
    write_carray(tmp_path / "a", x, chunk_length=5, frame=snappy_frame)
    with cs.open_bcolz(tmp_path / "a") as store:
        assert np.array_equal(store[""][:], x)
        assert np.array_equal(store[""][3:61, ::2], x[3:61, ::2])


def test_some_arrays_of_a_tree_are_opened_and_the_others_not_looked_at(tmp_path):
    write_carray(tmp_path / "good", X)
    write_ctable(tmp_path / "deep" / "table", {"a": X, "b": Y})
    write_carray(tmp_path / "bad", X)
    (tmp_path / "bad" / "data" / "__0.blp").unlink()
    with pytest.raises(cs.CorruptionError, match=r"bad/data/__0\.blp"):
        cs.open_bcolz(tmp_path)
    with cs.open_bcolz(tmp_path, arrays=["good", "deep/table"]) as store:
        assert list(store) == ["deep/table/a", "deep/table/b", "good"]
    with pytest.raises(KeyError, match="no array 'other'; there are"):
        cs.open_bcolz(tmp_path, arrays=["other"])
    with pytest.raises(TypeError, match="list of names"):
        cs.open_bcolz(tmp_path, arrays="good")


def test_what_is_no_folder_of_bcolz_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder or archive"):
        cs.open_bcolz(tmp_path / "missing")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("a")
    with pytest.raises(cs.FormatError, match="there is no bcolz array in it"):
        cs.open_bcolz(tmp_path)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (4, 0), (4, 0, 2)])
def test_arrays_without_elements_are_read(tmp_path, shape):
    write_carray(tmp_path / "a", np.zeros(shape, "f4"), frame=lambda part: b"")
    for file in (tmp_path / "a" / "data").iterdir():
        file.unlink()
    with cs.open_bcolz(tmp_path / "a") as store:
        assert store[""][...].shape == shape
        assert sum(len(chunk) for chunk in store[""].iter_chunks()) == shape[0]


def test_a_longer_last_chunk_gives_the_samples_that_sizes_count(tmp_path):
    write_carray(tmp_path / "a", X[:20], chunk_length=10)
    (tmp_path / "a" / "meta" / "sizes").write_text('{"shape": [13, 3, 4]}')
    with pytest.warns(cs.ChunkStoreWarning, match="13 samples, 20 are there"):
        store = cs.open_bcolz(tmp_path / "a")
    with store:
        assert np.array_equal(store[""][:], X[:13])
        assert np.array_equal(store[""][-1], X[12])
        assert len(list(cs.Loader(store, "", batch_size=5))) == 3
    with pytest.warns(cs.ChunkStoreWarning, match="All 20 are read"):
        store = cs.open_bcolz(tmp_path / "a", recover_unflushed=True)
    with store:
        assert np.array_equal(store[""][:], X[:20])


def test_only_the_first_chunk_of_an_array_can_be_longer_as_well(tmp_path):
    write_carray(tmp_path / "a", X[:10], chunk_length=10)
    (tmp_path / "a" / "meta" / "sizes").write_text('{"shape": [4, 3, 4]}')
    with pytest.warns(cs.ChunkStoreWarning, match="4 samples, 10 are there"):
        store = cs.open_bcolz(tmp_path / "a")
    with store:
        assert store[""].chunk_length == 4
        assert np.array_equal(store[""][:], X[:4])


def test_recovering_stops_at_a_chunk_that_does_not_fit(tmp_path):
    write_carray(tmp_path / "a", X[:50], chunk_length=10)
    (tmp_path / "a" / "meta" / "sizes").write_text('{"shape": [10, 3, 4]}')
    (tmp_path / "a" / "data" / "__3.blp").write_bytes(b"rubbish")
    with pytest.warns(cs.ChunkStoreWarning) as caught:
        store = cs.open_bcolz(tmp_path / "a", recover_unflushed=True)
    with store:
        assert np.array_equal(store[""][:], X[:30])
    text = " ".join(str(warning.message) for warning in caught)
    assert "2 chunk files beyond the last sample are left out, the first is __3.blp" in text


def test_snappy_without_a_decoder_is_refused_before_a_sample_is_read(tmp_path, monkeypatch):
    write_carray(tmp_path / "a", Y, chunk_length=5, frame=snappy_frame)
    monkeypatch.setattr(snappy, "_cramjam", None)
    with pytest.raises(cs.UnsupportedError, match=r"11 of 11 chunks.*chunkstore\[bcolz\]"):
        cs.open_bcolz(tmp_path / "a")


@pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="this system shows no holes")
def test_chunk_files_with_holes_are_warned_of(tmp_path):
    write_carray(
        tmp_path / "a", np.zeros((40, 30000), np.uint8), frame=lambda p: blosc_frame(p, level=0)
    )
    chunk = tmp_path / "a" / "data" / "__2.blp"
    raw = chunk.read_bytes()
    with chunk.open("wb") as file:
        file.write(raw[:64])
        file.truncate(len(raw))
    if chunk.stat().st_blocks * 512 >= len(raw):
        pytest.skip("this file system stores no holes")
    with pytest.warns(cs.ChunkStoreWarning, match=r"1 of 4 chunk files have holes.*__2\.blp"):
        cs.open_bcolz(tmp_path / "a").close()


def test_a_chunk_of_another_array_of_equal_size_is_warned_of(tmp_path):
    write_carray(tmp_path / "a", Y, chunk_length=10)
    other = blosc_frame(np.arange(20, dtype=np.int32))
    (tmp_path / "a" / "data" / "__1.blp").write_bytes(chunk_file(other))
    with pytest.warns(cs.ChunkStoreWarning, match=r"elements of another size than 8 bytes.*__1"):
        cs.open_bcolz(tmp_path / "a").close()


def test_the_check_lists_damage_in_headers_and_inside_frames(tmp_path):
    y = np.arange(53).repeat(40).reshape(53, 40)
    folder = write_ctable(tmp_path / "t", {"x": X, "y": y}, chunk_length=10)
    (folder / "x" / "data" / "__1.blp").unlink()
    chunk = folder / "y" / "data" / "__2.blp"
    raw = bytearray(chunk.read_bytes())
    raw[32:36] = b"\xff\xff\xff\x7f"
    chunk.write_bytes(raw)
    shallow = inspect_bcolz(folder)
    shallow.store.close()
    assert shallow.report.lost_samples == {"x": [(10, 20)]}
    report = check_bcolz(folder)
    assert report.lost_samples == {"x": [(10, 20)], "y": [(20, 30)]}
    assert [problem.key for problem in report.problems] == ["x/data/__1.blp", "y/data/__2.blp"]
    document = json.loads(json.dumps(report.to_json()))
    assert document["lost_samples"] == {"x": [[10, 20]], "y": [[20, 30]]}
    assert document["arrays"][0]["shape"] == [53, 3, 4]


def test_what_is_left_of_a_damaged_array_can_be_read_by_whoever_asks_for_it(tmp_path):
    folder = write_carray(tmp_path / "a", X, chunk_length=10)
    (folder / "data" / "__1.blp").unlink()
    inspection = inspect_bcolz(folder)
    with inspection.store as store:
        assert np.array_equal(store[""][20:], X[20:])
        with pytest.raises(cs.CorruptionError, match=r"__1\.blp'.*missing; samples \[10, 20\)"):
            store[""][:]


def test_twenty_problems_are_listed_and_the_others_counted(tmp_path):
    folder = write_carray(tmp_path / "a", X, chunk_length=1)
    for i in range(0, 50, 2):
        (folder / "data" / f"__{i}.blp").unlink()
    with pytest.raises(cs.CorruptionError, match="and 5 more") as caught:
        cs.open_bcolz(folder)
    assert str(caught.value).count("is missing") == 20


def test_a_chunk_that_goes_away_after_the_check_is_an_error_of_ours(tmp_path):
    folder = write_carray(tmp_path / "a", X, chunk_length=10)
    with cs.open_bcolz(folder) as store:
        (folder / "data" / "__1.blp").unlink()
        (folder / "data" / "__2.blp").write_bytes(b"short")
        with pytest.raises(cs.CorruptionError, match="missing"):
            store[""][12]
        with pytest.raises(cs.CorruptionError, match="two headers alone"):
            store[""][22]
        loader = cs.Loader(store, "", batch_size=4)
        with pytest.raises(cs.CorruptionError, match=r"__[12]\.blp"):
            list(loader)


@pytest.mark.parametrize("level", [0, 5])
@pytest.mark.parametrize("num_samples", [9, 11])
def test_a_chunk_exchanged_after_the_check_for_another_length_is_an_error(
    tmp_path, num_samples, level
):
    def frame(part):
        return blosc_frame(part, level=level)

    folder = write_carray(tmp_path / "a", X, chunk_length=10, frame=frame)
    with cs.open_bcolz(folder) as store:
        other = chunk_file(frame(np.ascontiguousarray(X[:num_samples])))
        (folder / "data" / "__2.blp").write_bytes(other)
        with pytest.raises(cs.CorruptionError, match=r"__2\.blp.*(the frame holds|cut short)"):
            store[""][:]


def test_the_samples_of_damage_inside_a_frame_are_told_once(tmp_path):
    y = np.arange(53).repeat(40).reshape(53, 40)
    folder = write_carray(tmp_path / "a", y, chunk_length=10)
    chunk = folder / "data" / "__2.blp"
    raw = bytearray(chunk.read_bytes())
    raw[32:36] = b"\xff\xff\xff\x7f"
    chunk.write_bytes(raw)
    report = check_bcolz(folder)
    with pytest.raises(cs.CorruptionError) as caught:
        report.raise_if_bad()
    assert str(caught.value).count("samples [20, 30)") == 1
    with cs.open_bcolz(folder) as store, pytest.raises(cs.CorruptionError) as caught:
        store[""][:]
    assert str(caught.value).count("samples [20, 30)") == 1


def test_wrong_booleans_and_code_points_never_reach_numpy(tmp_path):
    flags = np.array([0, 1, 2, 255, 0], np.uint8)
    write_carray(tmp_path / "flags", flags, storage={"dtype": "bool"})
    texts = np.array([0x41, 0x110000, 0x42], np.uint32)
    write_carray(tmp_path / "texts", texts, storage={"dtype": "<U1"})
    with cs.open_bcolz(tmp_path) as store:
        assert store["flags"][:].view(np.uint8).tolist() == [0, 1, 1, 1, 0]
        with pytest.raises(cs.CorruptionError, match="0x110000, which is no code point"):
            store["texts"][:]


def test_structures_with_any_byte_order_are_read(tmp_path):
    dtype = np.dtype([("a", ">i4"), ("b", "<f8"), ("c", "S3"), ("d", [("e", ">U2")])])
    values = np.zeros(25, dtype)
    values["a"], values["b"], values["c"] = np.arange(25), np.arange(25) / 4, b"abc"
    values["d"]["e"] = "äö"
    write_carray(tmp_path / "a", values, storage={"dtype": str(dtype)})
    with cs.open_bcolz(tmp_path / "a") as store:
        read = store[""][:]
    assert read.dtype.isnative
    assert all((read[name] == values[name]).all() for name in "abcd")


def test_object_arrays_are_not_batched(kit):
    with cs.open_bcolz(kit / "object_ragged", allow_pickle=True) as store:
        assert store[""][3] == [0, 1, 2]
        assert [len(chunk) for chunk in store[""].iter_chunks()] == [1] * 9
        with pytest.raises(TypeError, match="Python objects, which cannot be batched"):
            store[""].open_reader()


def test_nothing_is_warned_of_in_a_good_folder(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cs.open_bcolz(table).close()
