"""Do as many threads encode as the declared memory has room for?"""

from __future__ import annotations

import threading

import numpy as np
import pytest

import chunkstore as cs
from chunkstore import system
from chunkstore.rewriting.encoding import ALLOWANCE_NBYTES, EncodingCost

MIB = 1 << 20


def cost_of(chunk_nbytes, *, num_arrays=1):
    spec = cs.ArraySpec("u1", (chunk_nbytes,), chunk_length=1)
    specs = {f"x{i}": spec for i in range(num_arrays)}
    return EncodingCost(specs, block_nbytes=MIB, chunk_nbytes=None)


@pytest.mark.parametrize("memory", [64 * MIB, 512 * MIB, 4096 * MIB])
@pytest.mark.parametrize("chunk_nbytes", [MIB // 4, MIB, 4 * MIB])
def test_what_is_held_fits_in_a_share_and_one_more_thread_would_not(
    monkeypatch, memory, chunk_nbytes
):
    monkeypatch.setattr(type(system.calls), "available_cores", lambda _: 10**6)
    cost = cost_of(chunk_nbytes)
    threads = cost.threads(memory)
    share = memory // 4 + ALLOWANCE_NBYTES
    assert cost.nbytes(threads) <= share
    assert threads == 32 or cost.nbytes(threads + 1) > share


@pytest.mark.parametrize(("level", "most"), [(1, 4), (7, 2), (9, 1)])
def test_fewer_threads_encode_where_the_codec_itself_needs_memory(monkeypatch, level, most):
    monkeypatch.setattr(type(system.calls), "available_cores", lambda _: 4)
    spec = cs.ArraySpec("u1", (MIB,), chunk_length=1, codec="zstd", level=level)
    cost = EncodingCost({"x": spec}, block_nbytes=MIB, chunk_nbytes=None)
    assert cost.threads(128 * MIB) == most


def test_one_thread_encodes_however_large_the_chunks_are():
    cost = cost_of(64 * MIB)
    assert cost.threads(64 * MIB) == 1
    assert not cost.fits(64 * MIB)


def test_each_array_has_a_chunk_that_is_begun():
    assert cost_of(MIB, num_arrays=9).nbytes(1) - cost_of(MIB).nbytes(1) == 8 * MIB


def test_a_limited_writer_encodes_in_so_many_threads_and_writes_the_same_bytes(tmp_path):
    x = np.arange(100_000).reshape(-1, 10)
    for name, threads in (("a", None), ("b", 1)):
        with cs.create(tmp_path / f"{name}.zarr.zip", chunk_nbytes=4096) as writer:
            if threads is not None:
                writer.limit_threads(threads)
            writer.append(x=x)
            names = [t.name for t in threading.enumerate()]
            if threads is not None:
                assert sum(name.startswith("chunkstore-encode") for name in names) == threads
                with pytest.raises(ValueError, match="said before the first chunk"):
                    writer.limit_threads(1)
    assert (tmp_path / "a.zarr.zip").read_bytes() == (tmp_path / "b.zarr.zip").read_bytes()
