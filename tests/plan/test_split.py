"""Laws of splits: disjoint parts of the wanted sizes that stay as the data grow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.plan.hashing import keyed_words, unit_interval
from chunkstore.plan.random import stream_key
from chunkstore.plan.split import (
    NO_PART,
    check_fractions,
    group_ids,
    split_ids,
    split_stratified,
)

FRACTIONS = st.sampled_from([[0.8, 0.2], [0.5], [1.0], [0.1] * 10, [0.7, 0.2, 0.1], [0.0, 1.0]])
SEEDS = st.integers(0, 2**64 - 1)


@given(SEEDS, FRACTIONS, st.integers(0, 300), st.integers(0, 300))
def test_a_split_stays_when_samples_are_appended(seed, fractions, before, more):
    parts = split_ids(np.arange(before + more), fractions, seed=seed)
    assert parts[:before].tolist() == split_ids(np.arange(before), fractions, seed=seed).tolist()


@given(SEEDS, FRACTIONS, st.lists(st.integers(0, 4), max_size=200), st.data())
def test_a_stratified_split_stays_when_samples_are_appended(seed, fractions, labels, data):
    before = data.draw(st.integers(0, len(labels)))
    parts = split_stratified(np.array(labels, int), fractions, seed=seed)
    first = split_stratified(np.array(labels[:before], int), fractions, seed=seed)
    assert parts[:before].tolist() == first.tolist()


@given(SEEDS, FRACTIONS, st.lists(st.integers(-3, 2**63 - 1), max_size=50))
def test_equal_ids_go_to_one_part(seed, fractions, ids):
    parts = split_ids(np.array(ids + ids[::-1], np.int64), fractions, seed=seed)
    assert parts[: len(ids)].tolist() == parts[len(ids) :][::-1].tolist()
    assert set(parts.tolist()) <= {NO_PART, *range(len(fractions))}


@given(SEEDS, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_fraction_holds_the_smaller_one(seed, a, b):
    ids = np.arange(200)
    small = split_ids(ids, [min(a, b)], seed=seed) == 0
    large = split_ids(ids, [max(a, b)], seed=seed) == 0
    assert (large | ~small).all()


@given(SEEDS, st.sampled_from([[0.8, 0.2], [0.9, 0.05, 0.05], [1 / 3] * 3]))
def test_fractions_that_sum_to_one_leave_nothing_out(seed, fractions):
    assert (split_ids(np.arange(500), fractions, seed=seed) != NO_PART).all()


@pytest.mark.parametrize("num_parts", [127, 128, 129, 300])
def test_however_many_parts_there_are_each_sample_is_in_one(num_parts):
    fractions = [1 / num_parts] * num_parts
    for parts in (
        split_ids(np.arange(20_000), fractions, seed=3),
        split_stratified(np.zeros(20_000, int), fractions, seed=3),
    ):
        assert np.unique(parts).tolist() == list(range(num_parts))


def test_realised_fractions_are_near_the_wanted_ones():
    parts = split_ids(np.arange(100_000), [0.7, 0.2], seed=5)
    realised = [np.mean(parts == part) for part in (0, 1, NO_PART)]
    assert np.allclose(realised, [0.7, 0.2, 0.1], atol=0.006)


@given(SEEDS, st.lists(st.integers(1, 70), min_size=1, max_size=6), st.floats(0.05, 0.95))
def test_each_class_of_a_stratified_split_has_the_wanted_fraction(seed, sizes, fraction):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    parts = split_stratified(labels, [fraction, 1 - fraction], seed=seed)
    for label, size in enumerate(sizes):
        taken = int((parts[labels == label] == 0).sum())
        # Whole blocks of sixteen are exact to one; the block that the class ends in may be off by
        # what a random part of it may be.
        tail = size % 16
        slack = size // 16 + 1 + min(tail, 16 - tail)
        assert abs(taken - size * fraction) <= slack


def test_classes_are_split_independently_of_each_other():
    labels = np.tile([0, 1], 4000)
    parts = split_stratified(labels, [0.5, 0.5], seed=1)
    agree = np.mean(parts[labels == 0] == parts[labels == 1])
    assert 0.45 < agree < 0.55


def test_splits_are_pinned():
    # Another literal here moves validation samples into somebody's training set.
    assert split_ids(range(16), [0.5, 0.25], seed=7).tolist() == [
        -1,
        1,
        -1,
        1,
        0,
        -1,
        1,
        -1,
        0,
        -1,
        1,
        0,
        -1,
        0,
        -1,
        -1,
    ]
    labels = np.array(["b", "a"])[np.arange(24) % 3 // 2]
    assert split_stratified(labels, [0.5, 0.25], seed=7).tolist() == [
        1,
        -1,
        0,
        0,
        -1,
        -1,
        1,
        0,
        0,
        0,
        -1,
        1,
        0,
        -1,
        0,
        0,
        1,
        -1,
        1,
        0,
        0,
        0,
        0,
        0,
    ]


def test_groups_of_any_type_have_ids_of_their_own():
    days = np.array(["2020-01-01", "2020-01-02", "2020-01-01"], "M8[D]")
    for groups in (["ann", "bob", "ann"], [b"ann", b"bob", b"ann"], days, [-1, 5, -1]):
        first, second, third = group_ids(groups).tolist()
        assert first == third != second
    # An id depends on the value alone, not on the others or on the width of the array.
    assert group_ids(["bob", "a long name"])[0] == group_ids(["bob"])[0]


@pytest.mark.parametrize(
    "fractions",
    [{}, {"a": -0.1}, {"a": 0.8, "b": 0.3}, {"a": float("nan")}],
    ids=["none", "negative", "above-one", "nan"],
)
def test_fractions_that_are_none_are_refused(fractions):
    with pytest.raises(ValueError, match="at least"):
        check_fractions(fractions)


def test_ids_that_are_no_integers_are_refused():
    with pytest.raises(TypeError, match="ids must be integers, got float64"):
        split_ids([0.5], [1.0], seed=0)
    with pytest.raises(TypeError, match="integers, strings, booleans or dates, got float64"):
        group_ids([0.5])
    with pytest.raises(ValueError, match=r"labels must have one axis, got shape \(1, 2\)"):
        split_stratified([[1, 2]], [1.0], seed=0)


def test_words_of_numbers_are_uniform_and_distinct():
    words = keyed_words(stream_key(1), np.arange(1 << 16, dtype=np.uint64))
    assert len(np.unique(words)) == 1 << 16
    # Each of the 64 bits is set in half of the words, and neighbours share none of them.
    bits = np.unpackbits(words.view(np.uint8)).reshape(-1, 64)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.01
    assert np.abs((bits[1:] != bits[:-1]).mean(axis=0) - 0.5).max() < 0.01
    assert abs(unit_interval(words).mean() - 0.5) < 0.01
