"""Does verify find every damage that is planted, and say what is lost?"""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.container.reader import EntryReader
from tests.store.stores import entries, entry_place, flip

SPECS = {
    "x": cs.ArraySpec("i4", (5,), chunk_length=4),
    "y": cs.ArraySpec("i8", chunk_length=8),
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.zarr.zip"
    with cs.create(path, arrays=SPECS) as writer:
        writer.append(x=np.arange(150, dtype="i4").reshape(30, 5), y=np.arange(30))
        writer.put("mean", np.ones(5), aligned=False)
    with cs.append(path) as writer:
        writer.append(x=np.zeros((3, 5), "i4"), y=[0, 0, 0])
    return path


def test_a_sound_file_has_no_problems(path):
    report = cs.verify(path)
    assert report.ok
    assert report.problems == ()
    assert report.lost_samples == {}
    assert report.num_entries == len(entries(path))
    assert report.num_bytes == sum(info.file_size for info in entries(path))
    assert report.torn_nbytes == 0


@pytest.mark.parametrize("part", ["signature", "name", "size", "crc", "data"])
@pytest.mark.parametrize(
    ("key", "array", "chunk", "samples"),
    [
        ("x/c/2/0", "x", 2, (8, 12)),
        ("x/c/8/0", "x", 8, (32, 33)),
        ("y/c/0", "y", 0, (0, 8)),
        ("mean/c/0", "mean", 0, (0, 5)),
    ],
)
def test_a_damaged_chunk_is_found_and_its_samples_are_named(part, key, array, chunk, samples, path):
    header, data, _ = entry_place(path, key)
    place = {"signature": header, "name": header + 31, "size": header + 18, "crc": header + 14}
    flip(path, place.get(part, data + 20), 2)
    report = cs.verify(path)
    assert not report.ok
    [problem] = report.problems
    assert (problem.array, problem.chunk_index, problem.samples) == (array, chunk, samples)
    assert (problem.key, problem.offset) == (key, header)
    assert report.lost_samples == {array: [samples]}
    # The other chunks are read all the same.
    with cs.open(path) as store:
        with pytest.raises(cs.CorruptionError, match=rf"{key}' at byte {header}"):
            store[array][...]
        if array == "x" and chunk == 2:
            assert store["x"][12:].shape == (21, 5)


def test_several_damaged_chunks_are_all_found_in_order(path):
    for key in ("x/c/5/0", "x/c/4/0", "x/c/1/0", "y/c/3"):
        flip(path, entry_place(path, key)[1] + 17)
    report = cs.verify(path)
    assert [p.key for p in report.problems] == ["x/c/1/0", "x/c/4/0", "x/c/5/0", "y/c/3"]
    assert report.lost_samples == {"x": [(4, 8), (16, 24)], "y": [(24, 32)]}


@pytest.mark.parametrize("name", ["zarr.json", "x/zarr.json"])
def test_damaged_metadata_is_found_and_the_rest_is_checked(name, path):
    flip(path, entry_place(path, name)[1] + 9)
    flip(path, entry_place(path, "y/c/2")[1] + 17)
    report = cs.verify(path)
    assert {name, "y/c/2"} <= {problem.key for problem in report.problems}
    assert report.lost_samples["y"] == [(16, 24)]


def test_a_damaged_directory_is_a_problem_of_the_file(path):
    raw = path.read_bytes()
    place = raw.rfind(b"PK\5\6")
    flip(path, place + 16)
    report = cs.verify(path)
    [problem] = report.problems
    assert problem.array is None
    assert "damaged" in problem.message


def test_what_is_missing_or_unknown_is_found(path):
    with zipfile.ZipFile(path) as file:
        old = {info.filename: file.read(info.filename) for info in file.infolist()}
    del old["x/c/3/0"], old["y/c/0"]
    old["notes.txt"] = b"hello"
    with zipfile.ZipFile(path, "w") as file:
        for name, data in old.items():
            file.writestr(name, data)
    report = cs.verify(path)
    assert report.lost_samples == {"x": [(12, 16)], "y": [(0, 8)]}
    assert any(problem.key == "notes.txt" for problem in report.problems)


def test_every_bit_that_is_flipped_in_a_chunk_or_its_header_is_found(tmp_path):
    path = tmp_path / "a.zarr.zip"
    with cs.create(path, arrays={"y": SPECS["y"]}) as writer:
        writer.append(y=np.arange(12))
    header, data, nbytes = entry_place(path, "y/c/0")
    # Of the header: version needed, date and time say nothing that a reader uses.
    unused = {*range(header + 4, header + 6), *range(header + 10, header + 14)}
    unused |= {header + 6, header + 7}
    for offset in range(header, data + nbytes):
        for bit in (0, 3, 7):
            flip(path, offset, bit)
            report = cs.verify(path)
            assert not report.ok or offset in unused, f"byte {offset - header}, bit {bit}"
            flip(path, offset, bit)
    assert cs.verify(path).ok


def test_without_the_checksum_a_flipped_bit_of_raw_data_would_not_be_found(tmp_path, monkeypatch):
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {"y": np.arange(12)}, codec="raw")
    flip(path, entry_place(path, "y/c/0")[1] + 17)
    assert cs.verify(path).lost_samples == {"y": [(0, 12)]}
    fetch = EntryReader._fetch

    def unchecked(self, *place):
        self._check = False
        return fetch(self, *place)

    monkeypatch.setattr(EntryReader, "_fetch", unchecked)
    assert cs.verify(path).ok


def test_a_torn_tail_is_told_and_is_no_damage(path):
    with path.open("ab") as file:
        file.write(b"PK\3\4" + bytes(10))
    report = cs.verify(path)
    assert report.ok
    assert report.torn_nbytes == 14


def test_the_report_goes_into_json(path):
    flip(path, entry_place(path, "x/c/2/0")[1] + 17)
    report = json.loads(json.dumps(cs.verify(path).to_json()))
    assert report["ok"] is False
    assert report["lost_samples"] == {"x": [[8, 12]]}
    assert report["problems"][0]["key"] == "x/c/2/0"


def test_verify_of_no_file_is_an_error_and_of_no_store_a_problem(tmp_path):
    with pytest.raises(FileNotFoundError):
        cs.verify(tmp_path / "a.zarr.zip")
    with pytest.raises(IsADirectoryError):
        cs.verify(tmp_path)
    (tmp_path / "noise").write_bytes(b"hello")
    assert not cs.verify(tmp_path / "noise").ok
