"""Do the benchmarks run, report what they should, and refuse wrong values? Never: how fast."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from benchmarks import run
from benchmarks.cases import opening, reading
from benchmarks.result import Result, measure_in_turns, ratio
from benchmarks.values import WrongValuesError, check_equal
from chunkstore.container.reader import EntryReader
from tests.support import require

RESULT_KEYS = {
    "case", "name", "values", "direction", "limit", "conditions", "ours_seconds", "peer_seconds",
    "decoded_nbytes", "unit", "details", "median", "low", "high", "is_held",
}  # fmt: skip


@pytest.fixture
def photographs():
    for package in ("PIL", "skimage", "sklearn", "zarr"):
        require(package)


@pytest.mark.leaves_open("matplotlib keeps its fonts open")
@pytest.mark.parametrize("case", list(run.CASES))
@pytest.mark.usefixtures("photographs")
def test_a_quick_run_reports_every_measurement_of_a_case(case, tmp_path, capsys):
    output = tmp_path / "report"
    folder = tmp_path / "data"
    folder.mkdir()
    arguments = ["--quick", "--only", case, "--output", str(output), "--folder", str(folder)]
    assert run.main(arguments) == 0

    report = json.loads((output / "store.json").read_text())
    assert report["quick"] is True
    assert {"cpu", "cores", "packages", "storage", "commit"} <= report["environment"].keys()
    assert report["environment"]["packages"]["numpy"] == np.__version__
    assert report["environment"]["storage"]["disk"].keys() == {
        "file_system",
        "device",
        "rotational",
    }
    assert report["results"]
    printed = capsys.readouterr().out
    for result in report["results"]:
        assert result.keys() == RESULT_KEYS
        assert result["case"] == case
        assert all(math.isfinite(value) for value in result["values"])
        assert result["name"] in printed
    assert (output / ".gitignore").read_text() == "*\n"
    assert list(folder.iterdir()) == []


def test_a_slice_with_wrong_values_voids_the_measurement(tmp_path):
    patches = np.random.default_rng(1).integers(0, 256, (40, 64, 64, 3), np.uint8)
    source = str(tmp_path / "patches.npy")
    np.save(source, patches)
    path = reading.stored_patches(
        str(tmp_path), source, 40, codec="lz4", level=1, chunk_nbytes=1 << 16
    )
    reading.compare_slices(path, source, 40, reads=3, rounds=1)
    np.save(source, patches + 1)
    with pytest.raises(WrongValuesError, match="bare read"):
        reading.compare_slices(path, source, 40, reads=3, rounds=1)


def test_a_reader_that_skips_its_work_voids_the_measurement_of_checks(tmp_path, monkeypatch):
    patches = np.random.default_rng(2).integers(0, 256, (40, 64, 64, 3), np.uint8)
    source = str(tmp_path / "patches.npy")
    np.save(source, patches)
    path = reading.stored_patches(
        str(tmp_path), source, 40, codec="lz4", level=1, chunk_nbytes=1 << 16
    )
    fetch = EntryReader.fetch
    first = []

    def always_the_first(reader, name, **where):
        if b"/c/" not in name:
            return fetch(reader, name, **where)
        if not first:
            first.append(bytes(fetch(reader, name, **where)))
        return memoryview(first[0])

    monkeypatch.setattr(EntryReader, "fetch", always_the_first)
    with pytest.raises(WrongValuesError, match="check=True"):
        reading.compare_checks(path, source, 40, rounds=1)


def test_both_files_of_many_chunks_hold_the_same_samples(tmp_path):
    plain = opening.many_chunks_file(str(tmp_path), 300)
    warm_up = opening.many_chunks_file(str(tmp_path), 100)
    for path in (plain, opening.shifted_file(plain)):
        for ours in (True, False):
            measured = opening.measure_open(path, warm_up, 300, ours=ours)
            assert measured.keys() == {"seconds", "resident", "peak"}


def test_check_equal_tells_dtype_shape_and_values_apart():
    check_equal(np.arange(3), np.arange(3), "equal")
    for found in (np.arange(3) + 1, np.arange(4), np.arange(3).astype("f4")):
        with pytest.raises(WrongValuesError, match="wrong one"):
            check_equal(found, np.arange(3), "wrong one")


def test_sides_take_turns_and_the_warm_up_is_left_out():
    calls = []

    def side(name):
        def timed():
            calls.append(name)
            return float(len(calls))

        return timed

    measured = measure_in_turns([side("a"), side("b")], rounds=2)
    assert calls == ["b", "a", "a", "b", "b", "a"]
    assert measured == [(3.0, 4.0), (6.0, 5.0)]


@pytest.mark.parametrize(
    ("direction", "limit", "median", "is_held"),
    [
        pytest.param("at least", 2.0, 2.0, True, id="twice-as-fast"),
        pytest.param("at least", 2.5, 2.0, False, id="not-fast-enough"),
        pytest.param("at most", 0.5, 0.5, True, id="half-the-time"),
        pytest.param("at most", 0.4, 0.5, False, id="too-long"),
    ],
)
def test_a_ratio_is_judged_by_its_median(direction, limit, median, is_held):
    result = ratio(
        [(1.0, 2.0), (2.0, 4.0), (9.0, 1.0)],
        ours=0,
        peer=1,
        direction=direction,
        limit=limit,
        case="c",
        name="n",
        conditions="",
    )
    assert isinstance(result, Result)
    assert result.median == median
    assert result.is_held is is_held
