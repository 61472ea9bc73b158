"""Is the memory spent as it was declared, and too little of it refused with what is enough?"""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chunkstore.rewriting.budget import plan_budget
from chunkstore.rewriting.dealing import count_piles
from chunkstore.rewriting.order import RandomOrder

MIB = 1 << 20


@given(
    num_samples=st.integers(0, 10**10),
    record_nbytes=st.integers(1, 10**6).map(lambda n: 8 * n),
    memory=st.integers(1 * MIB, 4096 * MIB),
    reserved=st.integers(0, 200 * MIB),
)
def test_two_buffers_and_what_is_reserved_fit_in_the_memory_and_32_mib(
    num_samples, record_nbytes, memory, reserved
):
    try:
        budget = plan_budget(
            num_samples, record_nbytes=record_nbytes, memory=memory, reserved_nbytes=reserved
        )
    except ValueError:
        assume(False)
    buffers = 1 if budget.in_memory else 2
    taken = buffers * budget.most_records * record_nbytes
    assert taken <= memory or num_samples == 0
    assert taken + reserved <= memory + 32 * MIB or num_samples == 0 or reserved > memory
    if not budget.in_memory:
        mean = num_samples / budget.num_piles
        assert mean + 6 * mean**0.5 <= budget.most_records + 1e-6


@pytest.mark.parametrize(
    ("num_samples", "record_nbytes", "memory"),
    [(10**9, 64, 4 * MIB), (1000, 64 * MIB, 100 * MIB), (10**9, 150_000, 64 * MIB)],
)
def test_what_is_said_to_be_enough_is_enough(num_samples, record_nbytes, memory):
    with pytest.raises(ValueError, match="is too small to shuffle") as caught:
        plan_budget(num_samples, record_nbytes=record_nbytes, memory=memory, reserved_nbytes=0)
    enough = int(re.search(r"memory='(\d+)MiB' is enough", str(caught.value))[1]) * MIB
    plan_budget(num_samples, record_nbytes=record_nbytes, memory=enough, reserved_nbytes=0)
    with pytest.raises(ValueError, match="is too small"):
        plan_budget(
            num_samples, record_nbytes=record_nbytes, memory=enough * 3 // 4, reserved_nbytes=0
        )


@given(st.integers(1, 2000), st.integers(2, 30), st.integers(0, 99))
def test_no_pile_holds_more_than_a_buffer_however_the_coins_fall(num_samples, num_piles, seed):
    most = max(2, num_samples // num_piles)
    order = RandomOrder(num_samples, seed=seed)
    counts = count_piles(order, num_samples, num_piles=num_piles, most_records=most)
    assert counts.max() <= most
    assert counts.sum() == num_samples
    again = count_piles(order, num_samples, num_piles=num_piles, most_records=most)
    assert np.array_equal(counts, again)


def test_three_samples_that_fall_together_by_chance_are_parted():
    class Near:
        def keys(self, start, stop):
            return np.arange(start, stop, dtype=np.uint64) << np.uint64(50)

        def cuts(self, num_piles):
            step = (1 << 64) // num_piles
            return np.array([i * step for i in range(1, num_piles)], np.uint64)

    counts = count_piles(Near(), 3, num_piles=2, most_records=2)
    assert (counts.sum(), counts.max()) == (3, 2)


def test_more_samples_of_one_number_than_the_memory_holds_are_refused():
    class One:
        def keys(self, start, stop):
            return np.zeros(stop - start, np.uint64)

        def cuts(self, num_piles):
            return np.arange(1, num_piles, dtype=np.uint64)

    with pytest.raises(ValueError, match="50 samples have nearly the same number"):
        count_piles(One(), 50, num_piles=2, most_records=10)
