"""Laws of mixtures: batches are full, shares are kept, any step is found at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.plan.mixing import MixturePlan


@st.composite
def plans(draw):
    weights = draw(st.lists(st.sampled_from([1.0, 2.0, 1e-3, 0.7, 1e6]), min_size=1, max_size=7))
    return MixturePlan(tuple(weights), draw(st.integers(0, 2**64 - 1)))


@given(plans(), st.integers(1, 40), st.integers(0, 10**12))
def test_quotas_sum_to_the_batch_and_are_never_negative(plan, batch_size, step):
    quotas = plan.quotas(step, batch_size=batch_size)
    assert sum(quotas) == batch_size
    assert min(quotas) >= 0


@given(plans(), st.integers(0, 10**12))
def test_the_samples_taken_of_each_source_are_near_its_share(plan, num_samples):
    total = sum(plan.weights)
    slack = 1 + math.log2(len(plan.weights))
    for taken, weight in zip(plan.taken(num_samples), plan.weights, strict=True):
        # Shares are multiples of 2**-32.
        assert abs(taken - num_samples * weight / total) <= slack + num_samples * 2**-31


@given(plans(), st.integers(1, 9), st.integers(0, 50))
def test_a_step_found_at_once_is_where_a_replay_arrives(plan, batch_size, steps):
    replayed = [0] * len(plan.weights)
    for step in range(steps):
        for i, count in enumerate(plan.quotas(step, batch_size=batch_size)):
            replayed[i] += count
    assert tuple(replayed) == plan.taken(steps * batch_size)


def test_quotas_are_pinned():
    plan = MixturePlan((5.0, 2.0, 1.0), seed=7)
    assert [plan.quotas(step, batch_size=4) for step in range(8)] == [
        (3, 0, 1),
        (2, 2, 0),
        (3, 0, 1),
        (2, 2, 0),
        (3, 0, 1),
        (2, 2, 0),
        (3, 0, 1),
        (2, 2, 0),
    ]
    assert plan.batch_order(6, epoch=1, step=2).tolist() == [4, 2, 0, 1, 5, 3]


def test_seeds_start_their_mixtures_differently():
    starts = {
        tuple(MixturePlan((1.0, 1.0, 1.0), seed).quotas(0, batch_size=4)) for seed in range(40)
    }
    assert len(starts) > 2


def test_batches_are_ordered_differently():
    plan = MixturePlan((1.0, 1.0), 0)
    orders = {
        plan.batch_order(10, epoch=epoch, step=step).tobytes()
        for epoch in range(4)
        for step in range(4)
    }
    assert len(orders) == 16
    assert np.array_equal(np.sort(plan.batch_order(10, epoch=0, step=0)), np.arange(10))


@pytest.mark.parametrize(
    "weights", [(), (1.0, 0.0), (-1.0,), (float("nan"),), (float("inf"),)], ids=str
)
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match=r"at least one source|above 0 and finite"):
        MixturePlan(weights, 0)
