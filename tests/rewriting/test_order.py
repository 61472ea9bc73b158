"""Is every order of a shuffled file equally likely, and is it the same whatever made it?"""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.rewriting.order import RandomOrder, StoredOrder

SEEDS = st.integers(0, 2**64 - 1)


def order_of(num_samples, seed, *, claimed=None):
    """Return the order of a file; with ``claimed`` as many keys of a larger one, with ties."""
    order = RandomOrder(claimed or num_samples, seed=seed)
    keys = order.keys(0, num_samples)
    return order.numbers(keys[order.sort(keys)])


def order_by_piles(num_samples, seed, *, num_piles, block, claimed):
    """Return the same as `order_of` in the two passes of a shuffle."""
    order = RandomOrder(claimed, seed=seed)
    cuts = order.cuts(num_piles)
    piles = [[] for _ in range(num_piles)]
    for start in range(0, num_samples, block):
        keys = order.keys(start, min(start + block, num_samples))
        keys = keys[order.sort(keys)]
        bounds = [0, *np.searchsorted(keys, cuts).tolist(), len(keys)]
        for pile, (a, b) in enumerate(pairwise(bounds)):
            piles[pile].append(keys[a:b])
    joined = [np.concatenate(runs) for runs in piles]
    return np.concatenate([order.numbers(keys[order.sort(keys)]) for keys in joined])


def test_one_order_is_this_one_for_ever():
    assert order_of(12, 7).tolist() == [6, 8, 4, 7, 1, 2, 9, 0, 11, 10, 3, 5]
    assert order_of(100_000, 2**64 - 1)[:5].tolist() == [87587, 45711, 92773, 80825, 14152]


@given(st.integers(0, 300), SEEDS)
def test_an_order_has_each_sample_once(num_samples, seed):
    assert sorted(order_of(num_samples, seed).tolist()) == list(range(num_samples))


@given(st.integers(1, 200), SEEDS, st.data())
def test_the_keys_of_a_range_are_those_of_the_whole(num_samples, seed, data):
    start = data.draw(st.integers(0, num_samples))
    stop = data.draw(st.integers(start, num_samples))
    order = RandomOrder(num_samples, seed=seed)
    assert np.array_equal(order.keys(start, stop), order.keys(0, num_samples)[start:stop])


@given(
    num_samples=st.integers(1, 150),
    seed=SEEDS,
    num_piles=st.integers(1, 12),
    block=st.integers(1, 60),
    claimed_bits=st.sampled_from([0, 56, 60, 62, 63]),
)
@example(num_samples=100, seed=0, num_piles=7, block=13, claimed_bits=62)
def test_piles_and_blocks_change_nothing_also_where_keys_are_tied(
    num_samples, seed, num_piles, block, claimed_bits
):
    claimed = max(num_samples, 2**claimed_bits)
    found = order_by_piles(num_samples, seed, num_piles=num_piles, block=block, claimed=claimed)
    assert np.array_equal(found, order_of(num_samples, seed, claimed=claimed))


@given(st.integers(1, 2**62), st.integers(1, 50))
def test_piles_are_cut_where_no_tie_can_be(num_samples, num_piles):
    order = RandomOrder(num_samples, seed=1)
    cuts = order.cuts(num_piles)
    mask = np.uint64((1 << (num_samples - 1).bit_length()) - 1)
    assert not (cuts & mask).any()
    assert len(cuts) == num_piles - 1
    assert (np.diff(cuts.astype(object)) >= 0).all()


@pytest.mark.parametrize(
    ("length", "num_seeds", "claimed"),
    [
        pytest.param(5, 24_000, None, id="five"),
        pytest.param(6, 36_000, None, id="six"),
        # Two high bits: nearly all keys are tied, and other words must decide.
        pytest.param(5, 24_000, 2**62, id="ties"),
    ],
)
def test_all_orders_are_equally_likely(length, num_seeds, claimed):
    counts = Counter(
        tuple(order_of(length, seed, claimed=claimed).tolist()) for seed in range(num_seeds)
    )
    orders = list(permutations(range(length)))
    expected = num_seeds / len(orders)
    chi2 = sum((counts[order] - expected) ** 2 / expected for order in orders)
    freedom = math.factorial(length) - 1
    # Four standard deviations.
    assert abs(chi2 - freedom) < 4 * math.sqrt(2 * freedom)


def test_seeds_that_share_their_low_bits_give_other_orders():
    seeds = [0, 1, 2**32, 2**32 + 1, 2**63]
    assert len({tuple(order_of(30, seed).tolist()) for seed in seeds}) == len(seeds)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match=r"integers in \[0, 2\*\*64\)"):
        RandomOrder(3, seed=seed)


def stored(tmp_path, values):
    path = tmp_path / "numbers.zarr.zip"
    cs.save(path, {"n": values}, chunk_nbytes=64)
    return cs.open(path)


def test_stored_numbers_are_put_in_ascending_order_and_equal_ones_stay(tmp_path):
    with stored(tmp_path, np.array([5, 2, 9, 2, 0])) as store:
        order = StoredOrder(store["n"])
        assert order.sort(order.keys(0, 5)).tolist() == [4, 1, 3, 0, 2]
        assert order.cuts(5).tolist() == [2, 4, 6, 8]
        assert order.numbers(order.keys(0, 5)) is None


@given(st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 5), min_size=1, max_size=40))
def test_stored_numbers_of_any_size_are_sorted_alike(tmp_path_factory, values):
    numbers = np.array(values)
    with stored(tmp_path_factory.mktemp("any"), numbers) as store:
        order = StoredOrder(store["n"])
        found = order.sort(order.keys(0, len(values)))
        assert found.tolist() == np.argsort(numbers, kind="stable").tolist()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 2), int), r"whole number a sample.*shape \(3, 2\)"),
        (np.zeros(3), "dtype float64"),
        (np.array([1, -4, 2]), "holds -4 among its samples"),
    ],
)
def test_what_are_no_places_is_refused(tmp_path, values, message):
    with stored(tmp_path, values) as store, pytest.raises(Exception, match=message) as caught:
        StoredOrder(store["n"])
    assert isinstance(caught.value, ValueError | cs.CorruptionError)
