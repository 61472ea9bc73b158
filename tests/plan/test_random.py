"""Laws of the random bits."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.plan.random import CHUNK_ORDER, keyed_permutation, stream_key


@given(size=st.integers(0, 3000), seed=st.integers(0, 2**64 - 1))
def test_permutation_holds_each_index_once(size, seed):
    assert np.array_equal(np.sort(keyed_permutation(size, seed=seed)), np.arange(size))


def test_permutation_is_pinned():
    # Another literal here means another order for every saved position in the world.
    assert keyed_permutation(8, seed=7, epoch=1, purpose=CHUNK_ORDER).tolist() == [
        7, 4, 1, 0, 2, 5, 6, 3
    ]  # fmt: skip


@pytest.mark.parametrize("size", [4095, 4096, 15_001, 70_000, 1_100_000])
def test_permutations_of_any_size_are_the_words_sorted_by_their_first_bits(size):
    words = np.random.Philox(key=stream_key(11)).random_raw(size)
    mask = np.uint64((1 << (size - 1).bit_length()) - 1)
    expected = np.argsort(words & ~mask, kind="stable")
    assert np.array_equal(keyed_permutation(size, seed=11), expected)


def test_key_is_pinned():
    assert stream_key(2**64 - 1, 1, 2, 3, 4).tolist() == [7047971386089228006, 8608014910724961831]


def test_permutation_is_uniform():
    seen = Counter(tuple(keyed_permutation(5, seed=seed)) for seed in range(6000))
    chi2 = sum((count - 50) ** 2 / 50 for count in seen.values()) / 119
    assert len(seen) == 120
    assert 0.6 < chi2 < 1.5


def test_nearby_seeds_epochs_and_purposes_do_not_share_streams():
    numbers = itertools.product((0, 1, 2, 7, 2**32, 2**32 + 7), range(4), range(3), range(3))
    keys = Counter(stream_key(*arguments).tobytes() for arguments in numbers)
    assert max(keys.values()) == 1


def test_sums_of_seed_and_epoch_do_not_collide():
    orders = {keyed_permutation(50, seed=seed, epoch=9 - seed).tobytes() for seed in range(10)}
    assert len(orders) == 10


def test_permutation_does_not_touch_the_global_state_of_numpy():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    keyed_permutation(100, seed=3)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("seed", [-1, 2**64], ids=["negative", "too_large"])
def test_seed_outside_64_bits_is_refused(seed):
    with pytest.raises(ValueError, match=r"integers in \[0, 2\*\*64\), got \(" + str(seed)):
        stream_key(seed)
