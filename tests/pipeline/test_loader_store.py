"""A Loader over real files."""

from __future__ import annotations

import contextlib
import pickle
import zipfile

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.pipeline.loader import Loader

NUM_SAMPLES = 2000


@pytest.fixture(params=["zstd", "lz4", "gzip", "raw"])
def path(request, tmp_path):
    arrays = sample_arrays()
    file = tmp_path / "train.zarr.zip"
    with cs.create(file, codec=request.param, chunk_nbytes=4096) as writer:
        for start in range(0, NUM_SAMPLES, 70):
            writer.append(**{name: array[start : start + 70] for name, array in arrays.items()})
        writer.put("mean", arrays["x"].mean(axis=0), aligned=False)
    return file


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "train.zarr.zip"
    with cs.create(path, codec="lz4", chunk_nbytes=4096) as writer:
        writer.append(**sample_arrays())
    return path


def sample_arrays():
    rng = np.random.Generator(np.random.Philox(1))
    return {
        "x": rng.integers(0, 50, (NUM_SAMPLES, 12, 9, 3), dtype=np.uint8),
        "y": np.arange(NUM_SAMPLES, dtype=np.int32),
        "w": rng.random(NUM_SAMPLES).astype(np.float16),
        "name": np.array([f"sample {i}" for i in range(NUM_SAMPLES)]),
        "time": np.datetime64("2020-01-01", "s") + np.arange(NUM_SAMPLES),
    }


@pytest.mark.parametrize("io", ["auto", "direct", "buffered"])
def test_an_epoch_of_a_file_is_each_stored_sample_once(path, io):
    arrays = sample_arrays()
    with cs.open(path) as store, Loader(store, batch_size=32, seed=3, io=io) as loader:
        for _ in range(3):
            seen = []
            for batch in loader:
                assert set(batch) == set(arrays)
                for name, array in arrays.items():
                    assert batch[name].dtype == array.dtype
                    assert np.array_equal(batch[name], array[batch["y"]])
                seen += batch["y"].tolist()
            assert sorted(seen) == list(range(NUM_SAMPLES))


def test_without_shuffle_a_file_comes_in_its_order(file):
    with cs.open(file) as store, Loader(store, ("x", "y"), batch_size=7, shuffle=False) as loader:
        x, y = (np.concatenate(arrays) for arrays in zip(*loader, strict=True))
    assert np.array_equal(x, sample_arrays()["x"])
    assert y.tolist() == list(range(NUM_SAMPLES))


def test_files_and_numpy_arrays_load_together(file):
    extra = np.arange(NUM_SAMPLES) * 2
    with cs.open(file) as store:
        sources = {"x": store["x"], "y": store["y"], "extra": extra}
        with Loader(sources, ("x", "y", "extra"), batch_size=16) as loader:
            for _, y, doubled in loader:
                assert np.array_equal(doubled, 2 * y)


def test_the_order_of_a_file_does_not_depend_on_its_codec(tmp_path):
    orders = []
    for codec in ("lz4", "zstd"):
        path = tmp_path / f"{codec}.zarr.zip"
        with cs.create(path, codec=codec, chunk_nbytes=4096) as writer:
            writer.append(**sample_arrays())
        with cs.open(path) as store, Loader(store, batch_size=16) as loader:
            orders.append(loader.order().tolist())
    assert orders[0] == orders[1]


def test_an_array_that_is_not_aligned_is_told_by_its_length(path):
    with cs.open(path) as store, pytest.raises(ValueError, match=r"'x' has 2000, 'mean' has 12"):
        Loader(store, ("x", "mean"), batch_size=4)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_damaged_chunk_is_an_error_that_names_it(file, threads):
    with zipfile.ZipFile(file) as archive:
        entry = next(info for info in archive.infolist() if info.filename == "x/c/5/0/0/0")
    raw = bytearray(file.read_bytes())
    raw[entry.header_offset + 200] ^= 0x40
    file.write_bytes(raw)
    arguments = {"batch_size": 16, "threads": threads}
    with cs.open(file) as store, Loader(store, ("x", "y"), **arguments) as loader:
        with pytest.raises(cs.CorruptionError) as failed:
            list(loader)
        assert failed.value.path == str(file)
        assert failed.value.key == "x/c/5/0/0/0"
        assert failed.value.offset is not None


def test_a_pickled_loader_opens_its_file_again(file):
    with cs.open(file) as store, Loader(store, ("x", "y"), batch_size=16, seed=4) as loader:
        next(iter(loader))
        data = pickle.dumps(loader)
        order = loader.order(step=1)
    with pickle.loads(data) as copy:
        assert np.concatenate([y for _, y in copy]).tolist() == order.tolist()
        copy.arrays.close()


def test_a_state_of_another_file_is_refused(file, tmp_path):
    arrays = sample_arrays()
    arrays["x"] = arrays["x"][::-1].copy()
    other = tmp_path / "other.zarr.zip"
    with cs.create(other, codec="lz4", chunk_nbytes=4096) as writer:
        writer.append(**arrays)
    with cs.open(file) as store, Loader(store, batch_size=4) as loader:
        state = loader.state_dict()
    with (
        cs.open(other) as store,
        Loader(store, batch_size=4) as loader,
        pytest.raises(ValueError, match="the state has layout="),
    ):
        loader.load_state_dict(state)


def test_stats_tell_the_bytes_read(file):
    with cs.open(file) as store, Loader(store, ("x", "y"), batch_size=16) as loader:
        list(loader)
        stats = loader.stats()
        assert stats.units == store["x"].num_chunks
        encoded_nbytes = store["x"].encoded_nbytes + store["y"].encoded_nbytes
        # A chunk is read together with the header before it.
        assert encoded_nbytes <= stats.read_nbytes < encoded_nbytes + 200 * (stats.units + 1)
        assert stats.fetch_seconds > 0


@pytest.mark.parametrize(("io", "is_direct"), [("direct", True), ("buffered", False)])
def test_io_reaches_the_readers_of_the_file(file, io, is_direct, monkeypatch):
    asked = []
    open_reader = cs.Array.open_reader

    def watched(array, *, direct=False):
        asked.append(direct)
        return open_reader(array, direct=direct)

    monkeypatch.setattr(cs.Array, "open_reader", watched)
    with cs.open(file) as store, Loader(store, ("x", "y"), batch_size=32, io=io) as loader:
        for _ in loader:
            pass
    # One when the buffers are measured, one in each thread.
    assert asked == [is_direct] * len(asked)
    assert len(asked) >= 2 * (1 + loader.threads)


@pytest.mark.parametrize("reuses_descriptor", [False, True])
def test_a_store_that_is_closed_while_it_is_loaded_is_named_as_closed(
    file, tmp_path, reuses_descriptor
):
    other = tmp_path / "other"
    other.write_bytes(b"other bytes" * 100_000)
    with contextlib.ExitStack() as files:
        store = cs.open(file)
        with Loader(store, "x", batch_size=8, window=1, memory=72_000, threads=1) as loader:
            batches = iter(loader)
            next(batches)
            store.close()
            if reuses_descriptor:
                for _ in range(8):
                    files.enter_context(other.open("rb"))
            with pytest.raises(ValueError, match="the store is closed; open it again to read"):
                list(batches)


def test_the_order_of_names_is_not_part_of_the_order_of_samples(tmp_path):
    path = tmp_path / "two.zarr.zip"
    with cs.create(path) as writer:
        writer.append(a=np.zeros((100, 4), "f4"), b=np.ones((100, 2), "f8"), y=np.arange(100))
    with cs.open(path) as store:
        with Loader(store, ("a", "b", "y"), batch_size=8) as loader:
            next(iter(loader))
            state, order = loader.state_dict(), loader.order(0)
        with Loader(store, ("y", "b", "a"), batch_size=8) as loader:
            loader.load_state_dict(state)
            assert loader.step == 1
            assert loader.order(0).tolist() == order.tolist()


def test_an_array_in_memory_that_is_wider_than_the_stored_one_has_chunks_of_its_own(tmp_path):
    path = tmp_path / "labels.zarr.zip"
    with cs.create(path) as writer:
        writer.append(y=np.arange(20_000))
    images = np.broadcast_to(np.uint8(3), (20_000, 32, 32, 3))
    with cs.open(path) as store:
        arrays = {"x": images, "y": store["y"], "w": np.arange(20_000)}
        with Loader(arrays, ("x", "y", "w"), batch_size=64, memory="32MiB") as loader:
            assert loader.window > 4
            labels = []
            for x, y, w in loader:
                assert x.shape[1:] == (32, 32, 3)
                assert np.array_equal(y, w)
                labels += y.tolist()
        assert sorted(labels) == list(range(20_000))


def test_a_few_samples_in_memory_need_a_few_bytes():
    with Loader({"y": np.arange(10)}, "y", batch_size=2, memory="1KiB") as loader:
        assert sorted(np.concatenate(list(loader)).tolist()) == list(range(10))


def test_a_closed_store_is_refused_when_the_loader_is_made(file):
    store = cs.open(file)
    store.close()
    with pytest.raises(ValueError, match="the store is closed"):
        Loader(store, "x", batch_size=8)
