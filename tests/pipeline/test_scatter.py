"""Samples come to the places that the plan says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.pipeline.scatter import place_into, row_view, scatter_into

DTYPES = ["u1", "<i2", "f4", "f8", "c16", "bool", "U3", "S5", "M8[s]"]


@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.sampled_from([(), (1,), (3,), (2, 3)]),
    seed=st.integers(0, 1000),
    as_rows=st.booleans(),
)
def test_scatter_is_indexed_assignment(dtype, shape, seed, as_rows):
    rng = np.random.Generator(np.random.Philox(seed))
    chunk = rng.integers(0, 2, (9, *shape)).astype("i8").astype(dtype)
    samples = np.sort(rng.permutation(9)[: rng.integers(1, 10)])
    dest = rng.permutation(12)[: len(samples)]
    expected, out = np.zeros((12, *shape), dtype), np.zeros((12, *shape), dtype)
    expected[dest] = chunk[samples]
    if as_rows:
        scatter_into(row_view(chunk), samples, dest, row_view(out))
    else:
        scatter_into(chunk, samples, dest, out)
    assert np.array_equal(out, expected)


def test_consecutive_places_are_one_block():
    chunk, out = np.arange(12).reshape(6, 2), np.zeros((9, 2), np.int64)
    scatter_into(chunk, np.arange(2, 5), np.arange(4, 7), out, is_consecutive=True)
    assert out[:, 0].tolist() == [0, 0, 0, 0, 4, 6, 8, 0, 0]


def test_values_are_converted_to_the_windows_type():
    out = np.zeros(4, np.float32)
    scatter_into(np.array([7, 9], np.uint8), np.array([0, 1]), np.array([3, 0]), out)
    assert out.tolist() == [9, 0, 0, 7]


@pytest.mark.parametrize("shape", [(5, 3), (0, 4), (5,)], ids=str)
def test_row_view_shares_memory(shape):
    array = np.zeros(shape, np.int32)
    rows = row_view(array)
    assert rows.shape == shape[:1]
    assert rows.base is not None
    assert rows.dtype.itemsize == array.itemsize * int(np.prod(shape[1:]))


@given(
    nbytes=st.sampled_from([1, 3, 4, 12, 16, 64, 600]),
    source=st.sampled_from(["u1", "<i2"]),
    step=st.sampled_from([1, -1, 2]),
    seed=st.integers(0, 1000),
)
def test_samples_of_any_size_type_and_layout_come_to_their_places(nbytes, source, step, seed):
    rng = np.random.Generator(np.random.Philox(seed))
    samples = rng.integers(0, 200, (14, nbytes)).astype(source)[::step]
    dest = rng.permutation(20)[: len(samples)]
    expected, out = np.zeros((20, nbytes), np.uint8), np.zeros((20, nbytes), np.uint8)
    expected[dest] = samples
    place_into(samples, dest, out, is_consecutive=False)
    assert np.array_equal(out, expected)


def test_conversion_goes_on_beyond_a_slab():
    samples = np.arange(70_000, dtype=np.int64).reshape(-1, 1)
    out = np.zeros((70_000, 1), np.float64)
    place_into(samples, np.arange(70_000)[::-1], out, is_consecutive=False)
    assert np.array_equal(out[::-1], samples)


def test_samples_of_no_bytes_have_no_places():
    out = np.zeros((4, 0), np.float32)
    place_into(np.zeros((2, 0), np.float64), np.array([3, 1]), out, is_consecutive=False)
    assert out.shape == (4, 0)


@pytest.mark.parametrize("sample_shape", [(4,), (16,)], ids=["indexed", "put"])
def test_a_place_outside_the_window_is_refused(sample_shape):
    out = np.zeros((4, *sample_shape), np.float32)
    with pytest.raises(IndexError, match="4 is out of bounds"):
        place_into(np.ones_like(out[:2]), np.array([0, 4]), out, is_consecutive=False)
