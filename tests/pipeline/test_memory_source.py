"""A numpy array is read like a stored one."""

from __future__ import annotations

import numpy as np
import pytest

from chunkstore.pipeline.loader import Loader
from chunkstore.pipeline.memory import MemorySource
from chunkstore.pipeline.source import ChunkSource


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "?", "U3"])
def test_chunks_are_the_arrays_values_in_native_order(dtype, order):
    array = np.asarray(np.arange(30).reshape(10, 3) % 2, order=order).astype(dtype)
    source = MemorySource("x", array, chunk_length=4)
    assert isinstance(source, ChunkSource)
    assert source.num_chunks == 3
    assert source.dtype.isnative
    reader = source.open_reader()
    for i in range(3):
        out = np.empty((4, 3), source.dtype)
        reader.read_chunk_into(i, out)
        expected = array[4 * i : 4 * i + 4]
        assert np.array_equal(out[: len(expected)], expected)
    assert reader.read_nbytes == array.nbytes
    reader.close()


def test_an_empty_array_has_no_chunks():
    source = MemorySource("x", np.zeros((0, 3)))
    assert (source.num_chunks, source.shape) == (0, (0, 3))
    assert source.fingerprint


def test_a_small_array_is_one_chunk_of_its_own_length():
    assert MemorySource("x", np.zeros(3)).chunk_length == 3
    assert MemorySource("x", np.zeros(10**6, np.uint8)).chunk_length == 10**6
    assert MemorySource("x", np.zeros((4 << 20,), np.uint8)).chunk_length == 1 << 20
    assert MemorySource("x", np.zeros(0)).chunk_length == 1
    # So a small memory holds it.
    with Loader({"y": np.arange(10)}, "y", batch_size=2, memory="64KiB") as loader:
        assert sorted(np.concatenate(list(loader)).tolist()) == list(range(10))


def test_wrong_lengths_are_refused():
    with pytest.raises(ValueError, match="chunk_length must be at least 1, got 0"):
        MemorySource("x", np.zeros(3), chunk_length=0)
