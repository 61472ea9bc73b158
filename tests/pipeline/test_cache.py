"""Chunks that several units need are decoded once while the memory lasts."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from chunkstore.pipeline.cache import ChunkCache


def reader(decoded):
    def decode_into(chunk_index, out):
        decoded.append(chunk_index)
        out[:] = chunk_index

    return decode_into


def take(cache, chunk_index, decoded, array_index=0):
    return cache.chunk(
        array_index,
        chunk_index,
        shape=(10,),
        dtype=np.dtype(np.int8),
        decode_into=reader(decoded),
    )


def test_a_kept_chunk_is_not_decoded_again():
    cache, decoded = ChunkCache(100), []
    assert [take(cache, i, decoded)[0] for i in (3, 4, 3, 4)] == [3, 4, 3, 4]
    assert decoded == [3, 4]
    assert cache.kept_nbytes == 20


def test_the_least_recently_used_chunk_goes_first():
    cache, decoded = ChunkCache(20), []
    for i in (1, 2, 1, 3, 1, 2):
        take(cache, i, decoded)
    assert decoded == [1, 2, 3, 2]
    assert cache.kept_nbytes == 20


def test_the_last_chunk_is_kept_even_without_memory():
    cache, decoded = ChunkCache(0), []
    for i in (1, 1, 2, 1):
        take(cache, i, decoded)
    assert decoded == [1, 2, 1]


def test_arrays_do_not_share_chunks():
    cache, decoded = ChunkCache(100), []
    take(cache, 1, decoded, array_index=0)
    take(cache, 1, decoded, array_index=1)
    assert decoded == [1, 1]


def test_two_threads_decode_a_chunk_once():
    cache, decoded, started = ChunkCache(100), [], threading.Event()

    def slow_decode(chunk_index, out):
        started.wait()
        decoded.append(chunk_index)
        out[:] = 7

    results = []
    threads = [
        threading.Thread(
            target=lambda: results.append(
                cache.chunk(0, 5, shape=(2,), dtype=np.dtype(np.int8), decode_into=slow_decode)
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    started.set()
    for thread in threads:
        thread.join()
    assert decoded == [5]
    assert all(chunk.tolist() == [7, 7] for chunk in results)


def test_a_failed_decode_is_tried_again():
    cache, decoded = ChunkCache(100), []

    def fail(chunk_index, out):
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        cache.chunk(0, 1, shape=(10,), dtype=np.dtype(np.int8), decode_into=fail)
    assert take(cache, 1, decoded)[0] == 1
    assert cache.kept_nbytes == 10


def test_clear_gives_everything_up():
    cache, decoded = ChunkCache(100), []
    take(cache, 1, decoded)
    cache.clear()
    assert cache.kept_nbytes == 0
    take(cache, 1, decoded)
    assert decoded == [1, 1]
