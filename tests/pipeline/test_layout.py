"""What is loaded together must fit together."""

from __future__ import annotations

import numpy as np
import pytest

from chunkstore.pipeline.layout import plan_layout
from chunkstore.pipeline.memory import MemorySource
from chunkstore.pipeline.structure import Structure


def plan(arrays, names=None, **kwargs):
    return plan_layout(arrays, Structure(names, arrays), **kwargs)


def source(name, shape, dtype, chunk_length):
    return MemorySource(name, np.zeros(shape, dtype), chunk_length=chunk_length)


def test_the_unit_is_a_chunk_of_the_widest_array():
    arrays = {
        "y": source("y", (100,), "i4", 64),
        "x": source("x", (100, 50), "u1", 8),
        "z": source("z", (100, 2), "f4", 4),
    }
    layout = plan(arrays)
    assert layout.unit_length == 8
    assert layout.num_units == 13
    assert layout.unit_counts().tolist() == [8] * 12 + [4]
    assert [array.is_unit for array in layout.arrays] == [False, True, False]
    assert layout.unit_nbytes == 8 * (4 + 50 + 8)


def test_equally_wide_arrays_take_the_shortest_chunk_whatever_their_order():
    arrays = {"a": source("a", (10,), "i4", 4), "b": source("b", (10,), "f4", 2)}
    assert plan(arrays, ("a", "b")).unit_length == plan(arrays, ("b", "a")).unit_length == 2


def test_numpy_arrays_are_cut_like_the_stored_ones_beside_them():
    layout = plan({"x": source("x", (10, 9), "f4", 3), "m": np.zeros((10, 1000))})
    assert [array.source.chunk_length for array in layout.arrays] == [3, 3]


def test_numpy_arrays_alone_make_units_of_a_mebibyte():
    layout = plan({"x": np.zeros((5000, 1000), np.uint8), "y": np.zeros(5000, np.int64)})
    assert layout.unit_length == (1 << 20) // 1008


def test_the_index_counts_in_a_unit():
    arrays = {"x": source("x", (10, 5), "u1", 2)}
    assert plan(arrays, ("x", "@index")).unit_nbytes == 2 * (5 + 8)


@pytest.mark.parametrize(
    ("arrays", "error", "text"),
    [
        ({"x": np.zeros((5, 2)), "y": np.zeros(6)}, ValueError, "'x' has 5, 'y' has 6"),
        ({"x": np.array(3.0)}, ValueError, r"array 'x' has shape \(\): it has no sample axis"),
        ({"x": [1, 2, 3]}, TypeError, "array 'x' must be an array .*; got list"),
        ({"x": np.array([None])}, TypeError, "array 'x' holds Python objects"),
    ],
    ids=["lengths", "scalar", "list", "objects"],
)
def test_what_does_not_fit_is_named(arrays, error, text):
    with pytest.raises(error, match=text):
        plan(arrays)


def test_dtypes_may_be_given_for_all_or_by_name():
    arrays = {"x": np.zeros((4, 2), np.uint8), "y": np.zeros(4, np.int64)}
    assert [array.dtype for array in plan(arrays, dtype="f4").arrays] == ["f4", "f4"]
    layout = plan(arrays, dtype={"y": "i2"})
    assert [array.dtype for array in layout.arrays] == ["u1", "i2"]
    assert [array.is_moved for array in layout.arrays] == [True, False]


def test_wrong_dtypes_are_named():
    arrays = {"x": np.zeros(4, np.float32)}
    with pytest.raises(
        TypeError, match="array 'x' is stored as float32, which cannot become int32"
    ):
        plan(arrays, dtype="i4")
    with pytest.raises(KeyError, match="dtype names 'label', but only x are loaded"):
        plan(arrays, dtype={"label": "f4"})


def test_the_fingerprint_tells_other_data_and_another_cut():
    def fingerprint(array, chunk_length):
        sources = {"x": MemorySource("x", array, chunk_length=chunk_length)}
        return plan(sources).fingerprint

    array = np.arange(100)
    assert fingerprint(array, 10) == fingerprint(array.copy(), 10)
    others = {fingerprint(array + 1, 10), fingerprint(array, 11), fingerprint(array[:99], 10)}
    assert len(others | {fingerprint(array, 10)}) == 4
