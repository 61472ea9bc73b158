"""Batches belong to the consumer, and memory stays bounded."""

from __future__ import annotations

import contextlib
import gc
import itertools
import time
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.pipeline import pool
from chunkstore.pipeline.loader import Loader
from chunkstore.pipeline.memory import MemorySource
from tests.pipeline.sources import WatchedSource, images, loader_cases


def wide_source(num_samples=600, chunk_length=5, sample_nbytes=1024, **kwargs):
    """Samples large enough that blocks and copied batches are lent memory."""
    array = images(num_samples, shape=(sample_nbytes,))
    return WatchedSource("x", array, chunk_length=chunk_length, **kwargs), array


def make(source, **arguments):
    return Loader(
        {"x": source},
        ("x", "@index"),
        **{"batch_size": 16, "window": 30, "memory": 1 << 20, "threads": 2} | arguments,
    )


@contextlib.contextmanager
def collector_is_off():
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def leased(loader):
    return [pool.num_leased for pool in loader._feed.pools]


def blocks(loader):
    return [pool.num_blocks for pool in loader._feed.pools]


@given(loader_cases(max_samples=150), st.data())
def test_kept_batches_never_change_and_do_not_overlap(case, data):
    sources, arrays, arguments = case
    keep = data.draw(st.integers(1, 50))
    kept = deque(maxlen=keep)
    with Loader(sources, ("x", "y", "@index"), **arguments) as loader:
        for _ in range(2):
            for batch in loader:
                kept.append((batch, [array.copy() for array in batch]))
                for old, copies in kept:
                    assert all(map(np.array_equal, old, copies))
        loader.close()
    for (old, _), (new, _) in itertools.combinations(list(kept)[-6:], 2):
        assert not any(np.shares_memory(a, b) for a in old for b in new)
    for batch, copies in kept:
        # Writing to one changes neither another nor the source.
        for array in batch:
            array[...] = 0
        assert np.array_equal(copies[0], arrays["x"][copies[2]])


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("shuffle", [True, False])
def test_blocks_are_used_again(lanes, shuffle):
    source, array = wide_source()
    with make(source, lanes=lanes, shuffle=shuffle, memory=1 << 19, window=20) as loader:
        limit = loader._setup.budget.num_blocks * lanes
        for _ in range(3):
            for x, index in loader:
                assert np.array_equal(x, array[index])
                assert max(leased(loader)) <= limit
            assert max(blocks(loader)) <= limit
        del x, index


def test_a_consumer_that_keeps_everything_is_not_waited_for():
    source, array = wide_source(num_samples=2000)
    with make(source) as loader:
        batches = list(loader)
        assert max(leased(loader)) > loader._setup.budget.num_blocks
        assert all(np.array_equal(x, array[index]) for x, index in batches)
        batches.clear()
        # What was added returns to the system with the next use.
        for _ in loader:
            pass
        assert max(blocks(loader)) <= loader._setup.budget.num_blocks + 1


def test_batches_held_like_a_framework_does_take_no_more_blocks():
    source, _ = wide_source(num_samples=3000)
    with make(source, batch_size=2, window=50) as loader:
        held = deque(maxlen=3)
        for batch in loader:
            held.append(batch)
            assert max(leased(loader)) <= loader._setup.budget.num_blocks
        del batch
        held.clear()


def test_a_batch_that_is_kept_costs_one_block_once(monkeypatch):
    source, _ = wide_source(num_samples=6000)
    made = []
    make_block = pool._make_block
    monkeypatch.setattr(pool, "_make_block", lambda size: made.append(size) or make_block(size))
    with make(source, window=20) as loader:
        deque(loader, maxlen=0)
        kept = list(itertools.islice(loader, 5))[2]
        for _ in range(8):
            deque(loader, maxlen=0)
        # The usual ones, one for the kept batch, and one while an epoch begins.
        assert len(made) <= loader._setup.budget.num_blocks + 2
        del kept
        for _ in range(2):
            deque(loader, maxlen=0)
        assert max(blocks(loader)) <= loader._setup.budget.num_blocks


def test_epochs_that_are_given_up_leave_no_memory_behind():
    source, _ = wide_source(num_samples=3000)
    with make(source, window=20) as loader, collector_is_off():
        for _ in range(12):
            # What was read ahead of the next epoch is of no use.
            loader.set_epoch(0)
            deque(loader, maxlen=0)
            assert max(blocks(loader)) <= loader._setup.budget.num_blocks
        iterators = []
        for _ in range(6):
            iterators.append(iter(loader))
            next(iterators[-1])
            assert max(blocks(loader)) <= loader._setup.budget.num_blocks
        loader.close()
        assert max(leased(loader)) == 0
        for iterator in iterators:
            with pytest.raises(RuntimeError):
                next(iterator)


def test_only_the_kept_array_keeps_its_memory():
    array = images(400, shape=(512,))
    sources = {
        "x": MemorySource("x", array, chunk_length=5),
        "y": MemorySource("y", array[:, :300].copy(), chunk_length=5),
    }
    with Loader(sources, ("x", "y"), batch_size=8, window=20, memory=1 << 20) as loader:
        kept = [y for _, y in loader]
        x_leased, y_leased = leased(loader)
        assert x_leased == 0
        assert y_leased > 0
        assert len(kept) == len(loader)


def test_batches_survive_the_loader():
    source, array = wide_source()
    loader = make(source)
    kept = list(loader)
    loader.close()
    del loader
    assert all(np.array_equal(x, array[index]) for x, index in kept)


def test_batches_are_writable_and_contiguous():
    source, _ = wide_source()
    with make(source) as loader:
        for x, index in loader:
            assert x.flags.writeable
            assert x.flags.c_contiguous
            assert index.flags.writeable


@given(loader_cases(max_samples=200))
def test_each_chunk_is_decoded_once_for_each_lane_that_holds_it(case):
    sources, arrays, arguments = case
    arguments["last"] = "keep"
    source = WatchedSource("x", arrays["x"], chunk_length=sources["x"].chunk_length)
    with Loader({"x": source}, "x", **arguments) as loader:
        assert len(list(loader)) == len(loader)
    assert set(source.reads) == set(range(source.num_chunks))
    extra = sum(source.reads.values()) - source.num_chunks
    assert extra <= arguments["lanes"] - 1
    assert source.num_open == 0


def test_long_chunks_of_labels_are_decoded_once_while_they_fit():
    labels = WatchedSource("y", np.arange(2000), chunk_length=640)
    sources = {"x": MemorySource("x", images(2000, shape=(64,)), chunk_length=10), "y": labels}
    with Loader(sources, ("x", "y"), batch_size=32, window=20, memory="1MiB") as loader:
        assert sorted(np.concatenate([y for _, y in loader]).tolist()) == list(range(2000))
    assert labels.reads == {0: 1, 1: 1, 2: 1, 3: 1}


def test_long_chunks_that_do_not_fit_are_decoded_once_a_block_at_most():
    labels = WatchedSource("y", np.arange(20_000), chunk_length=640)
    x = MemorySource("x", images(20_000, shape=(64,)), chunk_length=10)
    arguments = {"batch_size": 32, "memory": 200_000, "threads": 1}
    with Loader({"x": x, "y": labels}, ("x", "y"), **arguments) as loader:
        loader._feed._cache.nbytes = 0
        assert sorted(np.concatenate([y for _, y in loader]).tolist()) == list(range(20_000))
        num_blocks = -(-2000 // loader._setup.budget.block_units)
    assert max(labels.reads.values()) <= num_blocks + 1


def test_the_next_epoch_is_read_ahead_from_the_second_on():
    source, _ = wide_source(num_samples=100, chunk_length=5)
    with make(source, window=4, memory=75_000) as loader:
        for _ in loader:
            pass
        assert sum(source.reads.values()) == 20
        for _ in loader:
            pass
        fill = loader._feed._fill
        assert fill.follower.plan.epoch == 2
        batches = [index for _, index in loader]
        assert np.concatenate(batches).tolist() == loader.order(2).tolist()
        assert loader._feed._fill is fill.follower
    assert max(source.reads.values()) <= 4


def test_stats_count_what_was_read_and_delivered():
    source, array = wide_source(num_samples=100)
    with make(source) as loader:
        for _ in loader:
            pass
        stats = loader.stats()
        assert (stats.batches, stats.samples, stats.units) == (7, 100, 20)
        assert stats.read_nbytes == array.nbytes
        assert stats.decode_seconds > 0
        assert stats.scatter_seconds > 0
        assert stats.wait_seconds > 0
        assert stats.fetch_seconds == 0
    assert loader.stats() == stats


def test_stats_tell_a_consumer_that_works_from_one_that_waits():
    source, _ = wide_source(num_samples=100)
    with make(source) as loader:
        for _ in loader:
            time.sleep(0.02)
        stats = loader.stats()
        assert stats.consumer_seconds >= 7 * 0.02
        assert "worked 0.1" in str(stats)
    patient = replace(stats, wait_seconds=0.001, consumer_seconds=1.0)
    assert "hardly waits" in patient.advice
    assert "limit" in replace(patient, wait_seconds=0.5).advice.partition(":")[2]
    assert "hardly waits" not in replace(patient, wait_seconds=0.5).advice
