"""Claims about bringing bcolz folders into files: every value right, or an error and no file."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main
from chunkstore.importers.bcolz.importing import default_name
from chunkstore.importers.bcolz.samples import count_zero
from chunkstore.importers.json_values import from_json_text
from chunkstore.importing import run
from tests.importers.bcolz.kit import is_equal, load_cases, load_truth
from tests.support import REPOSITORY

CASES = load_cases()
pytestmark = pytest.mark.filterwarnings("ignore::chunkstore.ChunkStoreWarning")


def names(*results):
    return [name for name, case in CASES.items() if case["result"] in results]


def source_of(kit, name):
    return kit / CASES[name].get("archive", name)


def one_length(truth):
    return len({len(values) for values in truth.values()}) == 1


def elements(store, name):
    text = store[f"{name}/json"][...].tobytes()
    return [from_json_text(text[start:stop]) for start, stop in store[f"{name}/range"][...]]


@pytest.mark.parametrize("name", names("ok", "known-writer-bug", "attributes-unreadable"))
def test_good_folders_come_over_with_the_right_values(kit, tmp_path, name):
    truth = load_truth(kit, CASES[name])
    out = tmp_path / "out.zarr.zip"
    if not one_length(truth):
        with pytest.raises(ValueError, match="equally many samples"):
            cs.import_bcolz(source_of(kit, name), out, allow_pickle=True)
        for array in truth:
            cs.import_bcolz(source_of(kit, name), out, arrays=[array], overwrite=True)
            with cs.open(out) as store:
                assert is_equal(store[array][...], truth[array])
        return
    report = cs.import_bcolz(
        source_of(kit, name), out, rename={name: "only"} if "" in truth else None, allow_pickle=True
    )
    assert report.is_verified
    with cs.open(out) as store:
        assert store.num_samples == len(next(iter(truth.values())))
        for array, values in truth.items():
            own = array or "only"
            found = elements(store, own) if isinstance(values, list) else store[own][...]
            assert is_equal(found, values), array
        if "attrs" in CASES[name]:
            assert {**store.attributes, "import": 0} == {**CASES[name]["attrs"], "import": 0}
    assert cs.verify(out).ok
    repaired = {what: n for what, n in report.counts.items() if "repaired" in what}
    assert bool(repaired) == (CASES[name]["result"] == "known-writer-bug")


@pytest.mark.parametrize("name", names("error", "error-or-refused"))
def test_damaged_folders_leave_no_file_behind(kit, tmp_path, name):
    with pytest.raises(cs.ChunkStoreError):
        cs.import_bcolz(source_of(kit, name), tmp_path / "out.zarr.zip", allow_pickle=True)
    assert not (tmp_path / "out.zarr.zip").exists()


@pytest.mark.parametrize(
    "name", ["bad_zero_length", "bad_missing_middle", "bad_wrong_magic", "bad_html_instead"]
)
def test_damage_that_headers_show_is_told_before_the_first_byte_is_written(kit, tmp_path, name):
    with pytest.raises(cs.ChunkStoreError):
        cs.import_bcolz(source_of(kit, name), tmp_path / "out.zarr.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", [name for name in names("error") if CASES[name].get("bad_rows") is not None]
)
def test_salvage_writes_the_rest_and_says_what_is_lost(kit, tmp_path, name):
    case = CASES[name]
    truth = load_truth(kit, case)
    out = tmp_path / "out.zarr.zip"
    # A part of an array's name in a zarr hierarchy may not be "c".
    rename = {"c": "column c"} if "c" in truth else None
    report = cs.import_bcolz(source_of(kit, name), out, salvage=True, rename=rename)
    lost = np.zeros(report.num_samples, bool)
    for start, stop in case["bad_rows"]:
        lost[start:stop] = True
    with cs.open(out) as store:
        assert np.array_equal(store["valid"][...], ~lost)
        for array, values in truth.items():
            found = store[(rename or {}).get(array, array) or name][...]
            kept = ~lost[: len(values)]
            if kept.any():
                assert is_equal(found[~lost], values[kept])
            if not array:
                assert not found[lost].astype(bool).any()
        about = store.attributes["import"]
        assert [entry["array"] for entry in about["position"]["lost"]["entries"]]
    assert report.counts["samples that could not be read"] == lost.sum()


def test_damage_inside_frames_is_listed_all_at_once_and_salvaged(kit, tmp_path):
    folder = tmp_path / "x.bc"
    shutil.copytree(kit / "codec_new_zstd_sh1", folder)
    truth = load_truth(kit, CASES["codec_new_zstd_sh1"])[""]
    chunks = sorted((folder / "data").iterdir(), key=lambda path: int(path.stem[2:]))
    length = json.loads((folder / "meta" / "storage").read_text())["chunklen"]
    for path in chunks[:2]:
        content = bytearray(path.read_bytes())
        # The magic number of a Zstandard frame, behind header, block start and stream size.
        place = content.index(b"\x28\xb5\x2f\xfd")
        content[place] ^= 1
        path.write_bytes(content)
    out = tmp_path / "out.zarr.zip"
    with pytest.raises(cs.CorruptionError, match=r"(?s)__0\.blp.*__1\.blp"):
        cs.import_bcolz(folder, out)
    assert not out.exists()
    report = cs.import_bcolz(folder, out, salvage=True, overwrite=True)
    (both,) = report.lost
    assert (both.samples, both.num_places) == ((0, 2 * length), 2)
    assert "data/__0.blp" in both.reason
    with cs.open(out) as store:
        lost = ~store["valid"][...]
        assert np.flatnonzero(lost).tolist() == list(range(2 * length))
        assert is_equal(store["x"][...][~lost], truth[~lost])


def test_several_folders_become_aligned_arrays_of_one_file(tmp_path):
    values = {"x": np.arange(60.0).reshape(20, 3), "y": np.arange(20)}
    sources = {}
    for name, array in values.items():
        sources[name] = tmp_path / f"{name}.bc"
        write_folder(sources[name], array, length=6)
    cs.import_bcolz(sources, tmp_path / "out.zarr.zip", codec="lz4", level=5, chunk_length=7)
    with cs.open(tmp_path / "out.zarr.zip") as store:
        for name, array in values.items():
            assert is_equal(store[name][...], array)
            assert "lz4-5" in store[name].codec
        about = store.attributes["import"]
        assert set(about["arrays"]) == {"x", "y"}
        assert about["arrays"]["x"]["storage"]["cparams"]
        assert about["tool"].startswith("chunkstore ")


def test_damage_of_one_folder_takes_no_values_of_another(tmp_path):
    values = {"x": np.arange(1.0, 21), "y": np.arange(1, 21)}
    sources = {name: tmp_path / f"{name}.bc" for name in values}
    for name, array in values.items():
        write_folder(sources[name], array, length=5)
    chunk = sources["x"] / "data" / "__1.blp"
    chunk.write_bytes(bytes(chunk.stat().st_size))
    out = tmp_path / "out.zarr.zip"
    with pytest.warns(cs.ChunkStoreWarning, match=r"samples \[5, 10\): .*x\.bc: data/__1\.blp"):
        cs.import_bcolz(sources, out, salvage=True)
    with cs.open(out) as store:
        lost = ~store["valid"][...]
        assert np.flatnonzero(lost).tolist() == [5, 6, 7, 8, 9]
        assert is_equal(store["x"][...][~lost], values["x"][~lost])
        assert is_equal(store["y"][...], values["y"])


def test_the_file_does_not_depend_on_threads(kit, tmp_path):
    files = []
    for threads in (1, 3):
        out = tmp_path / f"{threads}.zarr.zip"
        cs.import_bcolz(kit / "multiblock_snappy", out, threads=threads)
        files.append(out.read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("most", [100, 3000])
@pytest.mark.parametrize("name", names("known-writer-bug"))
def test_chunks_that_are_read_in_parts_give_the_same_file_and_counts(
    kit, tmp_path, monkeypatch, name, most
):
    whole = cs.import_bcolz(kit / name, tmp_path / "whole.zarr.zip")
    monkeypatch.setattr(run, "MOST_BLOCK_NBYTES", most)
    monkeypatch.setattr(run, "_BLOCK_NBYTES", 1)
    parts = cs.import_bcolz(kit / name, tmp_path / "parts.zarr.zip")
    assert parts.counts == whole.counts
    assert any("repaired" in what for what in whole.counts)
    with cs.open(whole.path) as expected, cs.open(parts.path) as found:
        for array in expected:
            assert is_equal(found[array][...], expected[array][...])


def test_a_killed_import_goes_on_and_ends_with_the_same_bytes(tmp_path):
    source = tmp_path / "x.bc"
    program = f"""
import os, signal
from chunkstore.importing import run
from chunkstore.importers.bcolz import samples
import chunkstore as cs

run._LEAST_BETWEEN_CHECKPOINTS_NBYTES = 0
run._BLOCK_NBYTES = 1 << 18
read = samples.BcolzSamples.read

def dying(self, numbers, *, skips):
    print(numbers[0])
    if numbers[0] > 2000:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(self, numbers, skips=skips)

samples.BcolzSamples.read = dying
cs.import_bcolz({str(source)!r}, {str(tmp_path / "out.zarr.zip")!r}, chunk_nbytes=1 << 16)
"""
    write_folder(source, np.arange(3000 * 200, dtype="i4").reshape(3000, 200), length=64)
    killed = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "out.zarr.zip.partial").exists()
    script = program.replace("numbers[0] > 2000", "False")
    again = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    assert min(map(int, again.stdout.split())) > 500
    whole = script.replace("out.zarr.zip", "whole.zarr.zip")
    subprocess.run([sys.executable, "-c", whole], cwd=REPOSITORY, check=True)
    assert (tmp_path / "out.zarr.zip").read_bytes() == (tmp_path / "whole.zarr.zip").read_bytes()
    with cs.open(tmp_path / "out.zarr.zip") as store:
        assert store["x"][2999].tolist() == list(range(2999 * 200, 3000 * 200))


def write_folder(folder, values, *, length):
    from numcodecs import blosc

    for name in ("meta", "data"):
        (folder / name).mkdir(parents=True)
    sizes = {"shape": list(values.shape), "nbytes": values.nbytes, "cbytes": 0}
    storage = {
        "dtype": values.dtype.str,
        "chunklen": length,
        "dflt": 0,
        "cparams": {"cname": "lz4", "clevel": 5, "shuffle": 1},
    }
    (folder / "meta" / "sizes").write_text(json.dumps(sizes))
    (folder / "meta" / "storage").write_text(json.dumps(storage))
    for i in range(0, len(values), length):
        frame = blosc.compress(np.ascontiguousarray(values[i : i + length]), b"lz4", 5)
        head = b"blpk\x01\0\0\0" + (1).to_bytes(8, "little")
        (folder / "data" / f"__{i // length}.blp").write_bytes(head + frame)


def test_really_black_samples_come_over_and_are_counted(kit, tmp_path):
    report = cs.import_bcolz(kit / "meta_zeros", tmp_path / "out.zarr.zip")
    ((what, count),) = report.counts.items()
    assert "all zero" in what
    assert count == report.num_samples


def test_counting_zero_samples_looks_at_every_byte():
    samples = np.zeros((5, 40, 30), np.uint8)
    samples[1, 39, 29] = 1
    samples[3, 0, 1] = 1
    everything = np.ones(5, bool)
    assert count_zero(samples, everything) == 3
    assert count_zero(samples, np.arange(5) > 0) == 2
    assert count_zero(np.zeros(5), everything) == 0
    assert count_zero(np.zeros((5, 0)), everything) == 0


@pytest.mark.parametrize(
    ("place", "name"),
    [("data/trn.bc", "trn"), ("a.b.tar.gz", "a.b"), ("größe", "x"), ("c", "x"), ("..bc", "x")],
)
def test_a_single_array_is_called_as_its_folder(place, name, tmp_path):
    assert default_name(str(tmp_path / place)) == name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rename": {"no": "yes"}}, "rename: no array 'no'; there are 'a', 'b'"),
        ({"rename": {"a": "b"}}, "two arrays would be called 'b'"),
        ({"rename": {"a": "b/d"}}, "one cannot lie inside the other"),
        ({"arrays": ["z"]}, "no array 'z'"),
    ],
)
def test_names_that_cannot_be_are_refused(tmp_path, arguments, message):
    table = {"a": np.arange(4), "b": np.arange(4)}
    for name, values in table.items():
        write_folder(tmp_path / "t" / name, values, length=3)
    with pytest.raises((KeyError, ValueError), match=message):
        cs.import_bcolz(tmp_path / "t", tmp_path / "out.zarr.zip", **arguments)
    assert not (tmp_path / "out.zarr.zip").exists()


def run_cli(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_line_imports_and_says_what_it_did(kit, tmp_path):
    out = tmp_path / "out.zarr.zip"
    result = run_cli("import", "bcolz", kit / "dtype_f4", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].endswith("s, verified")
    assert run_cli("import", "bcolz", kit / "dtype_f4", out).exit_code == 2
    both = [f"{name}={kit / 'dtype_f4'}" for name in ("x", "y")]
    result = run_cli("import", "bcolz", *both, out, "--overwrite")
    assert result.exit_code == 0, result.output
    with cs.open(out) as store:
        assert list(store) == ["x", "y"]


def test_a_name_given_twice_on_the_command_line_is_refused(kit, tmp_path):
    out = tmp_path / "out.zarr.zip"
    one, other = kit / "dtype_f4", kit / "dtype_f8"
    result = run_cli("import", "bcolz", f"x={one}", f"x={other}", out)
    assert (result.exit_code, out.exists()) == (2, False)
    assert "names 'x' twice" in result.stderr
    result = run_cli("import", "bcolz", one, out, "--rename", "x=a", "--rename", "x=b")
    assert (result.exit_code, out.exists()) == (2, False)
    assert "--rename names 'x' twice" in result.stderr


@pytest.mark.parametrize("option", ["--array", "--rename"])
def test_an_unknown_array_on_the_command_line_is_one_line_on_stderr(kit, tmp_path, option):
    out = tmp_path / "out.zarr.zip"
    value = "nope=q" if option == "--rename" else "nope"
    result = run_cli("import", "bcolz", kit / "dtype_f4", out, option, value)
    assert (result.exit_code, out.exists()) == (2, False)
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert "'nope'" in line


def test_a_dry_run_lists_what_is_there_and_what_would_be_refused(kit, tmp_path):
    out = tmp_path / "out.zarr.zip"
    result = run_cli("import", "bcolz", kit / "dtype_f4", out, "--dry-run")
    assert result.exit_code == 0
    assert "float32" in result.stdout or "<f4" in result.stdout
    bad = run_cli("import", "bcolz", kit / "bad_all_zero_file", out, "--dry-run")
    assert bad.exit_code == 1
    assert "damaged: data/__" in bad.stdout
    objects = next(name for name in CASES if name.startswith("object_"))
    refused = run_cli("import", "bcolz", kit / objects, out, "--dry-run", "--json")
    assert refused.exit_code == 1
    plan = json.loads(refused.stdout)
    assert plan["refused"]
    assert plan["sources"][""]["names"] == {"": objects}
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_bcolz_is_refused(tmp_path):
    result = run_cli("import", "bcolz", tmp_path, tmp_path / "out.zarr.zip")
    assert result.exit_code == 1
    assert "there is no bcolz array in it" in result.stderr
    assert list(tmp_path.iterdir()) == []
