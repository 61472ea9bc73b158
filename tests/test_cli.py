"""Does the command line say what is in a file, and end with the right exit code?"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main

X = np.arange(1000 * 128, dtype=np.uint16).reshape(1000, 16, 8)
Y = np.arange(1000, dtype=np.int64)


@pytest.fixture
def run():
    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "train.zarr.zip"
    with cs.create(path, attributes={"origin": "counting"}, chunk_nbytes=1 << 14) as writer:
        writer.append(x=X, y=Y)
    return path


@pytest.fixture
def damaged(path):
    """Flip one bit in the middle of a chunk of x."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("x/c/1/0/0")
    content = bytearray(path.read_bytes())
    content[entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2] ^= 1
    path.write_bytes(content)
    return path


def test_info_shows_arrays_shapes_dtypes_and_codecs(run, path):
    result = run("info", path)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"{path}: format 1, 1,000 samples"
    assert lines[3].split()[:3] == ["array", "shape", "dtype"]
    assert lines[4].split()[:3] == ["x", "1000x16x8", "uint16"]
    assert lines[5].split()[:3] == ["y", "1000", "int64"]
    assert lines[-2:] == ["attributes:", '  origin: "counting"']
    assert "not used any more" not in result.stdout


def test_info_says_in_short_where_a_file_came_from_and_cuts_what_is_long(run, tmp_path):
    np.save(tmp_path / "x.npy", X)
    cs.import_npy(
        tmp_path / "x.npy", tmp_path / "a.zarr.zip", attributes={"many": list(range(1000))}
    )
    result = run("info", tmp_path / "a.zarr.zip")
    told = {line.split(":")[0].strip(): line for line in result.stdout.splitlines()}
    assert re.fullmatch(
        r"  import: npy of \".*x\.npy\" by chunkstore [\w.]+ \(--json shows all\)", told["import"]
    )
    assert told["many"].startswith("  many: [0, 1, 2")
    assert told["many"].endswith("... (--json shows all)")
    assert max(map(len, result.stdout.splitlines())) < 300
    facts = json.loads(run("info", "--json", tmp_path / "a.zarr.zip").stdout)
    assert facts["attributes"]["many"] == list(range(1000))


def test_info_names_the_bytes_that_compact_would_free(run, path):
    with cs.append(path) as writer:
        noise = np.random.default_rng(0).integers(0, 256, 1 << 17, np.uint8)
        writer.put("noise", noise, aligned=False)
    with cs.append(path) as writer:
        writer.put("noise", np.arange(3), aligned=False)
    assert "KiB not used any more (chunkstore compact frees them)" in run("info", path).stdout
    run("compact", path)
    assert "not used any more" not in run("info", path).stdout


def test_compact_replaces_no_file_that_was_cut_short(run, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((2000, 100)))
    path = tmp_path / "cut.zarr.zip"
    cs.import_npy(tmp_path / "x.npy", path)
    os.truncate(path, path.stat().st_size // 2)
    before = path.read_bytes()
    result = run("compact", path)
    assert result.exit_code == 1
    assert "bytes behind the last checkpoint" in result.stderr
    assert "--out leaves them out of a new file" in result.stderr
    assert path.read_bytes() == before
    assert run("compact", path, "--out", tmp_path / "new.zarr.zip").exit_code == 0
    assert path.read_bytes() == before


def test_merge_with_its_new_file_last_says_that_it_comes_first(run, path, tmp_path):
    before = path.read_bytes()
    result = run("merge", path, path, tmp_path / "all.zarr.zip")
    assert result.exit_code == 2
    assert "the new file comes first, merge OUT PARTS" in result.stderr
    assert path.read_bytes() == before


def test_parts_of_an_import_go_into_no_folder_that_is_called_like_a_file(run, tmp_path):
    np.save(tmp_path / "x.npy", X)
    out = tmp_path / "parts.zarr.zip"
    result = run("import", "npy", tmp_path / "x.npy", out, "--split", "a=.5,b=.5")
    assert result.exit_code == 2
    assert "with --split OUT is the folder of the parts" in result.stderr
    assert not out.exists()


def test_verify_of_a_file_that_was_cut_short_ends_with_1(run, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((2000, 100)))
    path = tmp_path / "cut.zarr.zip"
    cs.import_npy(tmp_path / "x.npy", path)
    os.truncate(path, path.stat().st_size // 2)
    result = run("verify", path)
    assert result.exit_code == 1
    assert "bytes behind the last checkpoint were not checked" in result.stdout
    assert result.stdout.endswith("all is well before them\n")
    told = json.loads(run("verify", "--json", path).stdout)
    assert (told["ok"], told["problems"]) == (False, [])
    assert told["torn_nbytes"] > 0


def test_info_as_json_holds_what_the_store_says(run, path):
    facts = json.loads(run("info", "--json", path).stdout)
    assert facts["num_samples"] == 1000
    assert facts["attributes"] == {"origin": "counting"}
    assert facts["file_nbytes"] == path.stat().st_size
    by_name = {array["name"]: array for array in facts["arrays"]}
    with cs.open(path) as store:
        assert list(by_name) == list(store)
        assert by_name["x"]["codec"] == store["x"].codec
    assert by_name["x"]["shape"] == [1000, 16, 8]
    assert by_name["x"]["nbytes"] == X.nbytes
    assert by_name["x"]["ratio"] == pytest.approx(X.nbytes / by_name["x"]["encoded_nbytes"])


def test_verify_of_a_sound_file_ends_with_0(run, path):
    result = run("verify", path)
    assert result.exit_code == 0
    assert result.stdout.endswith("all is well\n")
    assert json.loads(run("verify", path, "--json").stdout)["ok"] is True


def test_verify_of_a_damaged_file_names_the_samples_and_ends_with_1(run, damaged):
    with cs.open(damaged) as store:
        length = store["x"].chunk_length
    result = run("verify", damaged)
    assert result.exit_code == 1
    assert f"samples [{length}, {2 * length})" in result.stdout
    assert f"x: {length} samples lost: [{length}, {2 * length})" in result.stdout
    assert result.stdout.endswith("1 problem\n")
    as_json = run("verify", damaged, "--json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["ok"] is False


def test_repair_of_a_damaged_file_writes_the_rest_and_ends_with_1(run, damaged, tmp_path):
    out = tmp_path / "repaired.zarr.zip"
    result = run("repair", damaged, "--out", out)
    assert result.exit_code == 1, result.output
    assert "samples lost" in result.stdout
    assert run("verify", out).exit_code == 0


def test_repair_of_a_sound_file_ends_with_0(run, path, tmp_path):
    out = tmp_path / "repaired.zarr.zip"
    result = run("repair", path, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["recovered_samples"] == 1000
    with cs.open(out) as store:
        np.testing.assert_array_equal(store["x"][:], X)


def test_repair_of_one_array_leaves_the_others_out(run, path, tmp_path):
    out = tmp_path / "repaired.zarr.zip"
    result = run("repair", path, "--out", out, "--array", "y")
    assert result.exit_code == 0, result.output
    with cs.open(out) as store:
        assert list(store) == ["y"]
    wrong = run("repair", path, "--out", tmp_path / "b.zarr.zip", "--array", "z")
    assert wrong.exit_code == 2
    assert "there is no array 'z'" in wrong.stderr


def test_compact_frees_what_a_replacement_left_behind(run, path):
    with cs.append(path) as writer:
        writer.put("y", Y[::-1])
    before = path.stat().st_size
    result = run("compact", path, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["nbytes_before"] == before
    assert report["nbytes_after"] == path.stat().st_size < before
    with cs.open(path) as store:
        assert store.dead_nbytes == 0
        np.testing.assert_array_equal(store["y"][:], Y[::-1])


@pytest.mark.parametrize("command", ["info", "verify", "repair", "compact"])
def test_each_command_shows_an_example(run, command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: chunkstore {command} train.zarr.zip" in result.stdout
    assert "--json" in result.stdout


@pytest.mark.parametrize("command", ["info", "verify", "repair", "compact"])
def test_a_missing_file_is_one_line_on_stderr_and_ends_with_2(run, command, tmp_path):
    result = run(command, tmp_path / "missing.zarr.zip")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "missing.zarr.zip" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["info", "verify"])
def test_a_file_that_is_no_store_is_one_line_on_stderr_and_ends_with_1(run, command, tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader")
    result = run(command, path)
    assert result.exit_code == 1
    assert "letter.txt" in result.output
    assert "Traceback" not in result.output


def test_debug_shows_the_error_itself(run, tmp_path):
    result = run("info", tmp_path / "missing.zarr.zip", "--debug")
    assert isinstance(result.exception, FileNotFoundError)


def test_wrong_usage_ends_with_2(run, path):
    assert run("info", path, "--no-such-option").exit_code == 2
    assert run("no-such-command").exit_code == 2


def test_a_warning_is_one_line_on_stderr(run, path):
    content = path.read_bytes()
    with cs.append(path) as writer:
        writer.append(x=X, y=Y)
    longer = path.read_bytes()
    path.write_bytes(longer[: (len(content) + len(longer)) // 2])
    result = run("info", path)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("warning: ")
    assert result.stderr.count("\n") == 1
    assert "1,000 samples" in result.stdout


def test_a_reader_of_the_output_that_goes_away_is_no_error_to_report(tmp_path):
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {f"array{i:04}": np.arange(3) for i in range(20)})
    read, write = os.pipe()
    os.close(read)
    program = "import sys; from chunkstore.cli import main; sys.exit(main())"
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-c", program, "info", str(path)],
            stdout=pipe,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")
