"""Does every command end as the documentation says, and quietly?"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main
from chunkstore.cli.command import (
    EXIT_BROKEN_PIPE,
    EXIT_DEFECT,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    EXIT_USAGE,
)
from tests.support import REPOSITORY

START = "import sys; from chunkstore.cli import main; "


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {f"array{i:04}": np.arange(3) for i in range(20)})
    return path


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_exit_codes_are_those_of_the_documentation():
    page = (REPOSITORY / "docs" / "command-line.md").read_text(encoding="utf-8")
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert documented == {
        0,
        EXIT_DEFECT,
        EXIT_USAGE,
        EXIT_INTERRUPTED,
        EXIT_BROKEN_PIPE,
        EXIT_TERMINATED,
    }
    assert all(str(code) in main.epilog for code in documented)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize(
    "arguments",
    [["info"], ["info", "--json"], ["verify"], ["--help"]],
    ids=["info", "json", "verify", "help"],
)
@pytest.mark.parametrize("buffered", [True, False], ids=["buffered", "unbuffered"])
def test_output_to_a_full_disk_is_one_line_on_stderr_and_ends_with_1(path, arguments, buffered):
    if arguments != ["--help"]:
        arguments = [*arguments, str(path)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", START + "sys.exit(main())", *arguments],
            env=os.environ | {"PYTHONUNBUFFERED": "" if buffered else "1"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert re.fullmatch(r"error: [^\n]*No space left on device\n", done.stderr)


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (cs.CorruptionError("damaged"), 1),
        (cs.UnsupportedError("not ours"), 1),
        (PermissionError(13, "not permitted"), 1),
        (ImportError("it needs h5py: pip install 'chunkstore[hdf5]'"), 1),
        (FileNotFoundError(2, "not there"), 2),
        (FileExistsError(17, "there already"), 2),
        (ValueError("level must be in [0, 9]"), 2),
        (KeyError("no array 'z'"), 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_is_one_line_and_debug_brings_it_back(monkeypatch, path, error, exit_code):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(cs, "verify", fail)
    result = run("verify", path)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert re.fullmatch(r"error: [^\n]+\n", result.stderr)
    assert run("verify", path, "--debug").exception is error


def test_an_error_that_nobody_foresaw_has_no_traceback_and_names_its_type(monkeypatch, path):
    def fail(_path):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(cs, "verify", fail)
    result = run("verify", path)
    assert result.exit_code == 1
    assert result.stderr == "error: RuntimeError: two; lines (--debug shows where)\n"


def test_a_lone_key_is_no_message(monkeypatch, path):
    monkeypatch.setattr(cs, "verify", lambda _path: {}[3])
    assert run("verify", path).stderr == "error: KeyError: 3 (--debug shows where)\n"


@pytest.mark.parametrize(
    "command", [["info", "a"], ["split", "a", "b", "c=.5"], ["import", "npy", "a", "b"]]
)
def test_a_seed_out_of_range_is_named_with_its_range(command):
    result = run(*command, "--seed", 2**64)
    assert result.exit_code == 2
    assert f"{2**64} is not in the range 0<=x<={2**64 - 1}" in result.stderr


def test_a_command_that_is_interrupted_as_it_starts_ends_quietly_too(path, tmp_path):
    # The first thing that takes long is the import of NumPy. A signal just before a sleep would not
    # end it: many short ones.
    (tmp_path / "numpy.py").write_text(
        "import time\nprint('importing', flush=True)\nfor _ in range(3000):\n    time.sleep(0.02)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "chunkstore", "info", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"},
    ) as process:
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == EXIT_INTERRUPTED


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["words", "json"])
def test_an_interrupted_command_ends_quietly_with_130(path, options):
    program = (
        START + "import signal, chunkstore as cs\n"
        "cs.verify = lambda path: signal.raise_signal(signal.SIGINT)\n"
        "sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "verify", str(path), *options],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_an_interrupt_that_a_finalizer_drops_ends_the_command_all_the_same(path):
    program = (
        START + "import signal, time, chunkstore as cs\n"
        "class Dropping:\n"
        "    def __del__(self):\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "cs.verify = lambda path: (Dropping() and None, time.sleep(60))\n"
        "sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "verify", str(path)],
        capture_output=True,
        check=False,
        timeout=50,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["words", "json"])
def test_output_that_nobody_reads_to_its_end_ends_quietly_with_141(path, options):
    # More than a pipe holds, so that writing meets the closed end.
    cs.save(path, {f"{'long' * 50}{i:04}": np.arange(3) for i in range(400)}, overwrite=True)
    process = subprocess.Popen(
        [sys.executable, "-c", START + "sys.exit(main())", "info", str(path), *options],
        # Without its buffer, Python takes what a pipe no longer takes for written.
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        first = process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
    assert first
    assert (process.returncode, told) == (141, b"")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("there already; overwrite=True replaces it", "there already; --overwrite replaces it"),
        ("overwrite=True (--overwrite) replaces it", "overwrite=True (--overwrite) replaces it"),
        ("two of them; choose with arrays=", "two of them; choose with NAME=ARRAY behind OUT"),
        (
            "choose with beside=; on_error='skip' leaves",
            "choose with --beside; --on-error skip leaves",
        ),
        ("the manifest has no_such=True and stack=7", "the manifest has no_such=True and stack=7"),
        ("on_error=... says it", "--on-error says it"),
        ("overwrite=True_story", "overwrite=True_story"),
        ("arrays differ:\n  a: (3,)\n  b: (4,)\n", "arrays differ: a: (3,); b: (4,)"),
    ],
)
def test_a_message_of_the_library_names_the_options_of_the_command(monkeypatch, message, expected):
    def fail(*_arguments, **_options):
        raise ValueError(message)

    monkeypatch.setattr(cs, "import_npy", fail)
    result = run("import", "npy", "a.npy", "b.zarr.zip")
    assert result.stderr == f"error: {expected}\n"


def test_imports_take_the_bytes_of_a_chunk_and_both_names_of_its_length(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4096, 8), np.float32))
    for option, length in {
        "--chunk-nbytes": 512,
        "--chunk": 1 << 14,
        "--chunk-length": 1 << 14,
    }.items():
        out = tmp_path / f"{option}.zarr.zip"
        result = run("import", "npy", f"x={tmp_path / 'x.npy'}", out, option, 1 << 14)
        assert result.exit_code == 0, result.output
        with cs.open(out) as store:
            assert store["x"].chunk_length == length


def test_a_dry_run_that_would_be_refused_ends_with_1_whatever_refuses(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(4), y=np.arange(5))
    done = run("import", "npy", tmp_path / "a.npz", tmp_path / "out.zarr.zip", "--dry-run")
    assert done.exit_code == 1
    assert "refused" in done.stderr + done.stdout
    gone = run("import", "npy", tmp_path / "none.npz", tmp_path / "out.zarr.zip", "--dry-run")
    assert gone.exit_code == 2


def test_the_error_of_a_damaged_file_says_what_saves_the_rest(tmp_path):
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {"x": np.arange(1000)}, codec="raw")
    content = path.read_bytes()
    place = content.index(np.arange(100, 200).tobytes())
    path.write_bytes(content[:place] + b"?" + content[place + 1 :])
    for command in (["compact", path], ["export", path, tmp_path / "x.npy"]):
        done = run(*command)
        assert done.exit_code == 1
        assert "`chunkstore repair`" in done.stderr
