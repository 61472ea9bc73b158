"""Laws of the order."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.plan.epoch import EpochPlan, count_batches, rank_lanes
from tests.plan.layouts import LANES, all_samples, delivered, plan_arguments


@given(plan_arguments(last=("keep", "pad")))
def test_every_sample_is_delivered_exactly_once(arguments):
    assert sorted(delivered(EpochPlan(**arguments))) == all_samples(arguments["counts"])


@given(plan_arguments(last=("drop",)))
def test_drop_leaves_out_less_than_a_batch_and_a_sample_per_lane(arguments):
    plan = EpochPlan(**arguments)
    samples = delivered(plan)
    assert len(set(samples)) == len(samples) == plan.num_batches * plan.batch_size
    assert sum(arguments["counts"]) - len(samples) < plan.batch_size + len(plan.lanes)


def test_drop_leaves_out_other_samples_each_epoch():
    missing = Counter()
    for epoch in range(60):
        plan = EpochPlan([5, 7, 6], seed=0, epoch=epoch, batch_size=4, window=2, last="drop")
        missing.update(set(all_samples([5, 7, 6])) - set(delivered(plan)))
    assert len(missing) == 18
    assert max(missing.values()) < 20


@given(plan_arguments(last=("pad", "drop")))
def test_padded_and_dropped_epochs_have_only_full_batches(arguments):
    plan = EpochPlan(**arguments)
    batches = list(plan.batches())
    assert len(batches) == plan.num_batches
    assert all(batch.samples.shape == (plan.batch_size, 2) for batch in batches)
    assert all((b.samples[:, 1] < plan.counts[b.samples[:, 0]]).all() for b in batches)


@given(plan_arguments(last=("pad",)))
def test_padding_repeats_the_start_of_the_lane(arguments):
    plan = EpochPlan(**arguments)
    for number, lane in enumerate(plan.lanes):
        samples = plan.lane_samples(number, 0, plan.lane_length(number))
        if lane.num_samples:
            padding = samples[lane.num_samples :]
            head = np.arange(len(padding)) % lane.num_samples
            assert np.array_equal(padding, samples[head])


@given(plan_arguments())
def test_the_number_of_batches_is_known_without_a_plan(arguments):
    plan = EpochPlan(**arguments)
    known = count_batches(
        sum(arguments["counts"]),
        batch_size=arguments["batch_size"],
        lanes=arguments["lanes"],
        last=arguments["last"],
    )
    assert known == plan.num_batches == len(list(plan.batches()))


@given(plan_arguments(), st.data())
def test_resuming_at_any_step_continues_the_same_epoch(arguments, data):
    whole = list(EpochPlan(**arguments).batches())
    step = data.draw(st.integers(0, len(whole)))
    rest = list(EpochPlan(**arguments).batches(step=step))
    assert [batch.step for batch in rest] == list(range(step, len(whole)))
    for expected, batch in zip(whole[step:], rest, strict=True):
        assert np.array_equal(expected.samples, batch.samples)
        assert np.array_equal(expected.valid, batch.valid)


@given(plan_arguments())
def test_ranks_together_deliver_the_global_batch_for_every_world_size(arguments):
    plan = EpochPlan(**arguments)
    whole = [batch.samples for batch in plan.batches()]
    for world_size in (w for w in LANES if len(plan.lanes) % w == 0):
        ranks = [
            [batch.samples for batch in plan.batches(rank=rank, world_size=world_size)]
            for rank in range(world_size)
        ]
        assert {len(rank) for rank in ranks} == {plan.num_batches}
        for i, batch in enumerate(whole):
            assert np.array_equal(np.concatenate([rank[i] for rank in ranks]), batch)


@given(plan_arguments())
def test_windows_are_even_and_not_larger_than_asked(arguments):
    for lane in EpochPlan(**arguments).lanes:
        if lane.num_samples:
            pieces = np.diff(lane.piece_bounds)
            assert pieces.max() <= arguments["window"]
            assert pieces.max() - pieces.min() <= 1


@given(plan_arguments())
def test_tasks_of_a_window_fill_it_and_touch_no_place_twice(arguments):
    plan = EpochPlan(**arguments)
    for lane in range(len(plan.lanes)):
        bounds = plan.window_bounds(lane)
        for w in range(len(bounds) - 1):
            tasks = plan.window(lane, w)
            dest = np.concatenate([task.dest for task in tasks])
            assert np.array_equal(np.sort(dest), np.arange(bounds[w + 1] - bounds[w]))
            assert all((np.diff(task.samples) > 0).all() for task in tasks)
            assert arguments["shuffle"] or np.array_equal(dest, np.arange(len(dest)))


@given(plan_arguments(last=("keep", "drop")))
def test_a_chunk_is_read_once_and_an_empty_one_never(arguments):
    plan = EpochPlan(**arguments)
    for lane in range(len(plan.lanes)):
        reads = Counter(
            task.chunk
            for w in range(len(plan.window_bounds(lane)) - 1)
            for task in plan.window(lane, w)
        )
        assert all(count == 1 and plan.counts[chunk] for chunk, count in reads.items())


@given(plan_arguments())
def test_a_lane_shares_at_most_its_first_and_last_chunk(arguments):
    plan = EpochPlan(**arguments)
    for lane in plan.lanes:
        whole = lane.stop - lane.start == plan.counts[lane.chunk]
        assert whole[1:-1].all()


@given(plan_arguments(shuffle=(False,), last=("keep",)))
def test_without_shuffle_each_lane_reads_the_file_in_order(arguments):
    plan = EpochPlan(**arguments)
    lanes = [plan.lane_samples(i, 0, plan.num_samples) for i in range(len(plan.lanes))]
    samples = [tuple(pair) for lane in lanes for pair in lane.tolist()]
    assert samples == all_samples(arguments["counts"])


@given(plan_arguments(), st.data())
def test_without_shuffle_the_window_does_not_change_the_order(arguments, data):
    other = arguments | {"window": data.draw(st.integers(1, 30)), "shuffle": False}
    plans = EpochPlan(**arguments | {"shuffle": False}), EpochPlan(**other)
    first, second = ([batch.samples.tolist() for batch in plan.batches()] for plan in plans)
    assert first == second


def test_the_permutation_inside_a_window_is_uniform_over_seeds():
    seen = Counter()
    for seed in range(2400):
        plan = EpochPlan([4], seed=seed, epoch=0, batch_size=4, window=1)
        seen[tuple(plan.lane_samples(0, 0, 4)[:, 1].tolist())] += 1
    chi2 = sum((count - 100) ** 2 / 100 for count in seen.values()) / 23
    assert len(seen) == 24
    assert chi2 < 2


def test_more_lanes_than_samples_still_pads():
    plan = EpochPlan([2], seed=0, epoch=0, batch_size=12, window=1, lanes=6, last="pad")
    (batch,) = plan.batches()
    assert batch.samples.shape == (12, 2)
    assert batch.valid.sum() == 2


@pytest.mark.parametrize("last", ["keep", "drop", "pad"])
def test_an_epoch_without_samples_has_no_batches(last):
    plan = EpochPlan([0, 0], seed=0, epoch=0, batch_size=4, window=2, lanes=2, last=last)
    assert plan.num_batches == 0
    assert list(plan.batches()) == []


def test_epoch_order_is_pinned():
    plan = EpochPlan([7, 0, 5, 9, 4, 8], seed=3, epoch=2, batch_size=6, window=2, lanes=2)
    samples = np.concatenate([batch.samples for batch in plan.batches()]).astype("<i8")
    assert samples[:6].tolist() == [[4, 1], [4, 3], [4, 0], [5, 2], [5, 5], [5, 4]]
    assert hashlib.sha256(samples.tobytes()).hexdigest()[:16] == "4325b4ee3fc35bff"


def test_padded_order_is_pinned():
    plan = EpochPlan([3, 1, 4], seed=2**63, epoch=5, batch_size=6, window=2, lanes=2, last="pad")
    assert [batch.samples.tolist() for batch in plan.batches()] == [
        [[2, 3], [2, 1], [2, 0], [0, 0], [0, 2], [1, 0]],
        [[2, 2], [2, 3], [2, 1], [0, 1], [0, 0], [0, 2]],
    ]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"batch_size": 7, "lanes": 2}, r"positive multiple of lanes=2, got 7"),
        ({"batch_size": 0}, r"positive multiple of lanes=1, got 0"),
        ({"lanes": 0}, r"lanes must be at least 1, got 0"),
        ({"window": 0}, r"window must be at least 1 chunk, got 0"),
        ({"last": "none"}, r"'keep', 'drop' or 'pad', got 'none'"),
        ({"seed": -1}, r"integers in \[0, 2\*\*64\)"),
    ],
    ids=["batch", "no_batch", "lanes", "window", "last", "seed"],
)
def test_wrong_arguments_are_named(wrong, text):
    arguments = {"seed": 0, "epoch": 0, "batch_size": 6, "window": 2} | wrong
    with pytest.raises(ValueError, match=text):
        EpochPlan([4, 4], **arguments)


@pytest.mark.parametrize("counts", [[[1, 2]], [3, -1]], ids=["matrix", "negative"])
def test_wrong_counts_are_refused(counts):
    with pytest.raises(ValueError, match="counts must be one number of at least 0 for each chunk"):
        EpochPlan(counts, seed=0, epoch=0, batch_size=1, window=1)


@pytest.mark.parametrize(
    ("rank", "world_size", "text"),
    [(0, 3, "world_size must divide lanes=4, got 3"), (2, 2, r"rank must be in \[0, 2\), got 2")],
    ids=["world", "rank"],
)
def test_wrong_ranks_are_named(rank, world_size, text):
    with pytest.raises(ValueError, match=text):
        rank_lanes(4, rank=rank, world_size=world_size)
