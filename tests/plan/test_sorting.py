"""Random words are sorted in a way of their own; any others come out sorted too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.plan import sorting
from chunkstore.plan.sorting import sort_random_words


def sorted_by_parts(words):
    """Return the words sorted, and where the parts ended that were drawn."""
    stops = [0]

    def draw(start, stop):
        assert start == stops[-1]
        stops.append(stop)
        return words[start:stop].copy()

    return sort_random_words(draw, len(words)), stops


@given(size=st.integers(0, 40_000), width=st.integers(1, 64), seed=st.integers(0, 1000))
def test_words_come_out_sorted_whatever_their_bits(size, width, seed):
    # Few random bits, or none among the first, put all words into a few buckets.
    words = np.random.Philox(seed).random_raw(size) >> np.uint64(64 - width)
    result, stops = sorted_by_parts(words)
    assert np.array_equal(result, np.sort(words))
    assert stops[-1] == size


@pytest.mark.parametrize("size", [3, 4096, 15_000, 15_001, 15_255, 15_256, 200_000], ids=str)
@pytest.mark.parametrize(
    "arrange", [np.sort, lambda words: np.sort(words)[::-1]], ids=["up", "down"]
)
def test_words_in_order_are_sorted(size, arrange):
    words = arrange(np.random.Philox(size).random_raw(size))
    assert np.array_equal(sorted_by_parts(words)[0], np.sort(words))


@pytest.mark.parametrize("size", [4096, 15_000, 120_000, 1 << 20], ids=str)
def test_random_words_are_dealt_to_less_than_half_a_row_from_their_places(size):
    # Else each window would be sorted a second time, as a whole.
    dealt = []

    def keep(words):
        dealt.append(words.copy())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "_sort_near", keep)
        sorted_by_parts(np.random.Philox(5).random_raw(size))
    distances = np.abs(np.argsort(dealt[0]) - np.arange(size))
    assert distances.max() < 128
