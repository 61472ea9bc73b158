"""Does everything that takes long show how far it is, in a terminal and nowhere else?"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main
from chunkstore.importers.arrays.options import ImportArguments, StorageArguments
from chunkstore.importers.images.preparing import ImageOptions
from chunkstore.progress import progress_bar, progress_shown

try:
    import termios
except ImportError:  # Windows
    termios = None

SHARED_OPTIONS = {"[ImageOptions]", "[ImportArguments]", "[StorageArguments]"}
X = np.arange(60.0).reshape(20, 3)

# What each shows, and how it is called on the file a.zarr.zip.
LONG = {
    "verifying": lambda **bar: cs.verify("a.zarr.zip", **bar),
    "repairing": lambda **bar: cs.repair("a.zarr.zip", "b.zarr.zip", **bar),
    "compacting": lambda **bar: cs.compact("a.zarr.zip", **bar),
    "merging": lambda **bar: cs.merge(["a.zarr.zip"] * 2, "b.zarr.zip", **bar),
    "writing": lambda **bar: cs.save("b.zarr.zip", {"x": X}, **bar),
    "reading": lambda **bar: cs.load("a.zarr.zip", **bar),
    "exporting": lambda **bar: cs.export("a.zarr.zip", "b.npz", **bar),
    "averaging x": lambda **bar: cs.mean({"x": X}, "x", **bar),
    "predicting": lambda **bar: cs.predict(
        np.sqrt, {"x": X}, "b.zarr.zip", arrays="x", batch_size=4, tag="sqrt", **bar
    ),
    "importing": lambda **bar: cs.import_npy("x.npy", "b.zarr.zip", **bar),
    "recompressing": lambda **bar: cs.recompress("a.zarr.zip", "b.zarr.zip", level=3, **bar),
    "shuffling": lambda **bar: cs.shuffle("a.zarr.zip", "b.zarr.zip", **bar),
    "unshuffling": lambda **bar: cs.unshuffle("mixed.zarr.zip", "b.zarr.zip", **bar),
    "tuning": lambda **bar: cs.tune(X, seconds=0.2, **bar),
    "measuring": lambda **bar: cs.bench("a.zarr.zip", seconds=0.2, batch_size=4, **bar),
    "looking": lambda **bar: cs.view("a.zarr.zip", "b.html", **bar),
}


# Where the words on the bar are others.
WORDS = {"shuffling": "writing", "unshuffling": "writing"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("chunkstore.progress._DELAY_SECONDS", 0)
    cs.save("a.zarr.zip", {"x": X})
    np.save("x.npy", X)
    cs.shuffle("a.zarr.zip", "mixed.zarr.zip", progress=False)


@pytest.mark.parametrize("words", LONG)
def test_a_bar_is_shown_when_it_is_asked_for(words, capsys):
    LONG[words](progress=True)
    assert WORDS.get(words, words) + ": " in capsys.readouterr().err


@pytest.mark.parametrize("words", LONG)
def test_nothing_is_shown_where_stderr_is_no_terminal(words, capsys):
    LONG[words]()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name in cs.__all__
        if name.startswith(("import_", "from_"))
        or name
        in {
            "bench",
            "recompress",
            "shuffle",
            "tune",
            "unshuffle",
            "view",
            "verify",
            "repair",
            "compact",
            "merge",
            "save",
            "load",
            "export",
            "mean",
            "std",
            "predict",
            "open_bcolz",
        }
    ),
)
def test_each_function_that_reads_or_writes_all_of_a_file_takes_progress(name):
    parameters = inspect.signature(getattr(cs, name)).parameters
    if "progress" in parameters:
        assert parameters["progress"].kind == inspect.Parameter.KEYWORD_ONLY
        assert parameters["progress"].default is None
    else:
        # Options that imports share: a TypedDict, named in text.
        assert parameters["options"].annotation.removeprefix("Unpack") in SHARED_OPTIONS


@pytest.mark.parametrize("options", [StorageArguments, ImportArguments, ImageOptions])
def test_the_options_that_imports_share_have_progress(options):
    assert "progress" in options.__annotations__


def test_a_block_shows_or_hides_all_bars_that_are_not_told_otherwise(capsys):
    with progress_shown(True), progress_bar(2, what="shown") as advance:
        advance(2)
    with progress_shown(True), progress_shown(False), progress_bar(2, what="hidden") as advance:
        advance(2)
    with progress_bar(2, what="after") as advance:
        advance(2)
    told = capsys.readouterr().err
    assert "shown" in told
    assert "hidden" not in told
    assert "after" not in told


@pytest.mark.parametrize(("option", "is_shown"), [("--progress", True), ("--no-progress", False)])
def test_the_command_line_shows_or_hides_bars(option, is_shown):
    result = CliRunner().invoke(main, ["verify", "a.zarr.zip", option])
    assert ("verifying" in result.stderr) is is_shown
    assert "verifying" not in result.stdout


@pytest.mark.skipif(termios is None, reason="there is no pseudo-terminal")
@pytest.mark.parametrize(
    ("options", "is_shown"), [([], True), (["--no-progress"], False)], ids=["default", "hidden"]
)
def test_bars_are_there_in_a_terminal_and_the_result_stays_apart(options, is_shown):
    program = (
        "import chunkstore.progress as p; p._DELAY_SECONDS = 0\n"
        "from chunkstore.cli import main\nmain()"
    )
    ours, theirs = os.openpty()
    # Bars that do not fit are not drawn, and this terminal has no size yet.
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            [sys.executable, "-c", program, "verify", "a.zarr.zip", *options],
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        os.close(theirs)
        told = b""
        with process:
            result = process.stdout.read()
            process.wait()
            # Reading a terminal whose other end is closed is an error, once all was read.
            try:
                while part := terminal.read(1024):
                    told += part
            except OSError:
                pass
    assert process.returncode == 0
    assert result.endswith(b"all is well\n")
    assert (b"verifying" in told) is is_shown
