"""What is lost of a damaged source is never silent: one list, one warning, an exit code."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main
from chunkstore.importing import losses
from chunkstore.importing.losses import Losses, Lost, listed
from tests.importers.bcolz.folders import blosc_frame, images, write_carray, write_ctable

IGNORED = pytest.mark.filterwarnings("ignore::chunkstore.ChunkStoreWarning")


def run_cli(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def break_frame(folder, chunk_index):
    """Damage that no header shows: it is found when the chunk is decoded."""
    path = folder / "data" / f"__{chunk_index}.blp"
    raw = bytearray(path.read_bytes())
    # The length of the first stream, behind both headers and one block start.
    raw[36:40] = b"\xff\xff\xff\x7f"
    path.write_bytes(raw)


def noise(num_samples):
    """Numbers that are compressed, in one block a chunk."""
    return np.arange(num_samples * 50, dtype="i4").reshape(num_samples, 50)


def test_header_and_decode_damage_stand_in_one_list_with_one_warning(tmp_path):
    values = noise(60)
    folder = write_carray(tmp_path / "x.bc", values)
    (folder / "data" / "__1.blp").unlink()
    break_frame(folder, 3)
    break_frame(folder, 4)
    out = tmp_path / "out.zarr.zip"
    with pytest.warns(cs.ChunkStoreWarning, match="the source is damaged, this is lost") as caught:
        report = cs.import_bcolz(folder, out, salvage=True)
    assert len(caught) == 1
    assert [lost.samples for lost in report.lost] == [(10, 20), (30, 50)]
    assert [lost.num_places for lost in report.lost] == [1, 2]
    assert "data/__1.blp: the chunk file is missing" in report.lost[0].reason
    assert "data/__3.blp: " in report.lost[1].reason
    assert all(str(lost) in str(caught[0].message) for lost in report.lost)
    with cs.open(out) as store:
        entries = store.attributes["import"]["position"]["lost"]["entries"]
        assert [entry["samples"] for entry in entries] == [[10, 20], [30, 50]]
        valid = store["valid"][:]
        assert np.flatnonzero(~valid).tolist() == [*range(10, 20), *range(30, 50)]
        assert np.array_equal(store["x"][:][valid], values[valid])
    assert report.to_json()["lost"][0]["samples"] == (10, 20)


def test_a_whole_column_that_is_missing_is_named_first(tmp_path):
    table = {"a": np.arange(30), "b": np.arange(30), "z": np.arange(30)}
    folder = write_ctable(tmp_path / "t", table)
    (folder / "a" / "data" / "__0.blp").unlink()
    shutil.rmtree(folder / "z")
    out = tmp_path / "out.zarr.zip"
    with pytest.warns(cs.ChunkStoreWarning, match=r"array 'z', all of it.*\n.*array 'a', samples"):
        report = cs.import_bcolz(folder, out, salvage=True)
    assert [(lost.array, lost.samples) for lost in report.lost] == [("z", None), ("a", (0, 10))]
    with cs.open(out) as store:
        assert list(store) == ["a", "b", "valid"]


def test_the_command_line_prints_what_is_lost_and_says_so_by_its_exit_code(tmp_path):
    folder = write_ctable(tmp_path / "t", {"a": np.arange(30), "z": np.arange(30)})
    shutil.rmtree(folder / "z")
    out = tmp_path / "out.zarr.zip"
    result = run_cli("import", "bcolz", folder, out, "--salvage")
    assert result.exit_code == 1
    assert "lost: array 'z', all of it: " in result.stdout
    assert out.exists()
    result = run_cli("import", "bcolz", folder, out, "--salvage", "--overwrite", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["lost"][0]["array"] == "z"


@IGNORED
def test_nothing_is_lost_of_a_whole_source_with_salvage(tmp_path):
    folder = write_carray(tmp_path / "x.bc", noise(30))
    out = tmp_path / "out.zarr.zip"
    assert run_cli("import", "bcolz", folder, out, "--salvage").exit_code == 0
    with cs.open(out) as store:
        assert store["valid"][:].all()


@IGNORED
def test_an_import_that_is_continued_lists_what_was_lost_before(tmp_path, monkeypatch):
    from chunkstore.importers.bcolz.samples import BcolzSamples
    from chunkstore.importing import run

    monkeypatch.setattr(run, "_BLOCK_NBYTES", 1000)
    monkeypatch.setattr(run, "_LEAST_BETWEEN_CHECKPOINTS_NBYTES", 0)
    folder = write_carray(tmp_path / "x.bc", noise(100))
    (folder / "data" / "__8.blp").unlink()
    break_frame(folder, 0)
    out, whole = tmp_path / "out.zarr.zip", tmp_path / "whole.zarr.zip"
    read = BcolzSamples.read

    def dying(self, numbers, *, skips):
        if numbers[0] > 50:
            raise KeyboardInterrupt
        return read(self, numbers, skips=skips)

    monkeypatch.setattr(BcolzSamples, "read", dying)
    with pytest.raises(KeyboardInterrupt):
        cs.import_bcolz(folder, out, salvage=True, chunk_length=10)
    firsts = []

    def counting(self, numbers, *, skips):
        firsts.append(int(numbers[0]))
        return read(self, numbers, skips=skips)

    monkeypatch.setattr(BcolzSamples, "read", counting)
    report = cs.import_bcolz(folder, out, salvage=True, chunk_length=10)
    assert min(firsts) >= 40
    assert [lost.samples for lost in report.lost] == [(0, 10), (80, 90)]
    assert report.counts["samples that could not be read"] == 20
    cs.import_bcolz(folder, whole, salvage=True, chunk_length=10)
    assert out.read_bytes() == whole.read_bytes()


@IGNORED
def test_a_damaged_chunk_that_is_read_in_parts_is_listed_and_counted_once(tmp_path, monkeypatch):
    from chunkstore.importing import run

    monkeypatch.setattr(run, "MOST_BLOCK_NBYTES", 600)
    monkeypatch.setattr(run, "_BLOCK_NBYTES", 1)
    folder = write_carray(tmp_path / "x.bc", noise(60), chunk_length=20)
    break_frame(folder, 1)
    report = cs.import_bcolz(folder, tmp_path / "out.zarr.zip", salvage=True)
    (lost,) = report.lost
    assert (lost.samples, lost.num_places) == ((20, 40), 1)
    assert report.counts["samples that could not be read"] == 20


@IGNORED
def test_a_column_that_is_shorter_than_its_table_is_filled_marked_and_listed(tmp_path):
    table = {"a": np.arange(1, 31), "b": np.arange(1, 31)}
    folder = write_ctable(tmp_path / "t", table)
    shutil.rmtree(folder / "b")
    write_carray(folder / "b", np.arange(1, 24))
    with pytest.raises(cs.CorruptionError, match="the column has 23 samples"):
        cs.import_bcolz(folder, tmp_path / "out.zarr.zip")
    report = cs.import_bcolz(folder, tmp_path / "out.zarr.zip", salvage=True)
    assert [(lost.array, lost.samples) for lost in report.lost] == [("b", (23, 30))]
    with cs.open(report.path) as store:
        assert np.flatnonzero(~store["valid"][:]).tolist() == list(range(23, 30))
        assert store["b"][:].tolist() == [*range(1, 24), *[0] * 7]
        assert store["a"][:].tolist() == table["a"].tolist()


def test_tables_of_different_lengths_are_no_damaged_table(tmp_path):
    sources = {
        name: write_ctable(tmp_path / name, {"k": np.arange(length), "v": np.arange(length)})
        for name, length in (("a", 10), ("b", 20))
    }
    with pytest.raises(ValueError, match="equally many samples, got a/k: 10, a/v: 10, b/k: 20"):
        cs.import_bcolz(sources, tmp_path / "out.zarr.zip", salvage=True)


@pytest.mark.parametrize("salvage", [False, True])
def test_damage_of_all_folders_is_told_at_once(tmp_path, salvage):
    sources = {name: write_carray(tmp_path / name, noise(30)) for name in "xy"}
    for folder in sources.values():
        (folder / "data" / "__0.blp").unlink()
    out = tmp_path / "out.zarr.zip"
    if salvage:
        with pytest.warns(cs.ChunkStoreWarning, match=r"(?s)array 'x'.*array 'y'"):
            cs.import_bcolz(sources, out, salvage=True)
        return
    with pytest.raises(cs.CorruptionError, match=r"(?s)x: data/__0\.blp.*y: data/__0\.blp"):
        cs.import_bcolz(sources, out)
    assert {path.name for path in tmp_path.iterdir()} == {"x", "y"}


def test_damage_inside_frames_of_all_folders_is_told_at_once(tmp_path):
    sources = {name: write_carray(tmp_path / name, noise(30)) for name in "xy"}
    for folder in sources.values():
        break_frame(folder, 2)
    with pytest.raises(cs.CorruptionError, match=r"(?s)x: data/__2\.blp.*y: data/__2\.blp"):
        cs.import_bcolz(sources, tmp_path / "out.zarr.zip")


@IGNORED
@pytest.mark.parametrize("is_table", [False, True])
def test_a_length_that_nothing_bears_out_fills_no_disk(tmp_path, is_table):
    values = noise(30)
    if is_table:
        folder = write_ctable(tmp_path / "x", {"k": values, "v": values})
        arrays = [folder / "k", folder / "v"]
    else:
        arrays = [folder := write_carray(tmp_path / "x", values)]
    for array in arrays:
        sizes = {"shape": [10**12, 50], "nbytes": 0, "cbytes": 0}
        (array / "meta" / "sizes").write_text(json.dumps(sizes))
    out = tmp_path / "out.zarr.zip"
    with pytest.raises(cs.CorruptionError, match="are missing"):
        cs.import_bcolz(folder, out)
    report = cs.import_bcolz(folder, out, salvage=True)
    assert report.num_samples == 30
    assert {lost.samples for lost in report.lost} == {(30, 10**12)}
    with cs.open(out) as store:
        assert np.array_equal(store["k" if is_table else "x"][:], values)
        assert store["valid"][:].all()


@IGNORED
def test_a_length_of_objects_that_nothing_bears_out_takes_no_memory(tmp_path):
    frames = iter([pickle.dumps(value, 2) for value in ("a", "b")])
    folder = write_carray(
        tmp_path / "x",
        np.zeros(2, np.uint8),
        chunk_length=1,
        frame=lambda part: blosc_frame(np.frombuffer(next(frames), np.uint8)),
        storage={"dtype": "object"},
    )
    (folder / "meta" / "sizes").write_text('{"shape": [1000000000000], "nbytes": 0, "cbytes": 0}')
    report = cs.import_bcolz(folder, tmp_path / "o.zarr.zip", salvage=True, allow_pickle=True)
    assert report.num_samples == 2
    with cs.open(report.path) as store:
        assert store["x/json"][:].tobytes() == b'"a""b"'


@IGNORED
def test_a_missing_end_of_likely_length_keeps_its_place(tmp_path):
    folder = write_carray(tmp_path / "x", noise(100))
    for i in range(2, 10):
        (folder / "data" / f"__{i}.blp").unlink()
    report = cs.import_bcolz(folder, tmp_path / "out.zarr.zip", salvage=True)
    assert report.num_samples == 100
    assert report.counts["samples that could not be read"] == 80


def test_where_nothing_can_be_read_salvage_says_why(tmp_path):
    folder = write_ctable(tmp_path / "t", {"a": np.arange(30)})
    (folder / "__rootdirs__").write_text('{"names": ["../a"]}')
    with pytest.raises(cs.ChunkStoreError, match="__rootdirs__"):
        cs.import_bcolz(folder, tmp_path / "out.zarr.zip", salvage=True)


def test_a_list_of_losses_is_bounded_and_says_how_many_more_there_are(monkeypatch):
    monkeypatch.setattr(losses, "MAX_LISTED", 3)
    found = Losses()
    found.add(Lost("x", (i, i + 1), "bad" * 1000) for i in range(0, 20, 2))
    found.add([Lost("z", None, "gone")])
    assert [(lost.array, lost.samples) for lost in found.entries] == [
        ("z", None),
        ("x", (0, 1)),
        ("x", (2, 3)),
    ]
    assert found.num_more == 8
    assert len(found.entries[1].reason) < 600
    assert Losses.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert listed(found.entries, num_more=found.num_more, most=2)[-1] == "and 9 more"


def test_losses_that_touch_are_one_entry_whatever_their_order():
    parts = [Lost("x", (a, a + 10), f"chunk {a}") for a in (20, 0, 10, 40)]
    found = Losses()
    for part in parts:
        found.add([part])
    assert [lost.samples for lost in found.entries] == [(0, 30), (40, 50)]
    assert found.entries[0].reason == "chunk 0"
    assert found.entries[0].num_places == 3


def test_notes_of_a_scan_are_warned_of_and_stand_in_the_report(tmp_path):
    folder = write_carray(tmp_path / "x.bc", images(30))
    shutil.copy(folder / "data" / "__0.blp", folder / "data" / "__9.blp")
    with pytest.warns(cs.ChunkStoreWarning, match=r"chunk files beyond the last"):
        report = cs.import_bcolz(folder, tmp_path / "out.zarr.zip")
    (note,) = report.notes
    assert "__9.blp" in note
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (folder / "data" / "__9.blp").unlink()
        assert cs.import_bcolz(folder, tmp_path / "b.zarr.zip").notes == ()
