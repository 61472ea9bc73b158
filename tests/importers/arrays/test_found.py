"""Claims about what becomes of the arrays of a source, and about what a file is known by."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.importers.arrays.column import MemoryColumn
from chunkstore.importers.arrays.file_samples import FileSamples
from chunkstore.importers.arrays.files import file_identity
from chunkstore.importers.arrays.found import chosen_arrays, found_samples
from chunkstore.importers.arrays.options import plan_source
from chunkstore.importers.npy import open_npy

FOUND = {"train/x": 1, "train/y": 2, "scale": 3}


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (None, FOUND),
        ({"x": "train/x"}, {"x": 1}),
        ({"x": "/train/x", "also": "train/x"}, {"x": 1, "also": 1}),
        (["train/y", "/scale"], {"train/y": 2, "scale": 3}),
        ({}, {}),
    ],
    ids=["all", "renamed", "slash", "paths", "none"],
)
def test_arrays_are_chosen_by_their_paths(arrays, expected):
    assert chosen_arrays(FOUND, arrays, "a.h5") == expected


def test_an_array_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(KeyError, match=r"a\.h5: there is no column 'z', only train/x, train/y, sc"):
        chosen_arrays(FOUND, {"x": "z"}, "a.h5", what="column")


def test_columns_are_samples_or_stand_beside_them_and_single_values_are_attributes():
    def column(place, length):
        return MemoryColumn(place, np.arange(length))

    found = {"x": column("a: x", 5), "mean": column("a: mean", 3), "scale": np.float32(0.5)}
    notes = []
    samples = found_samples(
        "test", "a", found, beside=["mean"], attributes={"scale": 1, "by": "me"}, notes=notes
    )
    assert list(samples.specs) == ["x"]
    assert samples.unaligned["mean"][:].tolist() == [0, 1, 2]
    assert samples.attributes == {"scale": 0.5, "by": "me"}
    assert samples.provenance["beside"] == {"mean": "a: mean"}
    assert samples.notes == (
        "a: 'scale' takes the place of the file's attribute 'scale', which was 1",
    )
    with pytest.raises(KeyError, match="beside= names 'scale'; there are x, mean"):
        found_samples("test", "a", found, beside=["scale"])


def test_a_copy_of_a_file_is_the_same_file_and_a_change_anywhere_it_looks_is_another(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a" / "x.bin"
    path.parent.mkdir()
    content = bytearray(rng.bytes(100_000))
    path.write_bytes(content)
    known = file_identity(path)
    (tmp_path / "b").mkdir()
    shutil.copy(path, tmp_path / "b" / "x.bin")
    assert file_identity(tmp_path / "b" / "x.bin") == known
    for place in (0, 4095, 100_000 - 4096, 99_999):
        content[place] ^= 1
        path.write_bytes(content)
        assert file_identity(path) != known
        content[place] ^= 1
    path.write_bytes(content + b"\0")
    assert file_identity(path) != known


@pytest.mark.parametrize("kind", ["npy", "raw", "pickle"])
def test_a_copy_of_the_source_gives_the_same_bytes(tmp_path, monkeypatch, kind):
    files = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        if folder == "b":
            shutil.copyfile(tmp_path / "a" / "x.npy", "x.npy")
        elif kind == "pickle":
            np.arange(100).dump("x.npy")
        else:
            np.save("x.npy", np.arange(100))
        if kind == "raw":
            cs.import_raw("x.npy", "x.zarr.zip", dtype="u1")
        else:
            {"npy": cs.import_npy, "pickle": cs.import_pickle}[kind]("x.npy", "x.zarr.zip")
        files.append((tmp_path / folder / "x.zarr.zip").read_bytes())
    assert files[0] == files[1]


def test_one_long_name_does_not_make_all_names_long():
    names = ["x" * 1000, *(str(i) for i in range(10_000))]
    samples = FileSamples(
        "test", "a", names, names=names, specs={}, load=lambda paths: [], provenance={}
    )
    assert samples.specs["name"].dtype == np.dtype("U1000")
    assert not any(isinstance(value, np.ndarray) for value in vars(samples).values())


def test_true_means_the_labels_called_y(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(100), y=np.arange(100) // 50)
    split = {"a": 0.5, "b": 0.5}
    cs.import_npy(tmp_path / "a.npz", tmp_path / "one", split=split, stratify=True)
    cs.import_npy(tmp_path / "a.npz", tmp_path / "two", split=split, stratify="y")
    cs.import_npy(tmp_path / "a.npz", tmp_path / "three", split=split, stratify=False)
    parts = {
        name: cs.load(tmp_path / name / "a.zarr.zip")["x"].tolist()
        for name in ("one", "two", "three")
    }
    assert parts["one"] == parts["two"] != parts["three"]


def test_bad_files_are_told_by_the_dry_run_whether_they_end_the_import_or_not(tmp_path):
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.zeros(4))
    np.save(tmp_path / "3.npy", np.zeros(5))
    (tmp_path / "4.npy").write_bytes(b"no")
    plan = plan_source(open_npy, tmp_path, tmp_path / "a.zarr.zip", stack=True)
    assert plan.is_refused
    assert "2 files cannot be imported" in plan.refused[0]
    plan = plan_source(open_npy, tmp_path, tmp_path / "a.zarr.zip", stack=True, on_error="skip")
    assert not plan.is_refused
    assert [problem.partition(": ")[0].rpartition("/")[2] for problem in plan.problems] == [
        "3.npy",
        "4.npy is no npy file",
    ]
    report = cs.import_npy(tmp_path, tmp_path / "a.zarr.zip", stack=True, on_error="skip")
    assert sorted(entry.name for entry in report.skipped) == ["3.npy", "4.npy"]


def test_very_many_samples_of_nothing_are_refused_and_not_counted_out(tmp_path):
    with (tmp_path / "x.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 0)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ValueError, match=r"x\.npy claims 1000000000000 samples of no bytes each"):
        cs.import_npy(tmp_path / "x.npy", tmp_path / "a.zarr.zip")


def test_attributes_that_the_new_file_uses_itself_or_cannot_hold_are_noted(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(3)
        file.attrs["import"] = "from elsewhere"
        file["x"].attrs["unit"] = np.bytes_(b"\xb0C")
    report = cs.import_hdf5(tmp_path / "a.h5", tmp_path / "a.zarr.zip")
    with cs.open(tmp_path / "a.zarr.zip") as store:
        assert store.attributes["source import"] == "from elsewhere"
        assert store["x"].attributes["unit"] == "°C"
    assert any("is called 'source import' there" in note for note in report.notes)
    assert any("it is no UTF-8, and each byte a letter of Latin-1" in note for note in report.notes)


@pytest.mark.parametrize("order", ["<", ">"])
def test_text_of_bytes_that_are_no_letters_is_named_by_its_sample(tmp_path, order):
    codes = np.full((9, 2, 3), ord("a"), order + "u4")
    np.save(tmp_path / "x.npy", codes.view(order + "U3"))
    cs.import_npy(tmp_path / "x.npy", tmp_path / "a.zarr.zip")
    assert cs.load(tmp_path / "a.zarr.zip")["x"][8, 1, 0] == "aaa"
    codes[7, 1, 2] = 0x110000
    np.save(tmp_path / "x.npy", codes.view(order + "U3"))
    with pytest.raises(cs.CorruptionError, match=r"x\.npy: the text of sample 7 holds 0x110000"):
        cs.import_npy(tmp_path / "x.npy", tmp_path / "b.zarr.zip")
    assert not (tmp_path / "b.zarr.zip").exists()
