"""Claims about pickles of arrays: exact, and never run."""

from __future__ import annotations

import bz2
import collections
import gzip
import lzma
import os
import pickle
import subprocess

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.importers.pickles_arrays import load_arrays
from tests.importers.killed import killed_after_a_checkpoint, use_small_blocks
from tests.importers.pickles import python2

ARRAYS = {
    "wide": np.arange(6, dtype=">i4").reshape(2, 3),
    "fortran": np.asfortranarray(np.ones((3, 4), "f2")),
    "strided": np.arange(20)[::2],
    "date": np.array(["2020-01-01"], "M8[D]"),
    "steps": np.array([3], "m8[25us]"),
    "structure": np.array([(1, 2.0)], [("a", "i2"), ("b", ">f4")]),
    "text": np.array(["ab", "grün"]),
    "bytes": np.array([b"a", b"bcd"]),
    "bool": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "empty": np.zeros((0, 3)),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_are_read_exactly(protocol):
    given = ARRAYS | {"more": [ARRAYS["wide"], (1.5, "x")], "scalar": np.float32(2.5)}
    loaded = load_arrays(pickle.dumps(collections.OrderedDict(given), protocol))
    assert list(loaded) == list(given)
    for name, values in ARRAYS.items():
        assert loaded[name].dtype == values.dtype
        np.testing.assert_array_equal(loaded[name], values)
    assert loaded["more"][1] == (1.5, "x")
    assert loaded["scalar"] == 2.5
    plain = pickle.loads(pickle.dumps(given, protocol))
    np.testing.assert_array_equal(loaded["wide"], plain["wide"])


def test_pickles_of_python_2_are_read_as_python_reads_them(tmp_path):
    given = {
        "x": np.arange(400, dtype="<f4").reshape(20, 20),
        "y": list(range(20)),
        "k": "grün".encode(),
    }
    raw = python2.dumps(given)
    expected = pickle.loads(raw, encoding="latin-1")
    (tmp_path / "a.pkl").write_bytes(raw)
    cs.import_pickle(tmp_path / "a.pkl", tmp_path / "a.zarr.zip")
    loaded = cs.load(tmp_path / "a.zarr.zip")
    np.testing.assert_array_equal(loaded["x"], expected["x"])
    assert loaded["y"].tolist() == expected["y"]
    with cs.open(tmp_path / "a.zarr.zip") as store:
        assert store.attributes["k"] == "grün"


@pytest.mark.parametrize(
    "opener", [open, gzip.open, bz2.open, lzma.open], ids=["plain", "gz", "bz2", "xz"]
)
def test_nested_pairs_are_chosen_by_their_places(tmp_path, opener):
    rng = np.random.default_rng(0)
    parts = tuple((rng.integers(0, 255, (n, 4, 4), "u1"), np.arange(n)) for n in (30, 10))
    with opener(tmp_path / "mnist.pkl.gz", "wb") as file:
        pickle.dump(parts, file)
    for i, part in enumerate(parts):
        out = tmp_path / f"{i}.zarr.zip"
        cs.import_pickle(tmp_path / "mnist.pkl.gz", out, arrays={"x": f"{i}/0", "y": f"{i}/1"})
        np.testing.assert_array_equal(cs.load(out)["x"], part[0])
        np.testing.assert_array_equal(cs.load(out)["y"], part[1])
    with pytest.raises(ValueError, match="must have one length"):
        cs.import_pickle(tmp_path / "mnist.pkl.gz", tmp_path / "c.zarr.zip")
    with pytest.raises(KeyError, match="no array '2/0', only 0/0, 0/1, 1/0, 1/1"):
        cs.import_pickle(tmp_path / "mnist.pkl.gz", tmp_path / "c.zarr.zip", arrays=["2/0"])


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


HOSTILE = {
    "system": Evil(os.system, "touch was_run"),
    "popen": Evil(subprocess.Popen, ["touch", "was_run"]),
    "eval": Evil(eval, "open('was_run', 'w')"),
    "getattr": Evil(getattr, int, "from_bytes"),
    "numpy-load": Evil(np.load, "x"),
    "in-array": np.array([Evil(os.system, "touch was_run")], object),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_nothing_in_a_pickle_is_run(tmp_path, monkeypatch, name, protocol):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"x": HOSTILE[name]}, protocol))
    with pytest.raises(cs.UnsupportedError, match=r"a\.pkl"):
        cs.import_pickle(path, tmp_path / "a.zarr.zip")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pkl"]


def crafted(shape, raw, code="f4"):
    """Return a pickle of an array of which shape and bytes need not fit."""
    good = python2.array(np.zeros(1, code))
    start = good.index(b"(J")
    stop = good.index(b"tcnumpy\ndtype") + 1
    good = good[:start] + b"(" + b"".join(map(python2.integer, shape)) + b"t" + good[stop:]
    end = good.rindex(b"\x89") + 1
    return b"\x80\x02" + good[:end] + python2.text(raw) + b"tb."


@pytest.mark.parametrize(
    ("shape", "raw"),
    [((1 << 30, 1 << 20), b"1234"), ((-1,), b""), ((2,), b"1234"), ((1,), b"12345678")],
    ids=["huge", "negative", "short", "long"],
)
def test_an_array_is_made_of_bytes_that_are_there(shape, raw):
    with pytest.raises(cs.CorruptionError, match="damaged"):
        load_arrays(crafted(shape, raw))
    assert load_arrays(crafted((1,), b"1234")).shape == (1,)


@pytest.mark.parametrize("seed", range(5))
def test_a_damaged_pickle_is_an_error_of_ours(seed):
    rng = np.random.default_rng(seed)
    raw = pickle.dumps(ARRAYS, 2)
    for _ in range(200):
        broken = bytearray(raw[: rng.integers(1, len(raw) + 1)])
        for place in rng.integers(0, len(broken), 3):
            broken[place] = rng.integers(0, 256)
        try:
            load_arrays(bytes(broken))
        except cs.ChunkStoreError:
            continue


def test_what_is_no_array_is_named(tmp_path):
    for name, value, message in (
        ("ragged", [[1, 2], [3]], "list that is no array"),
        ("none", [1, None], "holds NoneType, int"),
    ):
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(pickle.dumps({name: value}))
        with pytest.raises(cs.UnsupportedError, match=f"'{name}' is .*{message}"):
            cs.import_pickle(path, tmp_path / "a.zarr.zip")
    (tmp_path / "cut.pkl.gz").write_bytes(gzip.compress(pickle.dumps(ARRAYS))[:100])
    with pytest.raises(cs.CorruptionError, match=r"cut\.pkl\.gz"):
        cs.import_pickle(tmp_path / "cut.pkl.gz", tmp_path / "a.zarr.zip")


EXACT = {
    "bool": [True, False],
    "int": [1, -(2**63), 2**63 - 1],
    "unsigned": [2**64 - 1, 0],
    "float": [0.1, -0.0],
    "int among floats": [2**53, 0.5],
    "text": ["ab", "a\0b", "grün"],
    "nested": [[1, 2], [3, 4]],
    "tuples": [("a", "b"), ("c", "d")],
    "numpy": [np.float32(1.5), np.float32(2)],
    "arrays": [[np.arange(3, dtype="u1"), np.ones(3, "u1")]],
}


@pytest.mark.parametrize("values", EXACT.values(), ids=EXACT.keys())
def test_a_list_of_one_kind_comes_over_exactly(tmp_path, values):
    (tmp_path / "y.pkl").write_bytes(pickle.dumps(values))
    cs.import_pickle(tmp_path / "y.pkl", tmp_path / "a.zarr.zip")
    loaded = cs.load(tmp_path / "a.zarr.zip")["y"]
    expected = np.array(values, np.uint64 if values[0] == 2**64 - 1 else None)
    assert loaded.dtype == expected.dtype
    assert loaded.tolist() == expected.tolist()


INEXACT = {
    "number beside text": ([1, "a", 2.5], "holds float, int, str"),
    "bool beside int": ([True, 2], "holds bool, int"),
    "bytes beside text": ([b"a", "a"], "holds bytes, str"),
    "neither int64 nor uint64": ([2**63, -1], "neither int64 nor uint64"),
    "no 64 bits": ([2**64], "neither int64 nor uint64"),
    "no float64": ([2**53 + 1, 0.5], "the integer 9007199254740993 among floats"),
    "beyond floats": ([10**400, 0.5], "among floats"),
    "zero in text": (["a", "ab\0"], "sample 1 ends in a zero character"),
    "zero in bytes": ([b"ab\0"], "sample 0 ends in a zero character"),
    "dict in list": ([[{}, 1]], "holds dict, int"),
    "widths": ([np.float32(1), np.float64(1)], "float32 of shape .*float64"),
    "depths": ([[1], 2], "no array"),
    "single value": ({1}, "asks for|holds set"),
}


@pytest.mark.parametrize(("values", "message"), INEXACT.values(), ids=INEXACT.keys())
def test_a_list_that_no_array_gives_back_is_refused(tmp_path, values, message):
    (tmp_path / "y.pkl").write_bytes(pickle.dumps(values))
    with pytest.raises(cs.UnsupportedError, match=message) as raised:
        cs.import_pickle(tmp_path / "y.pkl", tmp_path / "a.zarr.zip")
    assert "y.pkl" in str(raised.value)
    assert not (tmp_path / "a.zarr.zip").exists()


@pytest.mark.parametrize("values", [[b"ok", b"\xff"], {"y": [1], "by": b"\xff"}, {b"\xff": [1]}])
def test_bytes_that_are_no_text_are_refused(tmp_path, values):
    (tmp_path / "y.pkl").write_bytes(pickle.dumps(values))
    with pytest.raises(cs.ChunkStoreError, match="no UTF-8"):
        cs.import_pickle(tmp_path / "y.pkl", tmp_path / "a.zarr.zip")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: [1], "1": [2]}, "two arrays of the pickle have the path '1'"),
        ({"a/b": [1], "a": {"b": [2]}}, "the path 'a/b'"),
        ({b"x": [1], "x": [2]}, "a key both as bytes and as text"),
    ],
    ids=["number", "nested", "bytes"],
)
def test_arrays_that_would_have_one_path_are_refused(tmp_path, value, message):
    (tmp_path / "y.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(cs.UnsupportedError, match=message):
        cs.import_pickle(tmp_path / "y.pkl", tmp_path / "a.zarr.zip")


def test_an_import_that_was_killed_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 8, (600, 100, 100), dtype="u1")
    given = {"x": values, "y": list(range(600)), "z": values}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(given))
    call = "cs.import_pickle('a.pkl', 'b.zarr.zip', arrays={'x': 'x', 'y': 'y'})"
    use_small_blocks(monkeypatch)
    assert killed_after_a_checkpoint(call, tmp_path)
    monkeypatch.chdir(tmp_path)
    partial = (tmp_path / "b.zarr.zip.partial").read_bytes()
    for other in ({"x": "z", "y": "y"}, {"x": "x"}):
        with pytest.raises(cs.ChunkStoreError, match=r"b\.zarr\.zip"):
            cs.import_pickle("a.pkl", "b.zarr.zip", arrays=other)
    assert (tmp_path / "b.zarr.zip.partial").read_bytes() == partial
    cs.import_pickle("a.pkl", "b.zarr.zip", arrays={"x": "x", "y": "y"})
    cs.import_pickle("a.pkl", "whole.zarr.zip", arrays={"x": "x", "y": "y"})
    assert (tmp_path / "b.zarr.zip").read_bytes() == (tmp_path / "whole.zarr.zip").read_bytes()


def test_a_file_that_decompresses_to_more_than_memory_should_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("chunkstore.importers.pickles_arrays.MAX_NBYTES", 1 << 16)
    (tmp_path / "a.pkl.gz").write_bytes(gzip.compress(pickle.dumps(np.zeros(1 << 14))))
    with pytest.raises(cs.UnsupportedError, match=r"a\.pkl\.gz.*takes more than 65536 bytes"):
        cs.import_pickle(tmp_path / "a.pkl.gz", tmp_path / "a.zarr.zip")


def test_lists_that_share_their_parts_without_end_are_refused(tmp_path):
    shared = []
    for _ in range(60):
        shared = [shared, shared]
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"x": np.arange(3), "l": shared}))
    with pytest.raises(cs.UnsupportedError, match="unfolds to more than 67,108,864 values"):
        cs.import_pickle(path, tmp_path / "o.zarr.zip")
