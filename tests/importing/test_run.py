"""Laws of imports: every sample once and in order, the same bytes again after any interruption."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.importing import comparing, position, run
from chunkstore.importing.ahead import iter_ahead
from chunkstore.importing.run import ImportOptions, run_import
from tests.importing.sources import MemorySource, rows
from tests.support import REPOSITORY


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Some twenty checkpoints and blocks of a few samples."""
    monkeypatch.setattr(run, "_BLOCK_NBYTES", 100_000)
    monkeypatch.setattr(run, "_LEAST_BETWEEN_CHECKPOINTS_NBYTES", 0)


def options_of(**options):
    return ImportOptions(chunk_nbytes=50_000, **options)


def test_an_import_holds_the_samples_in_order_with_where_they_come_from(tmp_path):
    arrays = rows(333)
    source = MemorySource(arrays, unaligned={"mean": np.ones(3)})
    report = run_import(
        source, tmp_path / "a.zarr.zip", options_of(codec="lz4", attributes={"more": 1})
    )
    assert (report.num_samples, report.skipped, report.is_verified) == (333, (), True)
    with cs.open(tmp_path / "a.zarr.zip") as store:
        for name, array in arrays.items():
            assert np.array_equal(store[name][...], array)
        assert store["mean"][...].tolist() == [1, 1, 1]
        assert store.attributes["classes"] == ["a", "b"]
        assert store.attributes["more"] == 1
        about = store.attributes["import"]
        assert about["kind"] == "memory"
        assert about["options"] == {"size": 3}
        assert about["position"]["num_done"] == 333
    assert cs.verify(tmp_path / "a.zarr.zip").ok
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr.zip"]


@pytest.mark.parametrize("block_length", [None, 7, 64])
def test_the_file_is_the_same_whatever_the_number_of_threads(tmp_path, block_length):
    files = []
    for threads in (1, 2, 5):
        out = tmp_path / f"{threads}.zarr.zip"
        source = MemorySource(rows(300), block_length=block_length)
        run_import(source, out, options_of(threads=threads))
        files.append(out.read_bytes())
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize("stops_at", [0, 16, 150, 299])
def test_an_interrupted_import_goes_on_and_ends_with_the_same_bytes(tmp_path, stops_at):
    order = np.random.Generator(np.random.Philox(1)).permutation(300)
    bad = [3, 151, 298]
    options = options_of(on_error="skip", threads=2)
    whole, out = tmp_path / "whole.zarr.zip", tmp_path / "out.zarr.zip"
    run_import(MemorySource(rows(300), bad=bad), whole, options, order=order)
    with pytest.raises(KeyboardInterrupt):
        run_import(MemorySource(rows(300), bad=bad, stops_at=stops_at), out, options, order=order)
    assert not out.exists()
    report = run_import(MemorySource(rows(300), bad=bad), out, options, order=order)
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(entry.number for entry in report.skipped) == bad


def test_a_killed_import_goes_on_and_ends_with_the_same_bytes(tmp_path):
    program = f"""
import os, signal
from chunkstore.importing import comparing, position, run
from chunkstore.importing.run import ImportOptions, run_import
from tests.importing.sources import MemorySource, rows

run._BLOCK_NBYTES, run._LEAST_BETWEEN_CHECKPOINTS_NBYTES = 100_000, 0
source = MemorySource(rows(300))
read = source.read

def dying(numbers, *, skips):
    if 222 in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(numbers, skips=skips)

source.read = dying
run_import(source, {str(tmp_path / "out.zarr.zip")!r}, ImportOptions(chunk_nbytes=50_000))
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False)
    assert killed.returncode == -signal.SIGKILL
    out, whole = tmp_path / "out.zarr.zip", tmp_path / "whole.zarr.zip"
    read = []
    source = MemorySource(rows(300))
    original = source.read
    source.read = lambda numbers, *, skips: (
        read.append(numbers[0]) or original(numbers, skips=skips)
    )
    run_import(source, out, options_of())
    assert min(read) > 100
    run_import(MemorySource(rows(300)), whole, options_of())
    assert out.read_bytes() == whole.read_bytes()


def test_an_import_killed_between_checkpoints_reads_nothing_twice_before_the_last_one(tmp_path):
    out = tmp_path / "out.zarr.zip"
    with pytest.raises(KeyboardInterrupt):
        run_import(MemorySource(rows(300), stops_at=299), out, options_of(threads=1))
    source = MemorySource(rows(300))
    read = []
    original = source.read
    source.read = lambda numbers, *, skips: (
        read.extend(numbers.tolist()) or original(numbers, skips=skips)
    )
    run_import(source, out, options_of(threads=1))
    assert read == list(range(read[0], 300))
    assert read[0] > 200


def test_bad_samples_end_an_import_or_are_left_out_and_listed(tmp_path):
    out = tmp_path / "out.zarr.zip"
    with pytest.raises(ValueError, match="sample 5 cannot be read"):
        run_import(MemorySource(rows(20), bad=[5, 7]), out, options_of())
    assert not out.exists()
    report = run_import(
        MemorySource(rows(20), bad=[5, 7]), out, options_of(on_error="skip", overwrite=True)
    )
    assert [entry.name for entry in report.skipped] == ["file5", "file7"]
    with cs.open(out) as store:
        assert store["y"][...].tolist() == [i for i in range(20) if i not in (5, 7)]
        assert [s["number"] for s in store.attributes["import"]["position"]["skipped"]] == [5, 7]


def test_what_the_file_gives_back_is_compared_with_what_was_read(tmp_path, monkeypatch):
    read_back = comparing._read_back

    def changed(array, start, *, length):
        samples = read_back(array, start, length=length).copy()
        if array.name == "x" and start:
            samples[0, 0, 0, 0] ^= 1
        return samples

    monkeypatch.setattr(comparing, "_read_back", changed)
    monkeypatch.setattr(comparing, "_BLOCK_NBYTES", 100_000)
    out = tmp_path / "out.zarr.zip"
    with pytest.raises(cs.CorruptionError, match="array 'x': the new file does not hold what was"):
        run_import(MemorySource(rows(300)), out, options_of())
    assert not out.exists()
    run_import(MemorySource(rows(300)), out, options_of(verify=False))
    assert out.exists()


def test_an_unfinished_import_of_something_else_is_neither_continued_nor_replaced(tmp_path):
    out = tmp_path / "out.zarr.zip"
    with pytest.raises(KeyboardInterrupt):
        run_import(MemorySource(rows(300), stops_at=200), out, options_of())
    before = (tmp_path / "out.zarr.zip.partial").read_bytes()
    other = MemorySource(rows(300))
    other.fingerprint = "1" * 16
    with pytest.raises(FileExistsError, match="unfinished import with another fingerprint"):
        run_import(other, out, options_of())
    assert (tmp_path / "out.zarr.zip.partial").read_bytes() == before
    run_import(other, out, options_of(overwrite=True))
    with pytest.raises(FileExistsError):
        run_import(other, out, options_of())


def test_a_source_without_samples_makes_a_file_of_its_arrays(tmp_path):
    run_import(MemorySource(rows(0)), tmp_path / "a.zarr.zip", options_of())
    with cs.open(tmp_path / "a.zarr.zip") as store:
        assert store["x"].shape == (0, 40, 50, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_error": "ignore"}, "on_error must be 'fail' or 'skip', got 'ignore'"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"chunk_length": 0}, "chunk_length must be at least 1, got 0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ImportOptions(**options)


def test_the_chunk_length_is_that_of_the_widest_array(tmp_path):
    run_import(MemorySource(rows(50)), tmp_path / "a.zarr.zip", options_of(chunk_length=9))
    with cs.open(tmp_path / "a.zarr.zip") as store:
        assert store["x"].chunk_shape[0] == 9


def test_results_come_in_order_and_no_more_than_wanted_are_computed_ahead():
    started = []

    def work(item):
        started.append(item)
        return item * item

    results = iter_ahead(work, itertools.count(), threads=3, depth=4)
    assert [next(results) for _ in range(10)] == [i * i for i in range(10)]
    results.close()
    assert len(started) <= 15


def test_a_list_of_skipped_samples_is_bounded_and_counts_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(position, "MAX_LISTED", 10)
    bad = list(range(0, 300, 3))
    report = run_import(
        MemorySource(rows(300), bad=bad), tmp_path / "o.zarr.zip", options_of(on_error="skip")
    )
    assert (report.num_samples, len(report.skipped), report.num_more_skipped) == (200, 10, 90)
