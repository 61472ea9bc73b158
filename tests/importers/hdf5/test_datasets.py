"""Claims about datasets of HDF5 files, against h5py."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import chunkstore as cs
from tests.support import require

h5py = require("h5py")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def check_equal(path, store_path, names):
    """Assert that each array holds what h5py reads, with its dtype in native byte order."""
    with h5py.File(path, "r") as file, cs.open(store_path) as store:
        for name, place in names.items():
            expected = file[place][...]
            assert store[name].dtype == expected.dtype.newbyteorder("=")
            np.testing.assert_array_equal(store[name][...], expected)


FILTERS = {
    "contiguous": {},
    "chunked": {"chunks": (7, 5, 2, 3)},
    "gzip": {"chunks": (7, 10, 4, 3), "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": True, "compression": "lzf"},
    "fletcher32": {"chunks": (9, 10, 4, 3), "fletcher32": True},
}


@pytest.mark.parametrize("options", FILTERS.values(), ids=FILTERS.keys())
@pytest.mark.parametrize("dtype", ["uint8", ">f4", "<i8", "float16", "complex64", "bool"])
def test_every_filter_and_dtype_comes_over_exactly(tmp_path, rng, options, dtype):
    values = rng.integers(0, 200, (100, 10, 4, 3)).astype(dtype)
    path, out = tmp_path / "a.h5", tmp_path / "a.zarr.zip"
    with h5py.File(path, "w") as file:
        file.create_dataset("g/x", data=values, **options)
        file["y"] = np.arange(100)
    report = cs.import_hdf5(path, out)
    assert report.num_samples == 100
    assert report.is_verified
    check_equal(path, out, {"g/x": "/g/x", "y": "/y"})


@pytest.mark.parametrize("name", ["Blosc", "Blosc2", "Zstd", "LZ4", "Bitshuffle"])
def test_filters_of_hdf5plugin_come_over_exactly(tmp_path, rng, name):
    hdf5plugin = require("hdf5plugin")
    path, out = tmp_path / "a.h5", tmp_path / "a.zarr.zip"
    values = rng.integers(0, 9, (300, 20, 20)).astype("float32")
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values, chunks=(32, 20, 20), **getattr(hdf5plugin, name)())
    cs.import_hdf5(path, out)
    check_equal(path, out, {"x": "/x"})


def test_filters_are_found_in_a_process_that_never_imported_hdf5plugin(tmp_path, rng):
    hdf5plugin = require("hdf5plugin")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.arange(100), chunks=(10,), **hdf5plugin.Blosc())
    code = "import chunkstore as cs; cs.import_hdf5('a.h5', 'a.zarr.zip')"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=_environment())
    assert cs.load(tmp_path / "a.zarr.zip")["x"].sum() == 4950


def _environment():
    from tests.support import REPOSITORY

    return os.environ | {"PYTHONPATH": str(REPOSITORY)}


def test_structures_text_and_enumerations_come_over(tmp_path):
    path, out = tmp_path / "a.h5", tmp_path / "a.zarr.zip"
    pairs = np.array([(1, 2.5), (3, 4.5)], [("a", "<i4"), ("b", "<f8")])
    with h5py.File(path, "w") as file:
        file["pair"] = pairs
        file["fixed"] = np.array([b"ab", b"c"], "S5")
        file.create_dataset("text", data=["grün", ""], dtype=h5py.string_dtype())
        kinds = h5py.enum_dtype({"cat": 0, "dog": 1}, basetype="u1")
        file.create_dataset("kind", data=[1, 0], dtype=kinds)
    cs.import_hdf5(path, out)
    with cs.open(out) as store:
        assert store["pair"][...].tolist() == pairs.tolist()
        assert store["fixed"][...].tolist() == [b"ab", b"c"]
        assert store["text"][...].tolist() == ["grün", ""]
        assert store["kind"][...].tolist() == [1, 0]
        assert store["kind"].attributes["enum"] == {"cat": 0, "dog": 1}


def test_datasets_are_chosen_and_renamed_and_stand_beside_the_samples(tmp_path, rng):
    path, out = tmp_path / "a.h5", tmp_path / "a.zarr.zip"
    with h5py.File(path, "w") as file:
        file["train/images"] = rng.normal(size=(20, 6))
        file["train/labels"] = np.arange(20)
        file["mean_image"] = rng.normal(size=6)
        file["other"] = np.zeros(3)
        file["train/images"].attrs["unit"] = "mV"
        file.attrs["author"] = "someone"
        file["scale"] = 0.5
    arrays = {"x": "train/images", "y": "/train/labels", "mean": "/mean_image", "scale": "scale"}
    cs.import_hdf5(path, out, arrays=arrays, beside=["mean"])
    check_equal(path, out, {"x": "/train/images", "y": "/train/labels", "mean": "/mean_image"})
    with cs.open(out) as store:
        assert store.num_samples == 20
        assert set(store) == {"x", "y", "mean"}
        assert store["x"].attributes["unit"] == "mV"
        assert store.attributes["author"] == "someone"
        assert store.attributes["scale"] == 0.5
        about = store.attributes["import"]
        assert about["kind"] == "hdf5"
        assert about["arrays"]["x"]["source"].endswith("dataset '/train/images'")


def test_several_files_come_one_behind_the_other(tmp_path, rng):
    values = rng.normal(size=(30, 4))
    for i in range(3):
        with h5py.File(tmp_path / f"{i}.h5", "w") as file:
            file.create_dataset("x", data=values[10 * i : 10 * i + 10], chunks=(4, 4))
    paths = [tmp_path / f"{i}.h5" for i in range(3)]
    cs.import_hdf5(paths, tmp_path / "a.zarr.zip")
    np.testing.assert_array_equal(cs.load(tmp_path / "a.zarr.zip")["x"], values)
    with h5py.File(tmp_path / "1.h5", "w") as file:
        file["x"] = np.zeros((10, 5))
    with pytest.raises(ValueError, match=r"1\.h5: dataset '/x': samples of shape \(5,\)"):
        cs.import_hdf5(paths, tmp_path / "b.zarr.zip")


@pytest.mark.parametrize("chunk_length", [1, 7, 64, None])
@pytest.mark.parametrize("threads", [1, 4])
def test_chunks_of_any_length_and_any_threads_give_one_file(tmp_path, rng, chunk_length, threads):
    path = tmp_path / "a.h5"
    values = rng.integers(0, 255, (500, 30, 31), dtype="uint8")
    with h5py.File(path, "w") as file:
        chunks = (chunk_length or 500, 30, 31)
        file.create_dataset("x", data=values, chunks=chunks, compression="lzf")
        file.create_dataset("y", data=np.arange(500), chunks=(333,), compression="lzf")
    out = tmp_path / "a.zarr.zip"
    cs.import_hdf5(path, out, threads=threads, chunk_length=11)
    check_equal(path, out, {"x": "/x", "y": "/y"})


def test_a_shuffled_import_holds_every_sample_once_in_the_stated_order(tmp_path, rng):
    path, out = tmp_path / "a.h5", tmp_path / "a.zarr.zip"
    values = rng.integers(0, 255, (200, 50), dtype="uint8")
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values, chunks=(16, 50), compression="gzip")
        file["y"] = np.arange(200)
    cs.import_hdf5(path, out, shuffle=True, seed=3)
    loaded = cs.load(out)
    assert sorted(loaded["y"].tolist()) == list(range(200))
    assert loaded["y"].tolist() != list(range(200))
    np.testing.assert_array_equal(loaded["x"], values[loaded["y"]])


def test_large_compressed_arrays_are_shuffled_by_a_temporary_file(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("chunkstore.importers.arrays.samples._IN_MEMORY_NBYTES", 100)
    path, out = tmp_path / "a.h5", tmp_path / "a.zarr.zip"
    values = rng.integers(0, 255, (200, 50), dtype="uint8")
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values, chunks=(16, 50), compression="gzip")
        file["y"] = np.arange(200)
    cs.import_hdf5(path, out, shuffle=True, seed=3)
    loaded = cs.load(out)
    np.testing.assert_array_equal(loaded["x"], values[loaded["y"]])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "a.zarr.zip"]


def test_parts_of_a_split_hold_every_sample_once_stratified_by_an_array(tmp_path, rng):
    path, out = tmp_path / "a.h5", tmp_path / "set"
    values = rng.integers(0, 255, (200, 50), dtype="uint8")
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values, chunks=(16, 50), compression="gzip")
        file.create_dataset("y", data=np.repeat(np.arange(4), 50), chunks=(64,))
        file["number"] = np.arange(200)
    reports = cs.import_hdf5(path, out, split={"train": 0.8, "val": 0.2}, stratify="y")
    parts = {name: cs.load(out / f"{name}.zarr.zip") for name in reports}
    numbers = np.concatenate([part["number"] for part in parts.values()])
    assert sorted(numbers.tolist()) == list(range(200))
    for part in parts.values():
        np.testing.assert_array_equal(part["x"], values[part["number"]])
        assert np.ptp(np.bincount(part["y"])) <= 1


def test_a_chunk_that_does_not_decode_names_dataset_and_samples(tmp_path, rng):
    path, out = tmp_path / "a.h5", tmp_path / "a.zarr.zip"
    with h5py.File(path, "w") as file:
        data = rng.integers(0, 9, (100, 50))
        x = file.create_dataset("x", data=data, chunks=(10, 50), fletcher32=True)
        offset = x.id.get_chunk_info(4).byte_offset
    raw = bytearray(path.read_bytes())
    raw[offset + 100] ^= 255
    path.write_bytes(raw)
    with pytest.raises(cs.CorruptionError, match=r"a\.h5: dataset '/x': samples \[\d+, \d+\)"):
        cs.import_hdf5(path, out)
    assert not out.exists()


def test_a_file_that_is_cut_off_is_named(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(10000)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(cs.ChunkStoreError, match=r"a\.h5"):
        cs.import_hdf5(path, tmp_path / "a.zarr.zip")


def test_chunks_that_were_never_written_are_noted(tmp_path):
    path, out = tmp_path / "a.h5", tmp_path / "a.zarr.zip"
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (100, 4), "f4", chunks=(10, 4), fillvalue=9)
        x[:50] = 1
    report = cs.import_hdf5(path, out)
    assert any("5 chunks were never written" in note for note in report.notes)
    check_equal(path, out, {"x": "/x"})


BAD = {
    "no-file": (None, {}, FileNotFoundError, r"a\.h5"),
    "text": (b"hello", {}, cs.FormatError, "this is no HDF5 file"),
    "no-dataset": ({}, {}, cs.FormatError, "no dataset"),
    "lengths": (
        {"x": np.zeros(3), "y": np.zeros(4)},
        {},
        ValueError,
        r"must have one length, got\n  x: shape \(3,\)\n  y: shape \(4,\)",
    ),
    "unknown": ({"x": np.zeros(3)}, {"arrays": {"x": "/z"}}, KeyError, "no dataset '/z', only /x"),
    "beside": ({"x": np.zeros(3)}, {"beside": ["m"]}, KeyError, "beside= names 'm'"),
    "layout": ({"x": np.zeros(3)}, {"layout": "tf"}, ValueError, "layout must be one of"),
    "name": ({"größe": np.zeros(3)}, {}, ValueError, "printable ASCII"),
    "option": ({"x": np.zeros(3)}, {"chnk": 3}, TypeError, "no argument 'chnk'"),
    "stratify": ({"x": np.zeros(3)}, {"split": {"a": 1.0}, "stratify": "k"}, KeyError, "'k'"),
}


@pytest.mark.parametrize(("content", "options", "error", "message"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_imported_is_named(tmp_path, content, options, error, message):
    path = tmp_path / "a.h5"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with h5py.File(path, "w") as file:
            for name, values in content.items():
                file[name] = values
    with pytest.raises(error, match=message):
        cs.import_hdf5(path, tmp_path / "a.zarr.zip", **options)
    assert not (tmp_path / "a.zarr.zip").exists()


def test_elements_of_no_fixed_size_are_refused_by_name(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        ragged = file.create_dataset("ragged", (2,), dtype=h5py.vlen_dtype("i4"))
        ragged[0], ragged[1] = [1], [2, 3]
        file.create_dataset("ref", data=[file.ref, file.ref], dtype=h5py.ref_dtype)
        file.create_dataset("bad", data=[b"a", b"\xff"], dtype=h5py.string_dtype())
    for name, message in (("ragged", "different lengths"), ("ref", "references")):
        with pytest.raises(cs.UnsupportedError, match=f"dataset '/{name}' .*{message}"):
            cs.import_hdf5(path, tmp_path / "a.zarr.zip", arrays=[name])
    with pytest.raises(cs.CorruptionError, match="dataset '/bad': sample 1 is no UTF-8"):
        cs.import_hdf5(path, tmp_path / "a.zarr.zip", arrays=["bad"])


def test_a_virtual_dataset_whose_file_is_gone_is_an_error(tmp_path):
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["x"] = np.arange(10)
    layout = h5py.VirtualLayout((10,), "i8")
    layout[:] = h5py.VirtualSource("part.h5", "x", (10,))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout)
    cs.import_hdf5(path, tmp_path / "a.zarr.zip")
    assert cs.load(tmp_path / "a.zarr.zip")["x"].tolist() == list(range(10))
    (tmp_path / "part.h5").unlink()
    with pytest.raises(cs.CorruptionError, match=r"'part\.h5' is not there"):
        cs.import_hdf5(path, tmp_path / "b.zarr.zip")


@pytest.mark.parametrize("options", [{}, {"chunks": (3,)}], ids=["contiguous", "chunked"])
def test_a_dataset_behind_an_external_link_is_that_of_the_other_file(tmp_path, options):
    other, path = tmp_path / "other.h5", tmp_path / "a.h5"
    with h5py.File(other, "w") as file:
        file.create_dataset("x", data=np.arange(10, 20), **options)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.arange(10), **options)
        file["link"] = h5py.ExternalLink("other.h5", "/x")
    arrays = {"own": "/x", "linked": "/link"}
    cs.import_hdf5(path, tmp_path / "a.zarr.zip", arrays=arrays)
    loaded = cs.load(tmp_path / "a.zarr.zip")
    assert loaded["own"].tolist() == list(range(10))
    assert loaded["linked"].tolist() == list(range(10, 20))
    with h5py.File(other, "r+") as file:
        file["x"][0] = 7
    cs.import_hdf5(path, tmp_path / "b.zarr.zip", arrays=arrays)
    fingerprints = []
    for name in ("a.zarr.zip", "b.zarr.zip"):
        with cs.open(tmp_path / name) as store:
            fingerprints.append(store.attributes["import"]["fingerprint"])
    assert fingerprints[0] != fingerprints[1]


def test_an_existing_file_is_not_replaced_unless_told(tmp_path):
    path, out = tmp_path / "a.h5", tmp_path / "a.zarr.zip"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(10)
    cs.save(out, {"mine": np.arange(3)})
    with pytest.raises(FileExistsError):
        cs.import_hdf5(path, out)
    assert list(cs.load(out)) == ["mine"]
    cs.import_hdf5(path, out, overwrite=True)
    assert cs.load(out)["x"].sum() == 45


def test_the_file_says_which_axis_counted_and_what_stood_beside(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["mean"] = np.zeros((5, 2)), np.zeros(2)
    cs.import_hdf5(tmp_path / "a.h5", tmp_path / "a.zarr.zip", beside=["mean"], sample_axis="first")
    with cs.open(tmp_path / "a.zarr.zip") as store:
        about = store.attributes["import"]
    assert (about["sample_axis"], about["beside"]) == ("first", ["mean"])


def test_what_was_exported_comes_back_equal(tmp_path):
    arrays = {
        "dates": np.array(["2020-02-29", "NaT", "1969-01-01"], "M8[D]"),
        "spans": np.array([[1, 2], ["NaT", 4], [5, 6]], "m8[us]"),
        "bytes": np.array([b"ab", b"", b"\xff"], "S2"),
        "text": np.array(["a", "grün", ""]),
        "flags": np.array([True, False, True]),
    }
    about = {"names": ["cat", "dog"], "none": None, "deep": {"a": [1, 2.5]}, "like": "[1]", "n": 3}
    with cs.create(tmp_path / "a.zarr.zip", attributes=about) as writer:
        writer.append(**arrays)
    cs.export(tmp_path / "a.zarr.zip", tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["text"].attrs["chunkstore_json"] = ["pair", "gone"]
        file["text"].attrs["pair"] = "[1, null]"
    cs.import_hdf5(tmp_path / "a.h5", tmp_path / "b.zarr.zip")
    with cs.open(tmp_path / "b.zarr.zip") as store:
        for name, values in arrays.items():
            assert store[name].dtype == values.dtype
            assert store[name][...].tobytes() == values.tobytes()
            expected = {"pair": [1, None]} if name == "text" else {}
            assert store[name].attributes == expected
        found = store.attributes
    found.pop("import")
    assert found == about


def test_attributes_of_others_that_look_like_ours_stay(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = np.arange(3), np.arange(3.0)
        file["x"].attrs["numpy_dtype"] = "int64"
        file["y"].attrs["numpy_dtype"] = "<M8[D]"
        file["x"].attrs["chunkstore_json"] = "bad"
        file["x"].attrs["bad"] = "[1"
    report = cs.import_hdf5(tmp_path / "a.h5", tmp_path / "a.zarr.zip")
    assert any("attribute 'bad' is kept as text" in note for note in report.notes)
    with cs.open(tmp_path / "a.zarr.zip") as store:
        assert store["x"].dtype == np.int64
        assert store["x"].attributes == {"numpy_dtype": "int64", "bad": "[1"}
        assert store["y"].dtype == np.float64


def test_what_no_dataset_holds_is_noted(tmp_path):
    path, out = tmp_path / "a.h5", tmp_path / "a.zarr.zip"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (5,), "f4", fillvalue=2)
        file["y"] = np.arange(5)
        file["g/soft"] = h5py.SoftLink("/y")
        file["outer"] = h5py.ExternalLink("other.h5", "/z")
        file["n"] = 3
        file.attrs["n"] = 4
    report = cs.import_hdf5(path, out)
    wanted = [
        "dataset '/x' was never written; all its samples are the fill value 2",
        "'/g/soft' is a link to '/y'; it is left out",
        "'/outer' is a link to '/z' of the file 'other.h5'; it is left out",
        "dataset '/n' takes the place of the file's attribute 'n', which was 4",
    ]
    for part in wanted:
        assert sum(part in note for note in report.notes) == 1, part
    assert len(report.notes) == len(wanted)
    with cs.open(out) as store:
        assert store.attributes["n"] == 3
        assert store["x"][...].tolist() == [2.0] * 5
        assert set(store) == {"x", "y"}


def test_text_that_cannot_be_decoded_names_dataset_and_samples(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = ["some text"] * 100
        options = {"chunks": (10,), "compression": "gzip", "dtype": h5py.string_dtype()}
        x = file.create_dataset("x", data=data, **options)
        offset = x.id.get_chunk_info(4).byte_offset
    raw = bytearray(path.read_bytes())
    raw[offset + 4] ^= 255
    path.write_bytes(raw)
    with pytest.raises(cs.CorruptionError, match=r"a\.h5: dataset '/x': samples \[0, 100\)"):
        cs.import_hdf5(path, tmp_path / "a.zarr.zip")


# Each file is opened twice: the limit is met at either.
@pytest.mark.parametrize("most", [100, 101])
def test_more_files_than_a_process_may_open_are_refused_with_what_to_do(tmp_path, most):
    resource = pytest.importorskip("resource")
    for i in range(120):
        with h5py.File(tmp_path / f"{i:03}.h5", "w") as file:
            file["x"] = np.full(3, i)
    paths = sorted(tmp_path.glob("*.h5"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        with pytest.raises(
            cs.SystemCallError, match=r"of 120 files \d+ are open.*ulimit -n.*merge"
        ):
            cs.import_hdf5(paths, tmp_path / "a.zarr.zip")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    cs.import_hdf5(paths, tmp_path / "a.zarr.zip")
    assert cs.load(tmp_path / "a.zarr.zip")["x"].tolist() == np.repeat(range(120), 3).tolist()


def test_a_file_that_this_process_still_writes_is_read_as_it_has_it(tmp_path):
    path, out = tmp_path / "a.h5", tmp_path / "a.zarr.zip"
    with h5py.File(path, "w") as file:
        file["z"] = np.zeros((100, 3))
        file.create_dataset("x", (100, 4096), "u1", chunks=(10, 4096), compression="gzip")
        file["z"][5:9] = 7
        file["x"][50:60] = 3
        cs.import_hdf5(path, out)
        for name, values in cs.load(out).items():
            np.testing.assert_array_equal(values, file[name][...])
    assert cs.load(out)["z"][5].tolist() == [7, 7, 7]


def write_described(path):
    """Write two datasets, and return where what describes each stands, under a checksum."""
    with h5py.File(path, "w", libver="latest") as file:
        for name in ("x", "y"):
            x = file.create_dataset(name, data=np.arange(900.0), chunks=(100,), compression="gzip")
            x.attrs["unit"] = "metre"
        return [h5py.h5o.get_info(file[name].id).addr for name in ("x", "y")]


@pytest.mark.parametrize("offset", [0, 4, 6, 20, 40, 60])
def test_damage_to_what_describes_a_dataset_is_an_error_that_names_it(tmp_path, offset):
    path, out = tmp_path / "a.h5", tmp_path / "a.zarr.zip"
    place = write_described(path)[0] + offset
    raw = bytearray(path.read_bytes())
    raw[place] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(cs.CorruptionError, match=r"a\.h5: dataset '/x': HDF5 cannot read"):
        cs.import_hdf5(path, out, arrays=["/x", "/y"])
    with pytest.raises(cs.CorruptionError, match=r"a\.h5: HDF5 cannot read"):
        cs.import_hdf5(path, out)


def test_damage_to_another_dataset_is_no_matter(tmp_path):
    path, out = tmp_path / "a.h5", tmp_path / "a.zarr.zip"
    _, place = write_described(path)
    raw = bytearray(path.read_bytes())
    raw[place + 10] ^= 0xFF
    path.write_bytes(raw)
    cs.import_hdf5(path, out, arrays=["/x"])
    assert cs.load(out)["x"].tolist() == list(range(900))


def test_elements_that_are_arrays_are_refused_by_name(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (30,), np.dtype(("i2", (4, 4))), chunks=(10,))
    with pytest.raises(cs.UnsupportedError, match="dataset '/x' has arrays for elements"):
        cs.import_hdf5(tmp_path / "a.h5", tmp_path / "a.zarr.zip")


def test_arrays_beside_the_samples_keep_their_attributes(tmp_path):
    path, out = tmp_path / "a.h5", tmp_path / "a.zarr.zip"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(30)
        file["mean"] = np.arange(3.0)
        file["mean"].attrs["unit"] = "metre"
    cs.import_hdf5(path, out, beside=["mean"])
    with cs.open(out) as store:
        assert store["mean"].attributes == {"unit": "metre"}
        assert store["mean"][...].tolist() == [0, 1, 2]
