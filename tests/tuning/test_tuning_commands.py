"""Do `chunkstore tune` and `chunkstore bench` print what the library says?"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import click
import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main
from chunkstore.cli.tuning import bench, tune
from tests.support import REPOSITORY, require

X = np.random.default_rng(0).integers(0, 9, (2000, 16, 3), dtype=np.uint8)


@pytest.fixture
def run():
    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {"x": X, "y": np.arange(2000)})
    return path


def test_tune_prints_the_table_and_the_reasons(run, path):
    result = run("tune", path, "--array", "x", "--seconds", "0.1", "--threads", "2")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{path}: array 'x': 2000x16x3 uint8")
    assert "fastest training: codec=" in result.stdout
    assert "a Loader is predicted to deliver" in result.stdout


def test_tune_as_json_holds_options_that_create_takes(run, path, tmp_path):
    result = run("tune", path, "--seconds", "0.1", "--json", "--in-memory")
    document = json.loads(result.stdout)
    assert document["ok"]
    assert document["recommendations"]["default"]["fits_in_memory"]
    options = document["recommendations"]["smallest_file"]["options"]
    with cs.create(tmp_path / "b.zarr.zip", **options) as writer:
        writer.append(x=X)


@pytest.mark.leaves_open("matplotlib keeps its fonts open")
def test_tune_draws_the_picture(run, path, tmp_path):
    require("matplotlib")
    result = run("tune", path, "--seconds", "0.1", "--plot", tmp_path / "a.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        pytest.param(["no.npy"], 2, "there is no such file or folder", id="path"),
        pytest.param(["PATH", "--plot", "a.jpg"], 2, "ends in .png", id="picture"),
        pytest.param(["PATH", "--plot", "no/such/a.png"], 2, "no folder", id="picture-folder"),
        pytest.param(["PATH", "--size", "9"], 2, "such as 224x224", id="size"),
        pytest.param(["PATH", "--array", "z"], 2, "no array 'z'", id="array"),
        pytest.param(["PATH", "--seconds", "0"], 2, "seconds must be positive", id="seconds"),
    ],
)
def test_tune_says_what_is_wrong(run, path, arguments, exit_code, message):
    result = run("tune", *(path if part == "PATH" else part for part in arguments))
    assert result.exit_code == exit_code
    assert message in result.stderr


def test_bench_prints_each_pass_and_what_limits_it(run, path):
    result = run("bench", path, "--arrays", "x", "--arrays", "y", "--seconds", "0.1")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{path}: x, y")
    assert "shuffled: " in result.stdout
    assert " limits: " in result.stdout


def test_bench_with_a_step_waits_with_each_batch(run, path):
    arguments = ["--seconds", "3", "--step-ms", "20", "--batch-size", "50", "--json"]
    document = json.loads(run("bench", path, *arguments).stdout)
    for found in document["passes"]:
        assert found["seconds"] >= 0.02 * found["stats"]["batches"] > 0
    assert document["names"] == ["x", "y"]


def command_of(result, goal):
    line = next(line for line in result.stdout.splitlines() if line.startswith(f"{goal}: chunk"))
    return shlex.split(line.removeprefix(f"{goal}: chunkstore "))


@pytest.mark.parametrize("goal", ["fastest training", "smallest file", "fastest write"])
def test_the_commands_that_are_printed_write_the_file_that_was_recommended(
    run, path, tmp_path, goal
):
    np.save(tmp_path / "x y.npy", X)
    for source in (path, tmp_path / "x y.npy"):
        tuned = run("tune", source, "--seconds", "0.1", "--threads", "2")
        words = command_of(tuned, goal)
        out = tmp_path / f"{source.name}.out.zarr.zip"
        result = run(*(str(out) if word == "OUT" else word for word in words))
        assert result.exit_code == 0, result.output
        codec = words[words.index("--codec") + 1]
        with cs.open(out) as store:
            (name,) = [name for name in store if store[name].shape == X.shape]
            assert codec in store[name].codec
            assert np.array_equal(store[name][:], X)


def test_the_command_for_images_has_their_size(run, tmp_path):
    image = require("PIL.Image")
    place = tmp_path / "photos" / "cats"
    place.mkdir(parents=True)
    for number in range(6):
        image.fromarray(X[number : number + 1]).resize((20, 10 + number)).save(
            place / f"{number}.png"
        )
    arguments = ["--size", "8x12", "--seconds", "0.1", "--json"]
    document = json.loads(run("tune", tmp_path / "photos", *arguments).stdout)
    words = shlex.split(document["commands"]["smallest_file"])
    assert words[1:6] == ["import", "images", str(tmp_path / "photos"), "OUT", "--size"]
    out = tmp_path / "a.zarr.zip"
    result = run(*(out if word == "OUT" else word for word in words[1:]))
    assert result.exit_code == 0, result.output
    with cs.open(out) as store:
        assert store["x"].shape == (6, 8, 12, 3)


@pytest.mark.parametrize("step", ["inf", "nan", "-1"])
def test_a_step_that_nobody_can_wait_for_is_wrong_usage(run, path, step):
    result = run("bench", path, "--seconds", "0.1", "--step-ms", step)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_every_option_has_words():
    for command in (tune, bench):
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, option.name


def test_bench_of_an_unknown_array_is_wrong_usage(run, path):
    result = run("bench", path, "--arrays", "z")
    assert result.exit_code == 2
    assert "no array 'z'" in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals of posix")
@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_a_signal_leaves_no_scratch_file(path, tmp_path, number, exit_code):
    process = subprocess.Popen(
        [sys.executable, "-c", "from chunkstore.cli import main; main()", "tune", path],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob(".chunkstore-tune-*")) and time.monotonic() < until:
        time.sleep(0.02)
    assert list(tmp_path.glob(".chunkstore-tune-*"))
    process.send_signal(number)
    assert process.wait(60) == exit_code
    assert list(tmp_path.iterdir()) == [path]
