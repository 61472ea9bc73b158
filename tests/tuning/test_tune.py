"""Does a run measure a person's data, recommend what can be used as it is, and leave nothing?"""

from __future__ import annotations

import builtins
import json
import os
import struct

import numpy as np
import pytest
from numcodecs import blosc

import chunkstore as cs
from chunkstore.tuning import disk, stages, trial
from tests.support import require

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(4000, 64)).astype(np.float32).round(1)
# Enough for all ways to be measured once, and for a promise about none of them.
QUICK = {"seconds": 0.05, "threads": 2}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    return cs.tune(FEATURES, seconds=4, threads=2, folder=folder)


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_codec_is_measured_or_named_as_left_out(report):
    for found in (report, cs.tune(FEATURES, **QUICK)):
        measured = {speed.choice.codec for speed in (*found.codecs, *found.others)}
        left_out = " ".join(note for note in found.notes if "time was not enough" in note)
        for codec in ("zstd", "lz4", "lz4hc", "blosclz", "zlib", "gzip", "raw"):
            assert codec in measured or codec in left_out


def test_the_default_is_measured_whatever_the_time(report):
    assert report.default.codec == "zstd"
    assert report.default.level == 1
    shuffles = {
        speed.choice.shuffle
        for speed in (*report.codecs, *report.others)
        if speed.choice.codec == "zstd"
    }
    assert shuffles == {"none", "byte", "bit"}


def test_ratios_are_those_of_a_file(report, tmp_path):
    for item in report.recommendations:
        path = tmp_path / "a.zarr.zip"
        cs.save(path, {"x": FEATURES}, overwrite=True, **item.options)
        with cs.open(path) as store:
            assert store["x"].nbytes / store["x"].encoded_nbytes == pytest.approx(
                item.ratio, rel=0.05
            )
            assert item.file_nbytes == pytest.approx(store["x"].encoded_nbytes, rel=0.05)


def test_the_smallest_file_is_the_smallest(report):
    assert report.smallest_file.ratio >= 0.95 * max(item.ratio for item in report.recommendations)
    assert report.smallest_file.ratio >= 1.5


def test_a_file_is_created_with_the_options_as_they_are(report, tmp_path):
    for item in report.recommendations:
        with cs.create(tmp_path / "a.zarr.zip", overwrite=True, **item.options) as writer:
            writer.append(x=FEATURES, y=np.arange(4000))
        assert np.array_equal(cs.load(tmp_path / "a.zarr.zip")["x"], FEATURES)


def test_every_number_has_its_spread(report):
    for speed in report.codecs:
        # What is slow to encode is encoded less often.
        assert 1 <= len(speed.encode.values) <= len(speed.decode.values)
    assert len({len(speed.decode.values) for speed in report.codecs}) == 1
    speed = report.codecs[0].decode
    assert 0 < speed.low <= speed.median <= speed.high


def test_a_loader_speed_is_predicted_for_each_goal(report):
    for goal in ("fastest_training", "smallest_file", "fastest_write", "default"):
        assert report.loader_speed(goal) > 0
    with pytest.raises(ValueError, match="goal must be one of fastest_training, smallest_file"):
        report.loader_speed("fastest")


def test_the_prediction_is_that_of_the_place_the_file_will_be_in(report):
    item = report.default
    assert item.fits_in_memory
    assert item.loader_speed == item.loader.cached.median / 1e6
    away = cs.tune(FEATURES, in_memory=False, **QUICK).default
    if away.loader.disk is not None:
        assert away.loader_speed == away.loader.disk.median / 1e6


def test_the_table_names_each_goal_and_has_h5py_beside_it(report):
    require("h5py")
    text = str(report)
    for title in ("fastest training: codec=", "smallest file: codec=", "fastest write: codec="):
        assert title in text
    assert "no decision: the built-in zstd-1" in text
    assert "h5py LZF" in text
    assert "h5py gzip-4" in text
    assert text.splitlines()[0] == "data: 4000x64 float32, 1.0 MB"


def test_without_h5py_the_report_says_so(monkeypatch):
    real = builtins.__import__

    def without_h5py(name, *arguments, **options):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_h5py)
    found = cs.tune(FEATURES, **QUICK)
    assert found.peers == ()
    assert "note: h5py is not installed" in str(found)


def test_the_report_is_json(report):
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert document["recommendations"]["default"]["options"]["codec"] == "zstd"
    assert {"direct_nbytes_per_second", "buffered_nbytes_per_second"} < set(document["disk"])
    assert document["codecs"][0]["decode_nbytes_per_second"]["rounds"] >= 1


@pytest.mark.leaves_open("matplotlib keeps its fonts open")
def test_the_picture_shows_the_front_and_the_goals(report, tmp_path):
    require("matplotlib")
    figure = report.plot()
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert any(label.startswith("fastest training: ") for label in labels)
    assert "the best of those measured in all rounds" in labels
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_interleaved_colours_are_tried_as_pixels():
    images = RNG.integers(0, 9, (300, 16, 16, 3), dtype=np.uint8)
    found = cs.tune(images, **QUICK)
    assert {1, 3} == {
        speed.choice.typesize
        for speed in (*found.codecs, *found.others)
        if speed.choice.codec == "zstd"
    }


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.zeros((1000, 8)), id="constant"),
        pytest.param(np.full((1000, 8), np.nan), id="nan"),
        pytest.param(np.array([np.inf, -np.inf, np.nan] * 300, np.float16), id="infinities"),
        pytest.param(np.arange(5000), id="one-axis"),
        pytest.param(np.zeros((1, 300, 300, 3), np.uint8), id="one-sample"),
        pytest.param(np.array([7], np.uint8), id="one-byte"),
        pytest.param(np.array(["cat", "a dog"] * 200), id="strings"),
        pytest.param(np.arange(500).astype("M8[ms]"), id="times"),
        pytest.param(np.zeros(300, [("a", "i4"), ("b", "f8")]), id="structures"),
        pytest.param(np.zeros(500, np.bool_), id="booleans"),
        pytest.param(np.zeros((200, 3), ">f8"), id="big-endian"),
        pytest.param(np.zeros((100, 50, 2))[:, ::2], id="not-contiguous"),
    ],
)
def test_any_data_that_can_be_stored_can_be_tuned(array):
    found = cs.tune(array, **QUICK)
    assert str(found)
    json.dumps(found.to_json(), allow_nan=False)
    cs.save("a.zarr.zip", {"x": array}, **found.smallest_file.options)
    assert np.array_equal(cs.load("a.zarr.zip")["x"], array, equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        pytest.param(np.zeros((0, 4)), {}, ValueError, "holds nothing", id="empty"),
        pytest.param(np.array([{}]), {}, TypeError, "Python objects", id="objects"),
        pytest.param({}, {}, ValueError, "holds no arrays", id="no-arrays"),
        pytest.param({"x": FEATURES}, {"array": "y"}, KeyError, "has no array 'y'", id="name"),
        pytest.param(FEATURES, {"array": "x"}, ValueError, "array= chooses among", id="one"),
        pytest.param(FEATURES, {"size": (2, 2)}, ValueError, "folder of images", id="size"),
        pytest.param(FEATURES, {"seconds": 0}, ValueError, "seconds must be positive", id="time"),
        pytest.param(FEATURES, {"threads": 0}, ValueError, "threads must be", id="threads"),
        pytest.param(FEATURES, {"batch_size": 0}, ValueError, "batch_size must", id="batch"),
        pytest.param("no/such", {}, FileNotFoundError, "there is no such file", id="path"),
        pytest.param(FEATURES, {"folder": "no"}, FileNotFoundError, "scratch folder", id="folder"),
    ],
)
def test_what_cannot_be_tuned_says_why(data, options, error, message):
    with pytest.raises(error, match=message):
        cs.tune(data, **{**QUICK, **options})
    assert os.listdir() == []  # noqa: PTH208 - the working folder


def test_nothing_is_left_on_the_disk(tmp_path):
    cs.tune(FEATURES, **QUICK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["measure_disk", "measure_codecs", "measure_hdf5", "try_loader"])
def test_nothing_is_left_when_it_is_interrupted(tmp_path, monkeypatch, stage):
    def interrupt(*_, **__):
        assert list(tmp_path.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, stage, interrupt)
    with pytest.raises(KeyboardInterrupt):
        cs.tune(FEATURES, **QUICK)
    assert list(tmp_path.iterdir()) == []


def test_the_file_that_measures_the_disk_has_no_name(tmp_path, monkeypatch):
    seen = []
    real = disk.ScratchFile.read_rate

    def watched(self, *arguments):
        seen.extend(path for path in tmp_path.rglob("*") if path.is_file())
        return real(self, *arguments)

    monkeypatch.setattr(disk.ScratchFile, "read_rate", watched)
    cs.tune(FEATURES, **QUICK)
    assert seen == []


def test_a_folder_that_cannot_be_written_is_named_and_another_measured(tmp_path, monkeypatch):
    real = disk.tempfile.mkdtemp

    def refuse(*, prefix, dir):
        if dir == str(tmp_path):
            raise PermissionError(13, "refused", dir)
        return real(prefix=prefix, dir=dir)

    monkeypatch.setattr(disk.tempfile, "mkdtemp", refuse)
    found = cs.tune(FEATURES, folder=tmp_path, **QUICK)
    assert any(note.startswith(f"nothing can be written to {tmp_path}") for note in found.notes)


def test_a_file_system_without_direct_reads_is_measured_without(monkeypatch):
    monkeypatch.setattr(disk.system.ReadFile, "has_direct", False)
    emptied = []
    if disk.can_forget():
        real = trial.forget
        monkeypatch.setattr(trial, "forget", lambda path: (emptied.append(path), real(path)))
    found = cs.tune(FEATURES, in_memory=False, **QUICK)
    assert found.disk.direct is None
    assert "no reads past the page cache" in str(found)
    if disk.can_forget():
        # Before each epoch of the disk's, or it would be the speed of memory.
        assert len(emptied) >= len(found.default.loader.disk.values)
        assert found.default.loader_speed == found.default.loader.disk.median / 1e6


def test_where_disk_and_memory_cannot_be_told_apart_no_speed_of_memory_is_the_disks(monkeypatch):
    monkeypatch.setattr(disk.system.ReadFile, "has_direct", False)
    for module in (disk, trial):
        monkeypatch.setattr(module, "can_forget", lambda: False)
    found = cs.tune(FEATURES, in_memory=False, **QUICK)
    assert found.disk.reading is found.disk.write
    assert found.loader_speed() is None
    text = str(found)
    assert "MB/s from the disk" not in text
    assert "how fast a Loader reads them from the disk cannot be predicted here" in text
    assert "the speed of writing stands for them" in text
    assert json.loads(json.dumps(found.to_json()))["recommendations"]["default"][
        "loader_speed"
    ] is (None)
    assert cs.tune(FEATURES, in_memory=True, **QUICK).loader_speed() > 0


@pytest.mark.parametrize("shape", [(2, 10, 1 << 20), (2, 10 << 20)], ids=["axes", "one-axis"])
def test_samples_that_are_larger_than_chunks_are_measured_in_parts(shape, monkeypatch):
    sizes = []
    real = stages.CodecMeter

    def watched(sample, **options):
        sizes.append(sample.sample_nbytes)
        return real(sample, **options)

    monkeypatch.setattr(stages, "CodecMeter", watched)
    found = cs.tune(np.zeros(shape, np.uint8), **QUICK)
    assert sizes
    assert max(sizes) <= 1 << 20
    assert found.shape == shape
    assert found.chunk_sizes == ()
    assert "a sample has 10 MiB: codecs were measured on parts" in str(found)


# ------------------------------------------------------------------ sources


def test_a_store_gives_its_largest_array_and_says_so(tmp_path):
    cs.save("a.zarr.zip", {"x": FEATURES, "y": np.arange(4000)})
    found = cs.tune("a.zarr.zip", **QUICK)
    assert found.source == "a.zarr.zip: array 'x'"
    assert found.disk.folder == str(tmp_path)
    assert any("array 'x' was measured" in note for note in found.notes)
    assert cs.tune("a.zarr.zip", array="y", **QUICK).shape == (4000,)
    with cs.open("a.zarr.zip") as store:
        assert cs.tune(store, **QUICK).shape == (4000, 64)
        assert cs.tune(store["x"], **QUICK).shape == (4000, 64)


def test_npy_files_and_folders_of_them(tmp_path):
    np.save("x.npy", FEATURES)
    assert cs.tune("x.npy", **QUICK).shape == (4000, 64)
    (tmp_path / "many").mkdir()
    for number in range(3):
        np.save(tmp_path / "many" / f"{number}.npy", FEATURES)
    assert cs.tune("many", **QUICK).shape == (12000, 64)
    np.savez("both.npz", x=FEATURES, y=np.arange(4000))
    assert cs.tune("both.npz", array="y", **QUICK).dtype == "int64"
    with pytest.raises(KeyError, match="no array 'z', only x, y"):
        cs.tune("both.npz", array="z", **QUICK)


@pytest.mark.leaves_open("the event loop of zarr-python")
def test_hdf5_and_zarr():
    h5py, zarr = require("h5py"), require("zarr")
    with h5py.File("a.h5", "w") as file:
        file["x"] = FEATURES
        assert cs.tune(file["x"], **QUICK).shape == (4000, 64)
    assert cs.tune("a.h5", **QUICK).shape == (4000, 64)
    zarr.save_array("a.zarr", FEATURES)
    assert cs.tune("a.zarr", **QUICK).shape == (4000, 64)


def test_a_bcolz_folder(tmp_path):
    frame = blosc.compress(FEATURES, b"lz4", 5)
    sizes = {"shape": [4000, 64], "nbytes": FEATURES.nbytes, "cbytes": len(frame)}
    storage = {"dtype": "float32", "chunklen": 4000, "dflt": 0.0}
    files = {
        "meta/sizes": json.dumps(sizes).encode(),
        "meta/storage": json.dumps(storage).encode(),
        "data/__0.blp": struct.pack("<4sB3xq", b"blpk", 1, 1) + frame,
    }
    for name, content in files.items():
        path = tmp_path / "x.bc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert cs.tune("x.bc", **QUICK).shape == (4000, 64)
    with pytest.raises(KeyError, match="z"):
        cs.tune("x.bc", array="z", **QUICK)


def save_images(folder, sizes):
    image = require("PIL.Image")
    for number, size in enumerate(sizes):
        place = folder / f"class{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
        image.fromarray(pixels).save(place / f"{number}.png")


def test_a_folder_of_images(tmp_path):
    save_images(tmp_path / "photos", [(24, 32)] * 12)
    found = cs.tune("photos", **QUICK)
    assert found.shape == (12, 24, 32, 3)
    assert found.disk.folder == str(tmp_path / "photos")


def test_images_of_several_sizes_need_one(tmp_path):
    save_images(tmp_path / "photos", [(24, 32)] * 6 + [(30, 20)] * 6)
    with pytest.raises(ValueError, match="size"):
        cs.tune("photos", **QUICK)
    assert cs.tune("photos", size=(16, 16), **QUICK).shape == (12, 16, 16, 3)


def test_a_damaged_image_is_left_out_and_named(tmp_path):
    save_images(tmp_path / "photos", [(24, 32)] * 6)
    (tmp_path / "photos" / "class0" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    found = cs.tune("photos", **QUICK)
    assert any("left out of the sample" in note and "2.png" in note for note in found.notes)


def test_a_file_of_another_kind_says_what_is_read(tmp_path):
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(cs.FormatError, match="tune takes a store"):
        cs.tune("a.txt", **QUICK)


def test_only_pieces_of_a_large_source_are_read():
    class Large:
        shape, dtype = (1 << 24, 1 << 10), np.dtype(np.uint8)
        read = 0

        def __getitem__(self, key):
            count = key.stop - key.start
            Large.read += count
            return np.zeros((count, 1 << 10), np.uint8)

    found = cs.tune(Large(), **QUICK)
    assert found.nbytes == 1 << 34
    assert Large.read << 10 <= 128 << 20


def test_speeds_that_differ_between_rounds_are_said_to(monkeypatch):
    monkeypatch.setattr(stages, "_USUAL_SPREAD", 0)
    assert "something else used the machine" in str(cs.tune(FEATURES, **QUICK))
    monkeypatch.setattr(stages, "_USUAL_SPREAD", 1e9)
    assert "something else used the machine" not in str(cs.tune(FEATURES, **QUICK))


def test_an_array_that_is_named_need_not_have_the_length_of_the_others(tmp_path):
    h5py = require("h5py")
    path = tmp_path / "t.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.arange(40 * 64, dtype="u1").reshape(40, 8, 8)
        file["class_names"] = np.array([b"cat", b"dog"])
    report = cs.tune(path, array="images", seconds=0.1, progress=False)
    assert report.nbytes == 40 * 64
    with pytest.raises(ValueError, match=r"(?s)one length.*array= \(--array\) names the one"):
        cs.tune(path, seconds=0.1, progress=False)
