"""`chunkstore split` and `chunkstore export`: parts are files, and what a person types works."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main

NUM_SAMPLES = 1000


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "all.zarr.zip"
    rng = np.random.default_rng(1)
    specs = {
        "x": cs.ArraySpec("u1", (5, 4), codec="lz4", level=3, chunk_length=64),
        "y": cs.ArraySpec("i8", codec="zstd", attributes={"unit": "class"}),
    }
    with cs.create(path, arrays=specs, attributes={"class_names": ["a", "b"]}) as writer:
        writer.append(
            x=rng.integers(0, 9, (NUM_SAMPLES, 5, 4), dtype=np.uint8), y=np.arange(NUM_SAMPLES) % 7
        )
        writer.put("mean", np.ones((5, 4)), aligned=False)
    return path


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_parts_hold_every_sample_once_as_it_was(path, tmp_path):
    result = run("split", path, tmp_path / "parts", "train=.8", "val=.2", "--seed", "3", "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)["parts"]
    with cs.open(path) as store, cs.open_splits(tmp_path / "parts") as parts:
        expected = cs.split(store, {"train": 0.8, "val": 0.2}, seed=3)
        assert sum(part.num_samples for part in parts.values()) == NUM_SAMPLES
        for name, part in parts.items():
            assert told[name]["num_samples"] == part.num_samples == expected[name].num_samples
            for array in ("x", "y"):
                assert np.array_equal(part[array][...], expected[name][array][...])
                assert part[array].codec == store[array].codec
                assert part[array].chunk_length == store[array].chunk_length
            assert part["y"].attributes == {"unit": "class"}
            assert np.array_equal(part["mean"][...], np.ones((5, 4)))
            assert part.attributes["class_names"] == ["a", "b"]
            assert part.attributes["part"]["name"] == name


def test_classes_are_divided_in_the_same_ratio_and_groups_stay_together(path, tmp_path):
    assert run("split", path, tmp_path / "s", "a=.5", "b=.5", "--stratify", "y").exit_code == 0
    with cs.open_splits(tmp_path / "s") as parts:
        counts = [np.bincount(part["y"][...], minlength=7) for part in parts.values()]
    assert np.abs(counts[0] - counts[1]).max() <= 1
    assert run("split", path, tmp_path / "g", "a=.5", "b=.5", "--group", "y").exit_code == 0
    with cs.open_splits(tmp_path / "g") as parts:
        groups = [set(part["y"][...].tolist()) for part in parts.values()]
    assert not groups[0] & groups[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "a part is NAME=FRACTION such as train=.8, got 'train'"),
        (["train=x"], "got 'train=x'"),
        (["=0.5"], "got '=0.5'"),
        (["a=.5", "a=.4"], "part 'a' is given twice"),
        (["a=.9", "b=.9"], "sum to"),
        (["../a=.9"], "names a file, got '../a'"),
        (["a=.9", "--stratify", "nope"], "nope"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(path, tmp_path, arguments, message):
    result = run("split", path, tmp_path / "parts", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("parts/*"))


def test_no_part_is_written_where_one_exists(path, tmp_path):
    (tmp_path / "parts").mkdir()
    cs.save(tmp_path / "parts" / "b.zarr.zip", {"mine": np.arange(3)})
    result = run("split", path, tmp_path / "parts", "a=.5", "b=.5")
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert list(cs.load(tmp_path / "parts" / "b.zarr.zip")) == ["mine"]
    assert len(list((tmp_path / "parts").iterdir())) == 1
    assert run("split", path, tmp_path / "parts", "a=.5", "b=.5", "--overwrite").exit_code == 0


def test_a_folder_is_not_called_like_a_file(path, tmp_path):
    result = run("split", path, tmp_path / "parts.zarr.zip", "a=.5", "b=.5")
    assert result.exit_code == 2
    assert "OUT is the folder of the parts" in result.stderr
    assert not (tmp_path / "parts.zarr.zip").exists()


def test_export_on_the_command_line(path, tmp_path):
    result = run("export", path, tmp_path / "x.npy", "--array", "x")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'x.npy'}: x\n")
    with cs.open(path) as store:
        assert np.array_equal(np.load(tmp_path / "x.npy"), store["x"][...])
    again = run("export", path, tmp_path / "x.npy", "--array", "x")
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert run("export", path, tmp_path / "x.npy", "--array", "x", "--overwrite").exit_code == 0
    result = run("export", path, tmp_path / "a.h5", "--compression", "gzip", "--json")
    assert json.loads(result.stdout)["arrays"] == ["x", "y", "mean"]


@pytest.mark.parametrize("command", ["export", "split"])
def test_the_help_has_an_example(command):
    result = run(command, "--help")
    assert f"Example: chunkstore {command} " in result.stdout
