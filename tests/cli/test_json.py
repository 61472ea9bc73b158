"""Do all commands print one shape of JSON, also where they fail?"""

from __future__ import annotations

import json
import re
import zipfile

import click
import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main
from chunkstore.cli.command import report_errors
from chunkstore.cli.printing import print_json
from tests.support import REPOSITORY

X = np.arange(40 * 6, dtype=np.uint8).reshape(40, 6)
Y = np.arange(40) % 4


def leaf_commands(group, names=()):
    """Yield every command that does something, with its names."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaf_commands(command, (*names, name))
        else:
            yield (*names, name), command


# It prints a script and reads no file.
LEAVES = {names: command for names, command in leaf_commands(main) if names != ("completion",)}


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def document(result):
    """Return the document, after checking what holds for all of them."""
    told = json.loads(result.stdout, parse_constant=pytest.fail)
    assert list(told)[:3] == ["command", "ok", "exit_code"]
    assert list(told)[-2:] == ["warnings", "error"]
    assert told["exit_code"] == result.exit_code
    assert told["ok"] is (result.exit_code == 0)
    return told


@pytest.fixture
def folder(tmp_path):
    cs.save(tmp_path / "a.zarr.zip", {"x": X, "y": Y}, chunk_nbytes=96)
    np.save(tmp_path / "x.npy", X)
    X.tofile(tmp_path / "x.bin")
    return tmp_path


@pytest.mark.parametrize("names", LEAVES, ids=" ".join)
def test_every_command_takes_json_debug_and_progress(names):
    options = {option for parameter in LEAVES[names].params for option in parameter.opts}
    assert {"--json", "--debug", "--progress"} <= options


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["info", "a.zarr.zip"], {"num_samples": 40}, id="info"),
        pytest.param(["verify", "a.zarr.zip"], {"problems": []}, id="verify"),
        pytest.param(
            ["repair", "a.zarr.zip", "--out", "b.zarr.zip"], {"recovered_samples": 40}, id="repair"
        ),
        pytest.param(["compact", "a.zarr.zip"], {"out": "a.zarr.zip"}, id="compact"),
        pytest.param(
            ["merge", "b.zarr.zip", "a.zarr.zip", "a.zarr.zip"], {"num_samples": 80}, id="merge"
        ),
        pytest.param(["split", "a.zarr.zip", "parts", "train=.8"], {"path": "parts"}, id="split"),
        pytest.param(["export", "a.zarr.zip", "b.npz"], {"arrays": ["x", "y"]}, id="export"),
        pytest.param(["import", "npy", "x.npy", "b.zarr.zip"], {"num_samples": 40}, id="import"),
        pytest.param(
            ["import", "npy", "x.npy", "b.zarr.zip", "--dry-run"], {"refused": []}, id="dry-run"
        ),
        pytest.param(
            ["import", "raw", "x.bin", "parts", "--dtype", "u1", "--shape", "6", "--split", "a=.5"],
            {"path": "parts"},
            id="import-parts",
        ),
    ],
)
def test_a_result_stands_in_the_document_of_its_command(folder, monkeypatch, arguments, expected):
    monkeypatch.chdir(folder)
    result = run(*arguments, "--json")
    told = document(result)
    assert result.exit_code == 0, result.output
    assert told["command"] == " ".join(arguments[: 1 + (arguments[0] == "import")])
    assert {name: told[name] for name in expected} == expected
    assert (told["warnings"], told["error"]) == ([], None)


def documented_keys():
    """Return what the page says of each command: its own keys."""
    page = (REPOSITORY / "docs" / "command-line.md").read_text(encoding="utf-8")
    table = page.partition("| command | keys |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", keys))) for name, keys in rows}


# Beside the file a.zarr.zip, what each command is given.
FURTHER = {
    "info": [],
    "verify": [],
    "repair": [],
    "compact": [],
    "merge": [],
    "split": ["p", "a=.5"],
    "export": ["b.npz"],
    "recompress": ["b.zarr.zip", "--level", "2"],
    "shuffle": ["b.zarr.zip"],
    "view": [],
    "tune": ["--array", "x", "--seconds", "0.5"],
    "bench": ["--seconds", "0.5"],
}


@pytest.mark.parametrize("name", FURTHER)
def test_the_documented_keys_are_those_of_the_document(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    places = ["b.zarr.zip", "a.zarr.zip"] if name == "merge" else ["a.zarr.zip", *FURTHER[name]]
    told = document(run(name, *places, "--json"))
    common = {"command", "exit_code", "warnings", "error", "ok"}
    assert set(told) - common == documented_keys()[name]


def test_parts_stand_under_their_names_beside_the_folder(folder):
    told = document(run("split", folder / "a.zarr.zip", folder / "p", "a=.5", "b=.5", "--json"))
    assert set(told["parts"]) == {"a", "b"}
    assert sum(part["num_samples"] for part in told["parts"].values()) == 40


# What each command is given beside the place of a file that is not there, and of a new one.
MISSING = {
    ("info",): ["missing"],
    ("verify",): ["missing"],
    ("repair",): ["missing"],
    ("compact",): ["missing"],
    ("merge",): ["out", "missing"],
    ("split",): ["missing", "out", "a=.5"],
    ("export",): ["missing", "out.npz"],
    ("predict",): ["missing", "missing", "out"],
    ("import", "raw"): ["missing", "out", "--dtype", "u1"],
    ("import", "images"): ["missing", "out", "--size", "8"],
    ("import", "csv"): ["missing", "out", "--size", "8"],
} | {
    names: ["missing", "out"]
    for names in LEAVES
    if names[0] == "import" and names[1] not in ("raw", "images", "csv")
}


@pytest.mark.parametrize("names", MISSING, ids=" ".join)
def test_a_missing_source_is_an_error_in_the_document_and_one_line_on_stderr(
    names, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = run(*names, *MISSING[names], "--json")
    told = document(result)
    assert result.exit_code in (1, 2)
    assert told["command"] == " ".join(names)
    assert "missing" in told["error"]["message"]
    if told["error"]["type"] != "BadParameter":
        assert result.stderr == f"error: {told['error']['message']}\n"


@pytest.mark.parametrize(
    ("arguments", "command", "kind"),
    [
        (["info", "a", "--no-such-option"], "info", "NoSuchOption"),
        (["import", "hdf5", "only-one-place"], "import hdf5", "UsageError"),
        (["no-such-command"], "", "NoSuchCommand"),
        (["info"], "info", "MissingParameter"),
    ],
)
def test_wrong_usage_is_a_document_too(arguments, command, kind):
    result = run(*arguments, "--json")
    told = document(result)
    assert (result.exit_code, told["command"], told["error"]["type"]) == (2, command, kind)
    assert "Usage:" in result.stderr


def test_an_error_of_a_file_names_its_place(folder):
    path = folder / "long.zarr.zip"
    cs.save(path, {"x": np.arange(40 * 4096).reshape(40, 4096)}, chunk_nbytes=1 << 16)
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("x/c/1/0")
    content = bytearray(path.read_bytes())
    content[entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2] ^= 1
    path.write_bytes(content)
    told = document(run("export", path, folder / "b.npz", "--json"))
    assert told["error"]["type"] == "CorruptionError"
    assert told["error"]["path"] == str(path)
    assert told["error"]["key"] == "x/c/1/0"
    assert told["error"]["offset"] == entry.header_offset


def test_warnings_stand_in_the_document_and_on_stderr(folder):
    path = folder / "a.zarr.zip"
    short = path.read_bytes()
    with cs.append(path) as writer:
        writer.append(x=X, y=Y)
    longer = path.read_bytes()
    path.write_bytes(longer[: (len(short) + len(longer)) // 2])
    result = run("info", path, "--json")
    told = document(result)
    assert told["num_samples"] == 40
    assert [f"warning: {text}\n" for text in told["warnings"]] == [result.stderr]


def document_of(value):
    @click.command()
    @report_errors
    def command(*, as_json):
        assert as_json
        print_json(value)

    return CliRunner().invoke(command, ["--json"], standalone_mode=True)


def test_numbers_that_json_has_not_are_written_as_zarr_writes_them():
    told = document(document_of({"values": [np.nan, np.inf, (-np.inf, 1.5)]}))
    assert told["values"] == ["NaN", "Infinity", ["-Infinity", 1.5]]


def test_a_result_cannot_hide_what_every_document_has():
    result = document_of({"error": "mine"})
    assert isinstance(result.exception, TypeError)
    assert "names of all documents: error" in str(result.exception)
