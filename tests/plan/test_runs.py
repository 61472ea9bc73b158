"""Runs of neighbouring chunks stay together in the order, and are read one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.pipeline.loader import Loader
from chunkstore.plan.epoch import EpochPlan
from tests.pipeline.sources import WatchedSource
from tests.plan.layouts import all_samples, delivered, plan_arguments


def chunk_order(plan):
    """Return the chunks in the order in which they are read."""
    return [int(chunk) for lane in plan.lanes for chunk in lane.chunk]


@given(plan_arguments(shuffle=(True,)), st.integers(1, 6))
def test_every_run_is_whole_and_in_the_order_of_the_file(arguments, run):
    plan = EpochPlan(**arguments | {"lanes": 1, "run": run})
    used = np.flatnonzero(arguments["counts"]).tolist()
    runs = [used[start : start + run] for start in range(0, len(used), run)]
    order = chunk_order(plan)
    found = []
    while order:
        (match,) = [part for part in runs if part[0] == order[0]]
        assert order[: len(match)] == match
        found.append(match)
        order = order[len(match) :]
    assert sorted(found) == runs


@given(plan_arguments(last=("keep", "pad")))
def test_every_sample_is_delivered_exactly_once_with_runs(arguments):
    assert sorted(delivered(EpochPlan(**arguments))) == all_samples(arguments["counts"])


def test_one_literal_order():
    plan = EpochPlan([1] * 10, seed=5, epoch=1, batch_size=3, window=4, run=3)
    assert chunk_order(plan) == [3, 4, 5, 0, 1, 2, 9, 6, 7, 8]


def test_a_run_of_one_chunk_is_the_order_without_runs():
    options = {"seed": 5, "epoch": 1, "batch_size": 3, "window": 4}
    plain, runs = EpochPlan([4] * 30, **options), EpochPlan([4] * 30, run=1, **options)
    assert delivered(plain) == delivered(runs)


def test_runs_differ_from_epoch_to_epoch_and_seed_to_seed():
    orders = {
        tuple(chunk_order(EpochPlan([1] * 40, seed=s, epoch=e, batch_size=1, window=8, run=4)))
        for s in range(4)
        for e in range(4)
    }
    assert len(orders) == 16


def test_a_run_of_no_chunk_is_refused():
    with pytest.raises(ValueError, match="run must be at least 1 chunk, got 0"):
        EpochPlan([1], seed=0, epoch=0, batch_size=1, window=1, run=0)


def count_jumps(values, run):
    """Return how often a loader reads a chunk that does not follow on the one before."""
    reads = []
    source = WatchedSource("x", values, chunk_length=5, before=reads.append)
    options = {"batch_size": 7, "window": 1, "threads": 1, "memory": 600}
    with Loader({"x": source}, "x", run=run, **options) as loader:
        assert loader.run == run
        assert sorted(np.concatenate(list(loader)).tolist()) == values.tolist()
    assert len(reads) == 120
    return np.count_nonzero(np.diff(reads) != 1)


def test_a_loader_reads_the_chunks_of_a_run_one_after_the_other():
    values = np.arange(600)
    # 120 chunks in 20 runs, of which some follow on each other by chance.
    assert 10 <= count_jumps(values, 6) <= 25
    assert count_jumps(values, 1) > 80


def test_a_state_of_other_runs_is_refused():
    arrays = {"x": np.arange(600)}
    with (
        Loader(arrays, "x", batch_size=7, run=6) as loader,
        Loader(arrays, "x", batch_size=7) as b,
        pytest.raises(ValueError, match="the state has run=6, this loader run=1"),
    ):
        b.load_state_dict(loader.state_dict())
    with (
        Loader(arrays, "x", batch_size=7, run=6, shuffle=False) as loader,
        Loader(arrays, "x", batch_size=7, shuffle=False, memory="1MiB") as b,
    ):
        # In the order of the file neither runs nor windows are of account.
        b.load_state_dict(loader.state_dict())


def test_a_run_longer_than_the_file_is_the_order_of_the_file():
    plan = EpochPlan([2] * 10, seed=5, epoch=1, batch_size=3, window=4, run=10**12)
    assert chunk_order(plan) == list(range(10))
