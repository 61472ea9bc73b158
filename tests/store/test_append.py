"""What does append take, what does it refuse, and what does it leave in the file?"""

from __future__ import annotations

import gc
import itertools
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore import settings, system
from tests.store.stores import check_file, document, names, random_array

REFUSED = {
    "mixed lengths": (
        {"x": np.zeros((3, 2), "f4"), "y": [1, 2]},
        ValueError,
        "all arrays of one append must have the same number of samples, got x: 3, y: 2",
    ),
    "missing": (
        {"x": np.zeros((3, 2), "f4")},
        ValueError,
        (
            "every append gives the same arrays, x, y; missing: y. A whole array is added with "
            "put(name, array)"
        ),
    ),
    "unknown": (
        {"x": np.zeros((3, 2), "f4"), "y": [1, 2, 3], "z": [1, 2, 3]},
        ValueError,
        (
            "every append gives the same arrays, x, y; unknown: z. A whole array is added with "
            "put(name, array)"
        ),
    ),
    "missing and unknown": (
        {"X": np.zeros((3, 2), "f4"), "y": [1, 2, 3]},
        ValueError,
        (
            "every append gives the same arrays, x, y; missing: x; unknown: X. A whole array is "
            "added with put(name, array)"
        ),
    ),
    "none": ({}, ValueError, "append needs at least one array, got none"),
    "sample shape": (
        {"x": np.zeros((3, 5), "f4"), "y": [1, 2, 3]},
        ValueError,
        "array 'x': expected shape (n, 2) and dtype float32, got shape (3, 5) and dtype float32",
    ),
    "number of axes": (
        {"x": np.zeros((3, 2), "f4"), "y": np.zeros((3, 1), "i8")},
        ValueError,
        "array 'y': expected shape (n,) and dtype int64, got shape (3, 1) and dtype int64",
    ),
    "one sample without its axis": (
        {"x": np.zeros(2, "f4"), "y": [1, 2]},
        ValueError,
        "array 'x': expected shape (n, 2) and dtype float32, got shape (2,) and dtype float32",
    ),
    "scalar": (
        {"x": np.zeros((1, 2), "f4"), "y": 5},
        ValueError,
        "array 'y': expected shape (n,) and dtype int64, got shape () and dtype int64",
    ),
    "dtype": (
        {"x": np.zeros((3, 2)), "y": [1, 2, 3]},
        TypeError,
        (
            "array 'x': expected dtype float32, got float64; convert it with .astype('<f4') if "
            "that is what you want"
        ),
    ),
    "unsigned": (
        {"x": np.zeros((3, 2), "f4"), "y": np.array([1, 2, 3], "u8")},
        TypeError,
        (
            "array 'y': expected dtype int64, got uint64; convert it with .astype('<i8') if "
            "that is what you want"
        ),
    ),
}


@pytest.mark.parametrize(("arrays", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_with_a_sentence_and_nothing_of_it_is_written(
    arrays, kind, message, tmp_path
):
    path = tmp_path / "a.zarr.zip"
    x, y = np.ones((5, 2), "f4"), np.arange(5)
    with cs.create(path) as writer:
        writer.append(x=x, y=y)
        with pytest.raises(kind) as refusal:
            writer.append(**arrays)
        assert str(refusal.value) == message
        assert writer.num_samples == 5
        writer.append(x=x, y=y)
    check_file(path, {"x": np.concatenate([x, x]), "y": np.concatenate([y, y])})


FIRST_REFUSED = {
    "scalar": ({"y": 5}, ValueError, "array 'y': samples have an axis 0 that counts them, got a"),
    "objects": (
        {"y": np.array([{}, None])},
        TypeError,
        "dtype object holds Python objects",
    ),
    "ragged": ({"y": [[1], [1, 2]]}, ValueError, "inhomogeneous"),
    "objects inside": (
        {"y": np.zeros(2, [("a", "O")])},
        TypeError,
        r"array 'y': .* holds Python objects",
    ),
    "no type": ({"y": np.zeros(2, np.longdouble)}, TypeError, "array 'y': .* cannot be stored"),
    "mixed lengths": ({"x": [1], "y": [1, 2]}, ValueError, "got x: 1, y: 2"),
    "name": ({"c": [1]}, ValueError, "may not begin with '__' or be 'zarr.json' or 'c'"),
    "name of dots": ({"a/..": [1]}, ValueError, "may not hold a backslash or empty, '.' or '..'"),
    "name with accents": ({"é": [1]}, ValueError, "printable ASCII"),
    "no name": ({"": [1]}, ValueError, "a non-empty string, got ''"),
    "one inside another": ({"a": [1], "a/b": [1]}, ValueError, "one cannot lie inside the other"),
}


@pytest.mark.parametrize(("arrays", "kind", "message"), FIRST_REFUSED.values(), ids=FIRST_REFUSED)
def test_a_first_append_that_is_refused_decides_nothing(arrays, kind, message, tmp_path):
    path = tmp_path / "a.zarr.zip"
    with cs.create(path) as writer:
        with pytest.raises(kind, match=message):
            writer.append_mapping(arrays)
        writer.append(z=np.arange(3.0))
    check_file(path, {"z": np.arange(3.0)})


def test_nan_and_infinity_are_data(tmp_path):
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-310])
    path = tmp_path / "a.zarr.zip"
    with cs.create(path) as writer:
        writer.append(x=x)
    check_file(path, {"x": x})


@pytest.mark.parametrize("count", [1, 4, 9])
def test_a_caller_may_change_an_array_as_soon_as_append_returns(count, tmp_path):
    path = tmp_path / "a.zarr.zip"
    spec = cs.ArraySpec("i8", (100,), chunk_length=4)
    block = np.empty((count, 100), np.int64)
    with cs.create(path, arrays={"x": spec}) as writer:
        for number in range(20):
            block[:] = number
            writer.append(x=block)
            block[:] = -1
    expected = np.repeat(np.arange(20), count)[:, None] * np.ones(100, np.int64)
    check_file(path, {"x": expected})


@given(
    cuts=st.lists(st.integers(0, 100), max_size=6),
    lengths=st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_equal_input_gives_equal_bytes_however_it_is_cut_into_appends(
    cuts, lengths, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("cuts")
    x, y = random_array((100, 7), "f4"), np.arange(100)
    specs = {
        "x": cs.ArraySpec("f4", (7,), chunk_length=lengths[0]),
        "y": cs.ArraySpec("i8", chunk_length=lengths[1]),
    }
    for name, bounds in (("whole", [0, 100]), ("cut", [0, *sorted(cuts), 100])):
        with cs.create(folder / name, arrays=specs) as writer:
            for start, stop in itertools.pairwise(bounds):
                writer.append(x=x[start:stop], y=y[start:stop])
    assert (folder / "whole").read_bytes() == (folder / "cut").read_bytes()
    x = x + 1
    with cs.create(folder / "other", arrays=specs) as writer:
        writer.append(x=x, y=y)
    assert (folder / "whole").read_bytes() != (folder / "other").read_bytes()


@pytest.mark.parametrize("way", ["append", "save", "put"])
def test_memory_while_writing_is_a_few_chunks(way, tmp_path):
    chunk_nbytes = 1 << 20
    sample = np.random.default_rng(0).integers(0, 255, (64, 4096), dtype=np.uint8)

    class Lazy:
        """As long as 96 MiB, made block by block."""

        shape, dtype, chunk_length = (384 * 64, 4096), np.dtype("u1"), 256

        def __getitem__(self, index):
            return np.tile(sample, ((index.stop - index.start) // 64, 1))

    path = tmp_path / "a.zarr.zip"
    gc.collect()
    tracemalloc.start()
    try:
        if way == "save":
            cs.save(path, {"x": Lazy()}, codec="lz4")
        else:
            with cs.create(path, codec="lz4") as writer:
                if way == "put":
                    writer.put("x", Lazy())
                else:
                    for _ in range(384):
                        writer.append(x=sample)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    with cs.open(path) as store:
        assert store.num_samples == 384 * 64
        np.testing.assert_array_equal(store["x"][-64:], sample)
    # Three chunks a thread, raw and encoded, and for a lazy source two blocks of 16 MiB.
    threads = min(32, system.calls.available_cores())
    allowed = (3 * threads + 3) * 2 * chunk_nbytes + (0 if way == "append" else 40 << 20)
    assert peak < allowed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": "lzma"}, r"codec must be one of .*zstd.*; got 'lzma'"),
        ({"level": 10}, "level must be a whole number from 0 to 9, got 10"),
        ({"level": -1}, "level must be a whole number from 0 to 9, got -1"),
        ({"level": 2.5}, "level must be a whole number from 0 to 9, got 2.5"),
        ({"level": True}, "level must be a whole number from 0 to 9, got True"),
        ({"shuffle": "bytes"}, "shuffle must be one of auto, none, byte, bit; got 'bytes'"),
        ({"chunk_nbytes": 0}, r"chunk_nbytes must be in \[1, 2147483647\], got 0"),
        ({"chunk_nbytes": 1 << 31}, r"chunk_nbytes must be in"),
    ],
    ids=str,
)
def test_an_option_that_does_not_exist_is_refused_before_anything_is_made(
    options, message, tmp_path
):
    path = tmp_path / "a.zarr.zip"
    with pytest.raises(ValueError, match=message):
        cs.create(path, **options)
    with cs.defaults(**options), pytest.raises(ValueError, match=message):
        cs.save(path, {"x": [1]})
    if "chunk_nbytes" not in options:
        with pytest.raises(ValueError, match=message):
            cs.ArraySpec("f4", **options)
    assert names(tmp_path) == []


@pytest.mark.parametrize("codec", ["zstd", "lz4", "lz4hc", "blosclz", "zlib", "gzip", "raw"])
@pytest.mark.parametrize("level", [0, 9])
def test_every_codec_and_level_works(codec, level, tmp_path):
    x = np.arange(6000, dtype="i4").reshape(100, 60)
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {"x": x}, codec=codec, level=level, chunk_nbytes=4000)
    check_file(path, {"x": x})
    with cs.open(path) as store:
        assert codec in store["x"].codec or codec == "raw"


def codec_of(path):
    cs.save(path, {"x": np.arange(10)}, overwrite=True)
    with cs.open(path) as store:
        return store["x"].codec


def test_defaults_hold_inside_the_block_and_return_also_after_an_exception(tmp_path):
    path = tmp_path / "a.zarr.zip"
    before = codec_of(path)
    assert "zstd-1" in before
    with cs.defaults(codec="lz4", level=5):
        assert "lz4-5" in codec_of(path)
        with cs.defaults(level=7):
            assert "lz4-7" in codec_of(path)
        assert "lz4-5" in codec_of(path)
    with pytest.raises(RuntimeError), cs.defaults(codec="gzip"):
        raise RuntimeError
    assert codec_of(path) == before
    with pytest.raises(TypeError, match="no such setting: clevel; there are codec, level, shuffle"):
        cs.defaults(clevel=5).__enter__()


def test_defaults_of_one_thread_are_not_those_of_another():
    inside, checked = threading.Event(), threading.Event()
    seen = {}

    def other():
        inside.wait()
        seen["other"] = settings.current().codec
        checked.set()

    thread = threading.Thread(target=other)
    thread.start()
    with cs.defaults(codec="lz4"):
        inside.set()
        checked.wait()
        seen["own"] = settings.current().codec
    thread.join()
    assert seen == {"other": "zstd", "own": "lz4"}


def test_auto_shuffle_takes_the_smallest_and_metadata_says_which(tmp_path):
    path = tmp_path / "a.zarr.zip"
    ramp = np.arange(1 << 16, dtype="i8")
    noise = np.random.default_rng(0).bytes(1 << 16)
    cs.save(path, {"ramp": ramp, "noise": np.frombuffer(noise, "u1")})
    blosc = document(path, "ramp/zarr.json")["codecs"][1]["configuration"]
    assert blosc["shuffle"] in ("shuffle", "bitshuffle")
    sizes = {}
    for shuffle in ("none", "byte", "bit", "auto"):
        cs.save(path, {"ramp": ramp}, shuffle=shuffle, overwrite=True)
        sizes[shuffle] = path.stat().st_size
    assert sizes["auto"] <= min(sizes.values()) + 16


@pytest.mark.parametrize(
    "attributes",
    [{"a": np.float64("nan")}, {"a": {1, 2}}, {"a": np.int64(3)}, {"chunkstore": {}}],
    ids=repr,
)
def test_attributes_that_cannot_be_kept_are_refused_and_cost_no_samples(attributes, tmp_path):
    path = tmp_path / "a.zarr.zip"
    with pytest.raises((TypeError, ValueError), match=r"attribute"):
        cs.create(path, attributes=attributes)
    assert names(tmp_path) == []
    writer = cs.create(path)
    writer.append(x=np.arange(5))
    writer.attributes.update(attributes)
    with pytest.raises((TypeError, ValueError), match=r"attribute"):
        writer.close()
    with cs.append(path, resume=True) as writer:
        assert writer.num_samples == 5
    check_file(path, {"x": np.arange(5)})


def test_attributes_changed_in_place_are_kept(tmp_path):
    path = tmp_path / "a.zarr.zip"
    given_attributes = {"classes": ["a"], "nested": {"k": [1, 2.5, None, True, "é"]}}
    with cs.create(path, attributes=given_attributes) as writer:
        writer.append(x=[1])
    with cs.append(path) as writer:
        writer.attributes["classes"].append("b")
    with cs.open(path) as store:
        assert store.attributes == {**given_attributes, "classes": ["a", "b"]}
        store.attributes["classes"].append("c")
        assert "c" not in store.attributes
    assert given_attributes["classes"] == ["a"], "the caller's own dict was changed"
