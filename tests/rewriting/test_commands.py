"""Do the commands that write a file anew do what the functions do, and say so?"""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main
from tests.rewriting.files import names_in


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cs.save("in.zarr.zip", {"x": np.arange(600).reshape(200, 3), "y": np.arange(200)}, codec="lz4")

    def run(*arguments):
        return CliRunner().invoke(main, list(arguments))

    return run


def test_recompress_says_the_sizes(run):
    result = run("recompress", "in.zarr.zip", "out.zarr.zip", "--codec", "zlib", "--level", "9")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("out.zarr.zip: 200 samples written anew; ")
    assert result.stdout.endswith(" now, compared with what was read\n")
    with cs.open("out.zarr.zip") as store:
        assert store["x"].codec.startswith("blosc zlib-9")


def test_recompress_says_that_nothing_was_to_change(run):
    result = run("recompress", "in.zarr.zip", "out.zarr.zip")
    assert "200 samples copied: nothing was to change" in result.stdout


def test_recompress_takes_some_arrays_chunks_and_shuffle(run):
    arguments = ["--array", "x", "--chunk-length", "7", "--shuffle", "none", "--threads", "1"]
    result = run("recompress", "in.zarr.zip", "out.zarr.zip", "--no-verify", *arguments)
    assert result.exit_code == 0, result.output
    assert "compared" not in result.stdout
    with cs.open("out.zarr.zip") as store:
        assert list(store) == ["x"]
        assert (store["x"].chunk_length, store["x"].codec) == (7, "blosc lz4-1 none")


def test_shuffle_and_undo(run):
    result = run("shuffle", "in.zarr.zip", "mixed.zarr.zip", "--seed", "1", "--memory", "1GiB")
    assert result.exit_code == 0, result.output
    assert "mixed.zarr.zip: 200 samples in random order; " in result.stdout
    numbers = cs.load("mixed.zarr.zip")["source_index"]
    assert cs.load("mixed.zarr.zip")["y"].tolist() == numbers.tolist()
    result = run("shuffle", "mixed.zarr.zip", "again.zarr.zip", "--undo")
    assert "200 samples in the order that they had" in result.stdout
    assert cs.load("again.zarr.zip").keys() == {"x", "y"}
    assert cs.load("again.zarr.zip")["y"].tolist() == list(range(200))


def test_shuffle_quick_as_json(run):
    result = run("shuffle", "in.zarr.zip", "out.zarr.zip", "--quick", "--index", "place", "--json")
    told = json.loads(result.stdout)
    assert (told["command"], told["ok"], told["method"]) == ("shuffle", True, "quick")
    assert (told["num_samples"], told["is_verified"]) == (200, True)
    assert "place" in cs.load("out.zarr.zip")


def test_shuffle_without_an_index(run):
    assert run("shuffle", "in.zarr.zip", "out.zarr.zip", "--no-index").exit_code == 0
    assert cs.load("out.zarr.zip").keys() == {"x", "y"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--undo", "--seed", "1"], "--seed does not go with --undo"),
        (["--undo", "--quick"], "--quick does not go with --undo"),
        (["--index", "i", "--no-index"], "--index does not go with --no-index"),
        (["--memory", "much"], "memory"),
        (["--undo"], "name it with index= (--index)"),
        (["--seed", "18446744073709551616"], "2**64"),
        (["--chunk-length", "4", "--chunk-nbytes", "4"], "give one of them"),
    ],
)
def test_wrong_usage_ends_with_exit_code_2_and_leaves_nothing(run, arguments, message):
    result = run("shuffle", "in.zarr.zip", "out.zarr.zip", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert names_in(".") == ["in.zarr.zip"]


def test_an_existing_file_is_named_and_kept(run):
    cs.save("out.zarr.zip", {"z": np.zeros(2)})
    for command in ("shuffle", "recompress"):
        result = run(command, "in.zarr.zip", "out.zarr.zip", "--chunk-length", "9")
        assert result.exit_code == 2
        assert "out.zarr.zip" in result.stderr
        assert "--overwrite" in result.stderr
    assert list(cs.load("out.zarr.zip")) == ["z"]


@pytest.mark.parametrize("command", ["shuffle", "recompress"])
def test_the_help_has_an_example(run, command):
    assert f"Example: chunkstore {command} train.zarr.zip" in run(command, "--help").stdout
