"""Every folder of the kit reads as its manifest says: no wrong value is accepted."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.importers.bcolz.inspection import check_bcolz
from tests.importers.bcolz.kit import is_equal, load_cases, load_truth

CASES = load_cases()


def names(*results):
    return [name for name, case in CASES.items() if case["result"] in results]


def read(kit, name, **options):
    """Return the values, the warnings and the attributes of a case."""
    path = kit / CASES[name].get("archive", name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with cs.open_bcolz(path, **options) as store:
            values = {array: store[array][...] for array in store}
            attributes = store.attributes
    assert all(warning.category is cs.ChunkStoreWarning for warning in caught)
    return values, [str(warning.message) for warning in caught], attributes


def test_the_kit_is_whole():
    assert len(CASES) == 171
    assert {case["result"] for case in CASES.values()} == {
        "ok",
        "error",
        "ok-with-warning",
        "known-writer-bug",
        "error-or-refused",
        "attributes-unreadable",
        "empty-warning-optional",
    }


@pytest.mark.parametrize("name", names("ok", "known-writer-bug", "attributes-unreadable"))
def test_good_folders_read_right(kit, name):
    case = CASES[name]
    values, found, attributes = read(kit, name, allow_pickle=True)
    truth = load_truth(kit, case)
    assert set(values) == set(truth)
    if "cols" in case:
        assert list(values) == [column[0] for column in case["cols"]]
    for array in truth:
        assert is_equal(values[array], truth[array]), array
    if "attrs" in case:
        assert attributes == case["attrs"]
    wanted = {
        "known-writer-bug": "stored wrongly",
        "attributes-unreadable": "attributes cannot be read",
    }.get(case["result"])
    if wanted:
        assert wanted in "".join(found)
    else:
        # A trim has left a chunk behind that may as well be an append that was not flushed.
        assert bool(found) == (name == "meta_trimmed")


@pytest.mark.parametrize("name", names("error"))
def test_damaged_folders_are_refused_and_their_samples_named(kit, name):
    case = CASES[name]
    with pytest.raises(cs.ChunkStoreError, match=r"samples|__|column|meta/|names"):
        read(kit, name, allow_pickle=True)
    report = check_bcolz(kit / name)
    assert not report.ok
    if case["bad_rows"] is not None:
        (lost,) = report.lost_samples.values()
        assert lost == [tuple(rows) for rows in case["bad_rows"]]


@pytest.mark.parametrize("name", names("ok-with-warning", "empty-warning-optional"))
def test_arrays_that_were_not_flushed_read_as_their_sizes_say_with_a_warning(kit, name):
    case = CASES[name]
    values, found, _ = read(kit, name)
    truth = load_truth(kit, case)[""]
    assert is_equal(values[""], truth[: len(values[""])])
    if case["result"] == "ok-with-warning":
        assert "never flushed" in "".join(found)


@pytest.mark.parametrize(
    ("name", "num_samples"),
    [
        ("bad_unflushed_from_empty", 40),
        ("bad_unflushed_append", 70),
        ("bad_sizes_too_few_rows", 40),
    ],
)
def test_what_was_not_flushed_is_recovered_when_asked(kit, name, num_samples):
    values, found, _ = read(kit, name, recover_unflushed=True)
    assert len(values[""]) == num_samples
    assert is_equal(values[""], load_truth(kit, CASES[name])[""][:num_samples])
    assert "are read, as asked" in "".join(found)


def test_all_damage_of_a_folder_is_told_at_once(kit):
    with pytest.raises(cs.CorruptionError) as caught:
        cs.open_bcolz(kit / "bad_two_chunks_bad")
    message = str(caught.value)
    assert "damaged in 2 places" in message
    assert "data/__0.blp, samples [0, 8): the chunk file is missing" in message
    assert "data/__4.blp, samples [32, 40): the frame is cut short" in message


def test_a_hostile_pickle_is_refused_and_nothing_of_it_runs(kit):
    os.environ.pop("BCOLZ_FIXTURE_PICKLE_RAN", None)
    with cs.open_bcolz(kit / "object_hostile_pickle", allow_pickle=True) as store:
        with pytest.raises(cs.UnsupportedError, match=r"builtins\.eval, which is not given out"):
            store[""][:]
        with pytest.raises(cs.UnsupportedError, match=r"__1\.blp"):
            store[""][1]
    assert "BCOLZ_FIXTURE_PICKLE_RAN" not in os.environ


@pytest.mark.parametrize(
    "name",
    [n for n, case in CASES.items() if case["kind"] == "carray (object)"]
    + ["ctable_object_column"],
)
def test_arrays_of_objects_are_refused_by_name_unless_they_are_asked_for(kit, name):
    with pytest.raises(cs.UnsupportedError, match="allow_pickle=True") as caught:
        cs.open_bcolz(kit / name)
    if name == "ctable_object_column":
        assert "array 'text'" in str(caught.value)
        with cs.open_bcolz(kit / name, arrays=["id"]) as store:
            assert list(store) == ["id"]
            assert len(store["id"][:]) == CASES[name]["rows"]


def test_the_report_of_a_repaired_array_counts_its_streams(kit):
    report = check_bcolz(kit / "oldbug_equal_size_lz4")
    assert report.ok
    assert "1 streams were stored wrongly" in " ".join(report.notes)


def test_codecs_are_told_from_the_frames_and_not_from_the_metadata(kit):
    report = check_bcolz(kit / "meta_second_writer")
    assert set(report.arrays[0].methods) == {"blosclz byte", "lz4 byte"}


@pytest.mark.parametrize("name", names("ok"))
def test_single_samples_slices_and_lists_are_those_of_the_whole(kit, name):
    path = kit / CASES[name].get("archive", name)
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cs.ChunkStoreWarning)
        store = cs.open_bcolz(path, allow_pickle=True)
    with store:
        for array in store.values():
            whole = array[...]
            n = len(whole)
            if n == 0:
                continue
            a, b = sorted(rng.integers(0, n + 1, 2).tolist())
            picked = rng.integers(0, n, 5)
            for key in (slice(a, b), picked, -1, slice(None, None, -3)):
                part = array[key]
                assert np.array_equal(part, whole[key]) or _same_bytes(part, whole[key])
            assert sum(len(chunk) for chunk in array.iter_chunks()) == n


def _same_bytes(a, b):
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()
