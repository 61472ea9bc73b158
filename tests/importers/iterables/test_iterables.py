"""Claims about iterables, datasets of frameworks, and functions over files."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import chunkstore as cs
from tests.importers.iterables import readers
from tests.support import require


def pairs(count, *, stop=None):
    for i in range(count):
        if i == stop:
            raise KeyboardInterrupt
        yield np.full((100, 100), i, "u2"), i % 7


FORMS = {
    "tuples": (lambda: pairs(50), {}),
    "lists": (lambda: [list(pair) for pair in pairs(50)], {}),
    "dicts": (lambda: ({"y": y, "x": x} for x, y in pairs(50)), {}),
    "names": (lambda: pairs(50), {"names": ["x", "y"]}),
}


@pytest.mark.parametrize(("make", "options"), FORMS.values(), ids=FORMS.keys())
def test_samples_come_over_in_their_order(tmp_path, make, options):
    report = cs.from_iter(make(), tmp_path / "a.zarr.zip", **options)
    assert report.num_samples == 50
    assert report.is_verified
    loaded = cs.load(report.path)
    assert loaded["x"].dtype == np.uint16
    assert loaded["x"][:, 0, 0].tolist() == list(range(50))
    assert loaded["y"].tolist() == [i % 7 for i in range(50)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_batches_of_any_size_give_the_same_file(tmp_path, size):
    x = np.random.default_rng(0).normal(size=(1000, 30, 40))
    batches = ((x[i : i + size], np.arange(i, min(i + size, 1000))) for i in range(0, 1000, size))
    cs.from_iter(batches, tmp_path / "a.zarr.zip", batched=True, chunk_length=16)
    loaded = cs.load(tmp_path / "a.zarr.zip")
    np.testing.assert_array_equal(loaded["x"], x)
    assert loaded["y"].tolist() == list(range(1000))


def test_memory_that_the_giver_uses_again_is_copied(tmp_path):
    buffer = np.zeros(3)

    def reused():
        for i in range(100):
            buffer[:] = i
            yield buffer

    cs.from_iter(reused(), tmp_path / "a.zarr.zip")
    assert cs.load(tmp_path / "a.zarr.zip")["x"][:, 0].tolist() == list(range(100))


@pytest.fixture
def _small_blocks(monkeypatch):
    monkeypatch.setattr("chunkstore.importers.iterables._BLOCK_NBYTES", 1 << 20)
    monkeypatch.setattr("chunkstore.importers.iterables._CHECKPOINT_NBYTES", 1 << 20)


@pytest.mark.usefixtures("_small_blocks")
def test_a_run_that_was_stopped_goes_on_and_ends_with_the_same_bytes(tmp_path):
    whole, out = tmp_path / "whole.zarr.zip", tmp_path / "a.zarr.zip"
    cs.from_iter(pairs(400), whole)
    with pytest.raises(KeyboardInterrupt):
        cs.from_iter(pairs(400, stop=250), out)
    assert not out.exists()
    cs.from_iter(pairs(400), out)
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.usefixtures("_small_blocks")
def test_other_samples_than_before_are_noticed_when_a_run_goes_on(tmp_path):
    out = tmp_path / "a.zarr.zip"
    with pytest.raises(KeyboardInterrupt):
        cs.from_iter(pairs(400, stop=250), out)
    others = ((x + 1, y) for x, y in pairs(400))
    with pytest.raises(cs.ChunkStoreError, match="are not those that were written before"):
        cs.from_iter(others, out)
    with pytest.raises(cs.ChunkStoreError, match="gave 3 samples"):
        cs.from_iter(pairs(3), out)
    cs.from_iter(((x + 1, y) for x, y in pairs(400)), out, resume=False)
    assert cs.load(out)["x"][0, 0, 0] == 1


@pytest.mark.usefixtures("_small_blocks")
def test_an_iterable_that_goes_on_behind_what_was_done_adds_only_that(tmp_path, monkeypatch):
    out = tmp_path / "a.zarr.zip"

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("chunkstore.importers.iterables._Writing._verify", stop)
        with pytest.raises(KeyboardInterrupt):
            cs.from_iter(pairs(105), out)
    changed = ((x + (i == 104), y) for i, (x, y) in enumerate(pairs(200)))
    with pytest.raises(cs.ChunkStoreError, match="first 105 samples are not those"):
        cs.from_iter(changed, out)
    report = cs.from_iter(pairs(200), out)
    assert report.num_samples == 200
    loaded = cs.load(out)
    assert loaded["x"][:, 0, 0].tolist() == list(range(200))
    assert loaded["y"].tolist() == [i % 7 for i in range(200)]


@pytest.mark.parametrize("name", ["split", "shuffle", "seed", "stratify"])
def test_what_an_iterable_cannot_do_is_refused(tmp_path, name):
    with pytest.raises(TypeError, match=f"there is no argument '{name}'"):
        cs.from_iter(pairs(3), tmp_path / "a.zarr.zip", **{name: None})
    assert not list(tmp_path.iterdir())


BAD = {
    "shape": ([np.zeros(3), np.zeros(4)], {}, ValueError, r"item 1: 'x' has .* shape \(4,\)"),
    "dtype": ([np.zeros(3), np.zeros(3, "f4")], {}, ValueError, "item 1: 'x' .* dtype float32"),
    "names": ([{"a": 1}, {"b": 1}], {}, ValueError, r"item 1 has the arrays \['b'\]"),
    "many": ([(1, 2, 3, 4)], {}, ValueError, "item 0 holds 4 arrays; say what they are called"),
    "few": ([(1, 2)], {"names": ["x"]}, ValueError, "item 0 holds 2 arrays, and names= 1"),
    "object": ([{"x": object()}], {}, TypeError, "item 0: 'x' is a object, no array"),
    "lengths": ([(np.zeros(3), np.zeros(4))], {"batched": True}, ValueError, "different lengths"),
    "nothing": ([], {}, ValueError, "gave nothing"),
    "number": (5, {}, TypeError, "samples must be iterable"),
    "skip": ([1], {"on_error": "skip"}, ValueError, "needs files to leave out"),
}


@pytest.mark.parametrize(("samples", "options", "error", "message"), BAD.values(), ids=BAD.keys())
def test_what_does_not_fit_is_named_by_its_number(tmp_path, samples, options, error, message):
    with pytest.raises(error, match=message):
        cs.from_iter(samples, tmp_path / "a.zarr.zip", **options)
    assert not (tmp_path / "a.zarr.zip").exists()


def test_text_may_be_shorter_than_was_declared_and_not_longer(tmp_path):
    arrays = {"x": cs.ArraySpec("U5")}
    cs.from_iter(["ab", "grün", "abcde"], tmp_path / "a.zarr.zip", arrays=arrays)
    assert cs.load(tmp_path / "a.zarr.zip")["x"].tolist() == ["ab", "grün", "abcde"]
    with pytest.raises(ValueError, match=r"item 0: 'x' has .* dtype <U6"):
        cs.from_iter(["abcdef"], tmp_path / "b.zarr.zip", arrays=arrays)


def test_datasets_of_torch_come_over_item_by_item_and_in_batches(tmp_path):
    torch = require("torch")
    x = torch.arange(60, dtype=torch.float32).reshape(20, 3)
    dataset = torch.utils.data.TensorDataset(x, torch.arange(20))
    cs.from_iter(dataset, tmp_path / "a.zarr.zip")
    loader = torch.utils.data.DataLoader(dataset, batch_size=7)
    cs.from_iter(loader, tmp_path / "b.zarr.zip", batched=True)
    for name in ("a", "b"):
        loaded = cs.load(tmp_path / f"{name}.zarr.zip")
        np.testing.assert_array_equal(loaded["x"], x.numpy())
        assert loaded["y"].tolist() == list(range(20))


@pytest.mark.leaves_open("TensorFlow keeps threads")
def test_datasets_of_tensorflow_and_tfrecord_files_come_over(tmp_path):
    tf = require("tensorflow")
    path = str(tmp_path / "a.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for i in range(20):
            features = {
                "x": tf.train.Feature(float_list=tf.train.FloatList(value=[i, i + 0.5])),
                "y": tf.train.Feature(int64_list=tf.train.Int64List(value=[i])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    description = {
        "x": tf.io.FixedLenFeature([2], tf.float32),
        "y": tf.io.FixedLenFeature([], tf.int64),
    }
    dataset = tf.data.TFRecordDataset(path).map(
        lambda record: tf.io.parse_single_example(record, description)
    )
    cs.from_iter(dataset, tmp_path / "a.zarr.zip")
    cs.from_iter(dataset.batch(6), tmp_path / "b.zarr.zip", batched=True)
    for name in ("a", "b"):
        loaded = cs.load(tmp_path / f"{name}.zarr.zip")
        assert loaded["x"][:, 1].tolist() == [i + 0.5 for i in range(20)]
        assert loaded["y"].tolist() == list(range(20))


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for i in range(30):
        (folder / str(i)).write_text(str(i))
    return [folder / str(i) for i in range(30)]


@pytest.mark.leaves_open("multiprocessing keeps its resource tracker")
@pytest.mark.parametrize("options", [{}, {"threads": 1}, {"workers": 2}], ids=str)
def test_files_give_the_same_store_in_threads_and_processes(tmp_path, files, options):
    cs.from_files(files, readers.read_number, tmp_path / "whole.zarr.zip", seed=3)
    cs.from_files(files, readers.read_number, tmp_path / "a.zarr.zip", seed=3, **options)
    loaded = cs.load(tmp_path / "a.zarr.zip")
    numbers = [int(name.rpartition("/")[2]) for name in loaded["name"].tolist()]
    assert loaded["y"].tolist() == numbers
    assert loaded["x"][:, 3, 3].tolist() == numbers
    assert sorted(numbers) == list(range(30))
    assert numbers != list(range(30))
    assert (tmp_path / "a.zarr.zip").read_bytes() == (tmp_path / "whole.zarr.zip").read_bytes()


def test_files_are_divided_by_classes_that_are_given(tmp_path, files):
    reports = cs.from_files(
        files,
        readers.read_number,
        tmp_path / "set",
        split={"train": 0.5, "val": 0.5},
        stratify=np.arange(30) % 3,
    )
    parts = [cs.load(report.path)["y"] for report in reports.values()]
    assert sorted(np.concatenate(parts).tolist()) == list(range(30))
    assert all(np.ptp(np.bincount(part % 3)) <= 3 for part in parts)


@pytest.mark.leaves_open("multiprocessing keeps its resource tracker")
@pytest.mark.parametrize("workers", [None, 1])
def test_a_bad_file_is_named_or_left_out(tmp_path, files, workers):
    files[4].write_text("no number")
    with pytest.raises(ValueError, match="invalid literal") as caught:
        cs.from_files(files, readers.read_number, tmp_path / "a.zarr.zip", workers=workers)
    assert caught.value.__notes__ == [f"while reading {files[4]}"]
    assert not (tmp_path / "a.zarr.zip").exists()
    report = cs.from_files(
        files, readers.read_number, tmp_path / "a.zarr.zip", workers=workers, on_error="skip"
    )
    assert [entry.name for entry in report.skipped] == [str(files[4])]
    assert report.num_samples == 29


@pytest.mark.leaves_open("multiprocessing keeps its resource tracker")
def test_what_the_machine_lacks_ends_an_import_that_leaves_bad_files_out(tmp_path, files):
    def reads(path):
        if path == str(files[3]):
            raise MemoryError
        return np.zeros(3)

    with pytest.raises(MemoryError):
        cs.from_files(files, reads, tmp_path / "a.zarr.zip", on_error="skip")
    assert not (tmp_path / "a.zarr.zip").exists()


def test_a_process_that_dies_is_an_error_that_names_the_files(tmp_path, files):
    with pytest.raises(cs.ChunkStoreError, match=r"a process that read .* died"):
        cs.from_files(files, readers.die, tmp_path / "a.zarr.zip", workers=1, shuffle=False)
    arrays = {"x": cs.ArraySpec("f8")}
    with pytest.raises(cs.ChunkStoreError, match="OwnError: bad file"):
        cs.from_files(files, readers.refuse, tmp_path / "b.zarr.zip", workers=1, arrays=arrays)


def test_a_function_that_processes_cannot_import_is_refused(tmp_path, files):
    with pytest.raises(TypeError, match="workers=None calls it in threads"):
        cs.from_files(files, lambda path: 1, tmp_path / "a.zarr.zip", workers=1)
    cs.from_files(files, lambda path: 1, tmp_path / "a.zarr.zip")
    with pytest.raises(ValueError, match="at least one file"):
        cs.from_files([], readers.die, tmp_path / "b.zarr.zip")


@pytest.mark.parametrize("stops_at", [1, 40])
def test_a_run_that_is_killed_before_its_first_checkpoint_can_be_repeated(tmp_path, stops_at):
    program = f"""
import os, signal, sys
import numpy as np
import chunkstore as cs
def samples():
    for i in range(60):
        if i == {stops_at}:
            os.kill(os.getpid(), signal.SIGKILL)
        yield {{"x": np.full((50_000,), i, np.int32)}}
cs.from_iter(samples(), sys.argv[1])
"""
    out = tmp_path / "o.zarr.zip"
    assert subprocess.run([sys.executable, "-c", program, out], check=False).returncode != 0
    assert not out.exists()
    cs.from_iter(({"x": np.full((50_000,), i, np.int32)} for i in range(60)), out)
    assert cs.load(out)["x"][:, 0].tolist() == list(range(60))
