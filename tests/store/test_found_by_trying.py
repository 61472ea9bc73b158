"""What did people, links, other writers and strange arguments do to a file?"""

from __future__ import annotations

import json
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from chunkstore import system

SAMPLES = np.arange(100)


@pytest.fixture
def path(tmp_path):
    """A file of 100 samples."""
    path = str(tmp_path / "a.zarr.zip")
    cs.save(path, {"x": SAMPLES})
    return path


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def append_ten(path):
    with cs.append(path) as writer:
        writer.append(x=np.arange(10))


# --------------------------------------------------------------------------- other writers


@pytest.mark.parametrize("calls", [system.NativeCalls, system.PortableCalls])
def test_a_file_that_is_appended_to_is_not_replaced_by_a_new_one(path, calls):
    with system.replaced_calls(calls()):
        with cs.append(path) as writer:
            writer.append(x=np.arange(10))
            with pytest.raises(cs.LockedError, match="another writer"):
                cs.create(path, overwrite=True)
        assert cs.open(path).num_samples == 110
        cs.save(path, {"x": np.arange(3)}, overwrite=True)
    assert cs.open(path).num_samples == 3
    assert names(Path(path).parent) == ["a.zarr.zip"]


def test_an_append_that_began_during_a_create_is_not_lost(path):
    new = cs.create(path, overwrite=True)
    new.append(x=np.arange(3))
    with cs.append(path) as writer:
        writer.append(x=np.arange(10))
        with pytest.raises(cs.LockedError, match="another writer"):
            new.close()
    assert cs.open(path).num_samples == 110
    # The new one is complete all the same and takes the name when that is asked for.
    cs.append(path, resume=True, overwrite=True).close()
    assert cs.load(path)["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("make", [cs.compact, cs.repair])
def test_no_copy_replaces_a_file_that_another_writer_has(path, tmp_path, make):
    other = str(tmp_path / "b.zarr.zip")
    cs.save(other, {"x": np.arange(7)})
    with cs.append(other) as writer:
        writer.append(x=[7])
        with pytest.raises(cs.LockedError, match="another writer"):
            make(path, other, overwrite=True)
    assert cs.load(other)["x"].tolist() == list(range(8))
    assert names(tmp_path) == ["a.zarr.zip", "b.zarr.zip"]


# --------------------------------------------------------------------------- paths


def test_compact_of_a_link_replaces_the_file_and_keeps_the_link(path, tmp_path):
    append_ten(path)
    link = tmp_path / "link.zarr.zip"
    link.symlink_to("a.zarr.zip")
    report = cs.compact(link)
    assert link.is_symlink()
    assert report.path == report.out == str(link)
    assert Path(path).stat().st_size == report.nbytes_after < report.nbytes_before
    append_ten(path)
    assert cs.open(link).num_samples == 120


def test_a_writer_and_an_array_outlive_a_change_of_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    writer = cs.create("r.zarr.zip")
    writer.append(x=SAMPLES)
    monkeypatch.chdir(tmp_path / "elsewhere")
    writer.close()
    assert names(tmp_path / "elsewhere") == []
    monkeypatch.chdir(tmp_path)
    store = cs.open("r.zarr.zip")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert pickle.loads(pickle.dumps(store["x"]))[5] == 5
    with pickle.loads(pickle.dumps(store)) as again:
        assert again.num_samples == 100
    reader = store["x"].open_reader(direct=True)
    assert reader.read_chunk(0)[5] == 5
    reader.close()
    store.close()


def test_an_empty_path_is_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for use in (cs.create, cs.append, cs.open, cs.verify, cs.compact, cs.repair):
        with pytest.raises(ValueError, match="path"):
            use("")
    assert names(tmp_path) == []


def test_a_path_may_be_bytes(path):
    assert cs.open(os.fsencode(path)).path == path
    append_ten(os.fsencode(path))
    cs.save(os.fsencode(path) + b"2", {"x": SAMPLES})
    assert cs.verify(os.fsencode(path)).ok


def test_a_link_to_nowhere_is_refused_before_anything_is_written(tmp_path):
    link = tmp_path / "link.zarr.zip"
    link.symlink_to("nowhere.zarr.zip")
    with pytest.raises(FileExistsError, match="exists already"):
        cs.create(link)
    assert names(tmp_path) == ["link.zarr.zip"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file_is_never_replaced(path, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(cs.FormatError, match="device or a pipe"):
        cs.create(pipe, overwrite=True)
    with pytest.raises(cs.FormatError, match="device or a pipe"):
        cs.compact(path, pipe, overwrite=True)
    assert names(tmp_path) == ["a.zarr.zip", "pipe"]


# --------------------------------------------------------------------------- attributes

DEEP: dict = {}
_inner = DEEP
for _ in range(5000):
    _inner["a"] = _inner = {}

BAD_ATTRIBUTES = {
    "two keys that are one in JSON": {1: "a", "1": "b"},
    "a number as key, deep inside": {"a": [{"b": {2: 3}}]},
    "NaN": {"a": float("nan")},
    "an object": {"a": object()},
    "nested too deep": DEEP,
    "larger than a reader takes": {"a": "x" * (20 << 20)},
    "no dict": [("a", {1})],
}


@pytest.mark.parametrize("bad", BAD_ATTRIBUTES.values(), ids=BAD_ATTRIBUTES.keys())
def test_attributes_that_would_not_come_back_are_refused_and_samples_stay(tmp_path, bad):
    path = str(tmp_path / "a.zarr.zip")
    with pytest.raises((TypeError, ValueError), match="attributes"):
        cs.ArraySpec("u1", attributes=bad)
    if isinstance(bad, dict):
        with pytest.raises((TypeError, ValueError), match="attributes"):
            cs.create(path, attributes=bad)
        assert names(tmp_path) == []
        writer = cs.create(path)
        writer.append(x=SAMPLES)
        with pytest.raises((TypeError, ValueError), match="attributes"):
            writer.put("mean", np.ones(3), aligned=False, attributes=bad)
        writer.attributes.update(bad)
        with pytest.raises((TypeError, ValueError), match="attributes"):
            writer.close()
        cs.append(path, resume=True).close()
        assert cs.load(path)["x"].tolist() == SAMPLES.tolist()


def test_the_part_of_an_arrays_attributes_that_is_ours_is_refused(tmp_path):
    with pytest.raises(ValueError, match="belongs to the file format"):
        cs.ArraySpec("u1", attributes={"chunkstore": {"dtype": "<U3"}})


def test_a_spec_keeps_its_attributes_when_the_callers_dict_changes():
    mine = {"classes": ["cat"]}
    spec = cs.ArraySpec("u1", attributes=mine)
    mine["classes"].append(float("nan"))
    assert spec.attributes == {"classes": ["cat"]}


# --------------------------------------------------------------------------- values


def test_masked_values_never_become_data(tmp_path):
    masked = np.ma.array([1, 2, 3], mask=[False, True, False])
    path = tmp_path / "a.zarr.zip"
    with pytest.raises(TypeError, match=r"array 'x': values are masked.*\.filled"):
        cs.save(path, {"x": masked})
    assert names(tmp_path) in ([], ["a.zarr.zip.partial"])
    with cs.create(path, overwrite=True) as writer:
        with pytest.raises(TypeError, match="values are masked"):
            writer.append(x=masked)
        writer.append(x=np.ma.array([4, 5]))
    assert cs.load(path)["x"].tolist() == [4, 5]


def test_strings_of_any_length_are_refused_by_what_they_are(tmp_path, path):
    words = np.array(["a", "bcd"], np.dtypes.StringDType())
    with pytest.raises(TypeError, match=r"array 'x': dtype StringDType.*never stored"):
        cs.save(tmp_path / "b.zarr.zip", {"x": words})
    with pytest.raises(TypeError, match="never stored"):
        cs.ArraySpec(words.dtype)
    with cs.append(path) as writer, pytest.raises(TypeError, match="expected dtype int64"):
        writer.append(x=words)


def test_an_index_beyond_64_bits_is_out_of_bounds(path):
    with cs.open(path) as store:
        for index in (10**30, -(10**30)):
            with pytest.raises(IndexError, match="out of bounds"):
                store["x"][index]
        assert store["x"][: 10**30].tolist() == SAMPLES.tolist()


class Shrinking:
    """A source that gives fewer samples than it said it has."""

    shape, dtype = (5, 2), np.dtype("f4")

    def __getitem__(self, key):
        return np.zeros((3, 2), "f4")


def test_a_source_that_gives_another_shape_than_it_says_is_refused(path, tmp_path):
    with pytest.raises(ValueError, match=r"array 'x': its source has shape \(5, 2\), but gives"):
        cs.save(tmp_path / "b.zarr.zip", {"x": Shrinking()})
    with cs.append(path) as writer, pytest.raises(ValueError, match="was it changed meanwhile"):
        writer.put("mean", Shrinking(), aligned=False)
    assert list(cs.open(path)) == ["x"]


def test_the_names_in_a_group_are_no_samples(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = SAMPLES
        with pytest.raises(TypeError, match="array 'x': got a File, which is a mapping"):
            cs.save(tmp_path / "b.zarr.zip", {"x": file})
        cs.save(tmp_path / "b.zarr.zip", file)
    assert cs.load(tmp_path / "b.zarr.zip")["x"].tolist() == SAMPLES.tolist()


# --------------------------------------------------------------------------- other people's files


def write_foreign(path, shape, chunks, entries):
    """Write a zip with one uint8 array ``x`` of raw chunks."""
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": {},
    }
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("zarr.json", '{"zarr_format":3,"node_type":"group","attributes":{}}')
        file.writestr("x/zarr.json", json.dumps(metadata))
        for name, data in entries.items():
            file.writestr(name, data)


def test_a_single_number_is_verified(tmp_path):
    path = tmp_path / "number.zarr.zip"
    write_foreign(path, [], [], {"x/c": b"\7"})
    assert cs.open(path)["x"][()] == 7
    assert cs.verify(path).ok
    write_foreign(path, [], [], {"x/c": b"\7\7"})
    assert not cs.verify(path).ok


def test_of_a_huge_grid_only_the_stored_chunks_are_verified(tmp_path):
    path = tmp_path / "huge.zarr.zip"
    write_foreign(path, [2**60, 4], [1, 2], {f"x/c/{2**59}/1": b"ab", "x/c/7/0": b"abc"})
    with cs.open(path) as store:
        assert store["x"][2**59].tolist() == [0, 0, 97, 98]
    report = cs.verify(path)
    assert [problem.chunk_index for problem in report.problems] == [7]


def test_nothing_warns(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        append_ten(path)
        cs.compact(path)
        with cs.open(path) as store:
            assert store["x"][-1] == 9
