"""Does an index on an array of a file give what the same index on a NumPy array gives?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chunkstore as cs
from chunkstore.store import indexing
from tests.store.stores import write


@st.composite
def shapes_and_lengths(draw):
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=7))
    return shape, draw(st.integers(1, 9))


def integer_arrays(length):
    """Sample numbers of one to three axes, possibly none, possibly repeated."""
    if length == 0:
        return st.just(np.zeros(0, np.int64))
    return hnp.arrays(
        st.sampled_from([np.int64, np.int32, np.uint8]),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
        elements=st.integers(0, length - 1),
    ).map(lambda array: array - length if array.dtype.kind == "i" and array.size % 2 else array)


@st.composite
def keys(draw, shape):
    """An index of any kind that NumPy takes or refuses."""
    kind = draw(st.sampled_from(["basic", "list", "mask", "advanced", "wild"]))
    if kind == "basic":
        return draw(hnp.basic_indices(shape, allow_ellipsis=True, allow_newaxis=True))
    if kind == "list":
        numbers = draw(integer_arrays(shape[0]).filter(lambda a: a.ndim == 1))
        rest = draw(hnp.basic_indices(shape[1:], allow_newaxis=True)) if len(shape) > 1 else ()
        rest = rest if isinstance(rest, tuple) else (rest,)
        return (numbers.tolist(), *rest)
    if kind == "mask":
        axes = draw(st.integers(1, len(shape)))
        start = draw(st.integers(0, len(shape) - axes))
        mask = draw(hnp.arrays(bool, shape[start : start + axes]))
        front = (slice(None),) * start if draw(st.booleans()) or start == 0 else None
        if front is None:
            return (..., mask, *(slice(None),) * (len(shape) - start - axes))
        return (*front, mask)
    if kind == "advanced":
        wanted = draw(st.integers(0, 3))
        parts = []
        for length in shape:
            part = draw(
                st.one_of(
                    st.slices(length),
                    integer_arrays(length),
                    st.just(slice(None)),
                    *([st.integers(-length, length - 1)] if length else []),
                )
            )
            parts.append(part)
        for _ in range(wanted % 2):
            parts.insert(draw(st.integers(0, len(parts))), None)
        return tuple(parts)
    return draw(
        st.one_of(
            st.integers(-12, 12),
            st.lists(st.integers(-9, 9), max_size=5),
            hnp.arrays(bool, hnp.array_shapes(max_dims=3, max_side=8)),
            st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
            st.tuples(st.slices(9), st.lists(st.integers(-9, 9), max_size=3), st.integers(-5, 5)),
            st.sampled_from([(..., ...), 1.0, "a", [1.5], (0,) * 6, (..., 0, 0, 0, 0, 0)]),
        )
    )


def outcome(function, key):
    """Return what an index gives: a value, or that it is refused."""
    try:
        return function(key), None
    except IndexError as error:
        return None, error


def same(got, expected):
    if type(got) is not type(expected) and not isinstance(expected, np.ndarray):
        return False
    got, expected = np.asarray(got), np.asarray(expected)
    return (
        got.shape == expected.shape
        and got.dtype == expected.dtype
        and got.tobytes() == expected.tobytes()
    )


def check_index(array, x, key):
    """The law: the same value, type and shape, or an IndexError from both."""
    expected, refusal = outcome(x.__getitem__, key)
    got, ours = outcome(array.__getitem__, key)
    if refusal is not None:
        assert ours is not None, f"{key!r}: NumPy refuses ({refusal}), we gave {got!r}"
    else:
        assert ours is None, f"{key!r}: NumPy gives {expected!r}, we refuse: {ours}"
        assert same(got, expected), f"{key!r}: {got!r} is not {expected!r}"


@given(data=st.data())
def test_every_index_gives_what_numpy_gives(data, tmp_path_factory):
    shape, chunk_length = data.draw(shapes_and_lengths())
    x = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    path = write(
        tmp_path_factory.mktemp("index") / "a.zarr.zip", {"x": x}, chunk_length=chunk_length
    )
    with cs.open(path) as store:
        for key in data.draw(st.lists(keys(shape), min_size=8, max_size=8)):
            check_index(store["x"], x, key)


KEYS = {
    "all": (...,),
    "nothing": (),
    "one": 3,
    "last": -1,
    "numpy integer": np.int16(4),
    "array of no axes": np.array(4),
    "slice": slice(2, 9),
    "steps": slice(1, 20, 3),
    "backwards": slice(None, None, -1),
    "backwards with steps": slice(18, 2, -4),
    "empty slice": slice(7, 3),
    "beyond the end": slice(15, 99),
    "list": [5, 1, 5, -1],
    "empty list": [],
    "range": range(2, 8),
    "array of two axes": np.array([[3, 1], [0, 19]]),
    "unsigned": np.array([3, 1], np.uint8),
    "tuple inside": ((3, 1), 0),
    "list of masks": [i % 3 == 0 for i in range(20)],
    "mask": np.arange(20) % 3 == 0,
    "mask of two axes": np.arange(80).reshape(20, 4) % 3 == 0,
    "mask of all axes": np.arange(240).reshape(20, 4, 3) % 7 == 0,
    "mask behind": (slice(None), np.array([True, False, True, False])),
    "mask behind an ellipsis": (..., np.array([True, False, True])),
    "mask of two axes behind": (slice(4, 9), np.arange(12).reshape(4, 3) % 5 == 0),
    "mask and list": (np.arange(20) < 3, [0, 1, 2]),
    "empty mask": np.zeros(20, bool),
    "new axis": (None, 3),
    "new axis behind": (slice(2, 4), None, 1),
    "new axis at the end": (..., None),
    "integer and slice": (slice(None), 2, slice(None, None, -1)),
    "list and integer": ([1, 2], 3),
    "list, slice, integer": ([1, 2], slice(None), 2),
    "integer, slice, list": (7, slice(None), [0, 2]),
    "two lists": ([1, 2, 3], [0, 1, 2]),
    "lists that broadcast": (np.array([[1], [2]]), np.array([0, 3])),
    "list behind": (slice(None, None, 2), [3, 0]),
    "lists apart": ([1, 2], slice(None), [0, 1]),
    "ellipsis between": (3, ..., 1),
}


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    x = np.arange(240, dtype=np.int64).reshape(20, 4, 3)
    path = write(tmp_path_factory.mktemp("cube") / "a.zarr.zip", {"x": x}, chunk_length=6)
    return path, x


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_an_index_gives_what_numpy_gives(key, cube):
    path, x = cube
    with cs.open(path) as store:
        got = store["x"][key]
    assert same(got, x[key])


BAD_KEYS = {
    "beyond": (20, r"array 'x': sample 20 is out of bounds, allowed is \[-20, 20\)"),
    "below": (-21, r"sample -21 is out of bounds"),
    "in a list": ([3, 25], r"sample 25 is out of bounds"),
    "behind": ((0, 4), r"array 'x': .*out of bounds"),
    "behind, list": (([0], [4]), r"out of bounds"),
    "too many": ((0, 0, 0, 0), r"array 'x' has 3 axes \(shape \(20, 4, 3\)\), but 4 were indexed"),
    "short mask": (np.ones(19, bool), r"mask of shape \(19,\) does not fit axes of shape \(20,\)"),
    "long mask": (np.ones(21, bool), r"mask of shape \(21,\)"),
    "short mask behind": ((..., np.ones(2, bool)), r"mask of shape \(2,\)"),
    "mask of two axes": (np.ones((20, 5), bool), r"mask of shape \(20, 5\)"),
    "ellipsis twice": ((..., 0, ...), r"single ellipsis"),
    "number": (1.5, r"an index is made of integers, .*got float"),
    "text": ("x", r"got str"),
    "list of numbers": ([1.0, 2.0], r"dtype float64"),
    "lists that do not broadcast": (([1, 2], [0, 1, 2]), r"broadcast"),
}


@pytest.mark.parametrize(("key", "message"), BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_bad_index_is_an_index_error_that_says_what_is_allowed(key, message, cube):
    path, x = cube
    with pytest.raises(IndexError):
        x[key]
    with cs.open(path) as store, pytest.raises(IndexError, match=message):
        store["x"][key]


@pytest.mark.parametrize("key", [True, np.False_, np.array(True)], ids=repr)
def test_a_single_truth_value_is_refused_though_numpy_adds_an_axis(key, cube):
    path, _ = cube
    with cs.open(path) as store, pytest.raises(IndexError, match="a single True or False"):
        store["x"][key]


def test_a_step_that_is_wrong_would_be_noticed(cube, monkeypatch):
    path, x = cube
    right = indexing._slice_samples

    def one_less(part, length):
        samples = right(part, length)
        return samples if isinstance(samples, slice) else samples[:-1]

    monkeypatch.setattr(indexing, "_slice_samples", one_less)
    with cs.open(path) as store, pytest.raises(AssertionError, match="is not"):
        check_index(store["x"], x, slice(None, None, 3))


@pytest.mark.parametrize(
    ("key", "chunks"),
    [
        pytest.param(slice(None), 4, id="all"),
        pytest.param(5, 1, id="one"),
        pytest.param(slice(5, 7), 2, id="across"),
        pytest.param([19, 0, 18, 1, 0, 5], 2, id="unsorted"),
        pytest.param(slice(None, None, -1), 4, id="backwards"),
        pytest.param(slice(0, 20, 12), 2, id="steps over chunks"),
        pytest.param(np.array([[0, 13], [1, 14]]), 2, id="two axes"),
        pytest.param(([0, 13, 1, 14], [0, 1, 2, 3]), 2, id="two lists"),
        pytest.param(np.arange(20) == 9, 1, id="mask"),
        pytest.param([], 0, id="none"),
        pytest.param((slice(None), slice(2, 2)), 0, id="nothing of each"),
    ],
)
def test_an_index_reads_each_chunk_that_it_touches_once(key, chunks, cube, monkeypatch):
    path, x = cube
    reads = []
    with cs.open(path) as store:
        codecs = store["x"]._metadata.codecs
        decode_into = type(codecs).decode_into

        def counted(self, encoded, out):
            reads.append(len(encoded))
            decode_into(self, encoded, out)

        monkeypatch.setattr(type(codecs), "decode_into", counted)
        assert same(store["x"][key], x[key])
    # Chunks of 6 samples: 0-5, 6-11, 12-17, 18-19.
    assert len(reads) == chunks


def test_what_an_index_returns_belongs_to_the_caller(cube):
    path, x = cube
    with cs.open(path) as store:
        for key in (slice(2, 4), [1, 2], 3, slice(0, 6), (slice(0, 12), 1)):
            got = store["x"][key]
            assert got.flags.writeable
            got[...] = -1
            assert same(store["x"][key], x[key])
