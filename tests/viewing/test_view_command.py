"""Do `chunkstore view` and `chunkstore info --stats` say what is in a file?"""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from chunkstore.cli import main
from tests.support import require
from tests.viewing.files import damage, images_with_labels, write


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def path(tmp_path):
    return images_with_labels(tmp_path / "train.zarr.zip")


def test_view_prints_the_path_of_the_page(path, tmp_path):
    result = run("view", path)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'train.html'}\n"
    assert (tmp_path / "train.html").read_text().startswith("<!doctype html>")


def test_view_writes_a_picture_where_the_name_says_so(path, tmp_path):
    require("matplotlib")
    result = run("view", path, "-o", tmp_path / "out.png", "--labels", "y", "--samples", "9")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out.png").read_bytes()[1:4] == b"PNG"


def test_view_as_json_says_what_was_found(path, tmp_path):
    found = json.loads(run("view", path, "--json", "--seed", "3").stdout)
    assert found["ok"] is True
    assert found["path"] == str(tmp_path / "train.html")
    assert found["nbytes"] == (tmp_path / "train.html").stat().st_size
    assert found["labels"] == "y"
    assert found["is_exact"] is True
    assert found["mixing"]["verdict"] == "well"
    assert found["arrays"]["y"]["classes"] == {"0": 134, "1": 133, "2": 133}
    assert found["arrays"]["x"]["minimum"] == 0
    assert found["damage"] == []


def test_view_of_a_damaged_file_makes_the_page_and_ends_with_1(path, tmp_path):
    damage(path, "x/c/2/0/0/0")
    result = run("view", path)
    assert result.exit_code == 1
    assert result.stdout == f"{tmp_path / 'train.html'}\n"
    assert "damaged: " in result.stderr
    assert "x/c/2/0/0/0" in result.stderr
    assert "x/c/2/0/0/0" in (tmp_path / "train.html").read_text()
    found = json.loads(run("view", path, "--json").stdout)
    assert found["ok"] is False
    assert found["damage"][0]["array"] == "x"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--labels", "z"), "labels names 'z'"),
        (("--samples", "0"), "samples must be in [1, 1000], got 0"),
        (("-o", "a.pdf"), "out must end in .html or .png"),
    ],
)
def test_view_of_what_cannot_be_is_one_line_and_ends_with_2(path, arguments, message):
    result = run("view", path, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_view_does_not_replace_other_files_unless_told(path, tmp_path):
    (tmp_path / "train.html").write_text("mine")
    result = run("view", path)
    assert result.exit_code == 2
    assert "--overwrite replaces it" in result.stderr
    assert run("view", path, "--overwrite").exit_code == 0


def test_view_has_an_example(path):
    assert "Example: chunkstore view train.zarr.zip" in run("view", "--help").stdout


def test_info_stats_prints_ranges_counts_classes_and_ratios(tmp_path):
    values = np.linspace(-1, 3, 1000).astype(np.float32)
    values[:3] = np.nan, np.inf, -np.inf
    path = write(
        tmp_path / "a.zarr.zip",
        v=values,
        y=np.arange(1000) % 4,
        name=np.array(["ab", "cde"] * 500),
        attributes={"class_names": ["ant", "bee", "cat", "<dog>"]},
    )
    result = run("info", path, "--stats")
    assert result.exit_code == 0, result.output
    table = result.stdout[result.stdout.index("smallest") :]
    rows = {line.split()[0]: line.split() for line in table.splitlines()[1:] if line}
    assert rows["v"][1] == "all"
    assert rows["v"][6:9] == ["1", "1", "1"]
    assert "4 classes: ant 250, bee 250, cat 250, <dog> 250" in result.stdout


def test_info_stats_as_json_is_what_numpy_finds(tmp_path):
    values = np.random.default_rng(0).normal(size=(3000, 4))
    path = write(tmp_path / "a.zarr.zip", x=values, y=np.arange(3000) % 3)
    found = json.loads(run("info", path, "--stats", "--json").stdout)
    stats = {array["name"]: array["stats"] for array in found["arrays"]}
    assert stats["x"]["is_exact"] is True
    assert stats["x"]["minimum"] == values.min()
    assert stats["x"]["mean"] == pytest.approx(values.mean())
    assert stats["x"]["std"] == pytest.approx(values.std())
    assert stats["y"]["classes"] == {"0": 1000, "1": 1000, "2": 1000}
    ratio = stats["x"]["chunk_ratio"]
    assert ratio["minimum"] <= ratio["median"] <= ratio["maximum"]
    assert found["damage"] == []
    # Without the option, nothing is read and nothing is said.
    assert "stats" not in json.loads(run("info", path, "--json").stdout)["arrays"][0]


def test_info_stats_samples_a_large_file_and_all_reads_all_of_it(tmp_path, monkeypatch):
    values = np.arange(60_000, dtype=np.int64)
    path = write(tmp_path / "a.zarr.zip", x=values)
    monkeypatch.setattr("chunkstore.viewing.surveying.LOOK_NBYTES", 4 << 14)
    sampled = json.loads(run("info", path, "--stats", "--json").stdout)["arrays"][0]["stats"]
    assert sampled["is_exact"] is False
    assert 0 < sampled["num_read_samples"] < 60_000
    whole = json.loads(run("info", path, "--stats", "--all", "--json").stdout)
    assert whole["arrays"][0]["stats"]["is_exact"] is True
    assert whole["arrays"][0]["stats"]["maximum"] == 59_999


def test_info_stats_of_a_damaged_file_names_it_and_ends_with_1(path):
    damage(path, "x/c/2/0/0/0")
    assert run("info", path).exit_code == 0
    result = run("info", path, "--stats")
    assert result.exit_code == 1
    assert "x/c/2/0/0/0" in result.stderr
    found = json.loads(run("info", path, "--stats", "--json").stdout)
    assert found["damage"][0]["array"] == "x"


def test_info_all_goes_with_stats(path):
    result = run("info", path, "--all")
    assert result.exit_code == 2
    assert "--all goes with --stats" in result.stderr


@pytest.mark.parametrize(
    "arrays",
    [
        pytest.param({}, id="no-array"),
        pytest.param({"x": np.zeros((0, 3))}, id="no-sample"),
        pytest.param({"x": np.full((9, 3), np.nan)}, id="nan"),
        pytest.param({"s": np.zeros(4, [("a", "f4"), ("b", "U3")])}, id="structure"),
        pytest.param({"t": np.array(["NaT"], "M8[s]")}, id="nat"),
        pytest.param({"z": np.ones(3, "c8")}, id="complex"),
    ],
)
def test_info_stats_of_data_of_any_kind(tmp_path, arrays):
    path = tmp_path / "a.zarr.zip"
    write(path, **arrays)
    assert run("info", path, "--stats").exit_code == 0
    assert json.loads(run("info", path, "--stats", "--json").stdout)["ok"] is True
