"""Laws of weights: exact totals, each sample as often as expected, never with weight zero."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.plan.epoch import EpochPlan
from chunkstore.plan.subset import SubsetUnits, parse_subset
from chunkstore.plan.weights import Resampling, balanced_weights

WEIGHTS = st.sampled_from([0.0, 0.0, 1.0, 1.0, 0.5, 3.7, 1e-6, 1e6]) | st.floats(0, 10)


@st.composite
def resamplings(draw):
    """Return a resampling, its weights and the numbers of the eligible samples."""
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=12))
    bounds = np.append(0, np.cumsum(lengths))
    mask = np.array(
        draw(st.lists(st.booleans(), min_size=int(bounds[-1]), max_size=int(bounds[-1])))
    )
    numbers = np.flatnonzero(mask)
    weights = draw(st.lists(WEIGHTS, min_size=len(numbers), max_size=len(numbers)))
    if not any(weights):
        return draw(resamplings())
    units = SubsetUnits(parse_subset(mask.astype(bool), len(mask)), bounds)
    total = draw(st.integers(1, 60) | st.just(1000))
    resampling = Resampling(weights, total=total, units=units, unit_length=draw(st.integers(1, 12)))
    return resampling, np.array(weights), numbers, bounds


def drawn_numbers(pieces, bounds):
    found = []
    for piece, count in enumerate(pieces.counts.tolist()):
        unit, places = pieces.locate(piece, np.arange(count))
        assert len(places) == count
        assert (np.diff(places) >= 0).all()
        found += (bounds[unit] + places).tolist()
    return found


@given(resamplings(), st.integers(0, 2**64 - 1), st.integers(0, 9))
def test_the_total_is_exact_and_each_count_is_rounded_up_or_down(case, seed, epoch):
    resampling, weights, numbers, bounds = case
    drawn = drawn_numbers(resampling.draw(seed=seed, epoch=epoch), bounds)
    assert len(drawn) == resampling.total
    times = np.bincount(drawn, minlength=bounds[-1])
    assert times.sum() == times[numbers].sum()
    expected = resampling.total * (weights / weights.sum())
    assert (np.abs(times[numbers] - expected) < 1 + 1e-6).all()
    assert (times[numbers][weights == 0] == 0).all()


@given(resamplings(), st.integers(1, 4), st.sampled_from([1, 2]))
def test_an_epoch_delivers_what_was_drawn(case, window, lanes):
    resampling, _, _, bounds = case
    pieces = resampling.draw(seed=1, epoch=2)
    plan = EpochPlan(pieces, seed=1, epoch=2, batch_size=2 * lanes, window=window, lanes=lanes)
    samples = np.concatenate([batch.samples for batch in plan.batches()])
    numbers = bounds[samples[:, 0]] + samples[:, 1]
    assert sorted(numbers.tolist()) == sorted(drawn_numbers(pieces, bounds))


@given(resamplings())
def test_no_piece_holds_more_than_a_unit(case):
    resampling, _, _, _ = case
    pieces = resampling.draw(seed=0, epoch=0)
    assert pieces.counts.max() <= resampling._unit_length


def test_over_many_epochs_counts_are_as_expected():
    weights = np.array([0.3, 1, 0, 2.5, 1.2, 0.01, 4, 0.5])
    units = SubsetUnits(parse_subset(slice(None), 8), np.array([0, 3, 8]))
    resampling = Resampling(weights, total=8, units=units, unit_length=100)
    bounds = np.array([0, 3, 8])
    times = np.zeros(8)
    for epoch in range(600):
        times += np.bincount(
            drawn_numbers(resampling.draw(seed=2, epoch=epoch), bounds), minlength=8
        )
    assert np.allclose(times / 600, 8 * weights / weights.sum(), atol=0.06)


def test_a_draw_is_pinned():
    units = SubsetUnits(parse_subset(slice(None), 6), np.array([0, 3, 6]))
    resampling = Resampling([1, 0.5, 1, 0, 0.25, 2], total=6, units=units, unit_length=3)
    draws = [drawn_numbers(resampling.draw(seed=7, epoch=e), [0, 3, 6]) for e in range(3)]
    assert draws == [[0, 0, 2, 4, 5, 5], [0, 1, 2, 4, 5, 5], [0, 1, 2, 5, 5, 5]]
    assert resampling.digest == "bd25d0f27c10c2fc"


def test_weights_and_total_change_the_digest():
    units = SubsetUnits(parse_subset(slice(None), 3), np.array([0, 3]))
    digests = {
        Resampling(weights, total=total, units=units, unit_length=3).digest
        for weights, total in itertools.product([[1, 1, 1], [1, 1, 2], [2, 1, 1]], [3, 4])
    }
    assert len(digests) == 6


def test_a_sample_of_huge_weight_is_spread_over_pieces_that_fit():
    units = SubsetUnits(parse_subset(slice(None), 4), np.array([0, 4]))
    pieces = Resampling([0, 1000, 1, 1], total=100, units=units, unit_length=8).draw(
        seed=0, epoch=0
    )
    assert pieces.counts.tolist() == [8] * 9 + [7] * 4


def test_a_million_weights_that_do_not_sum_exactly_give_the_exact_total():
    rng = np.random.Generator(np.random.Philox(3))
    weights = rng.random(1_000_003) ** 8
    bounds = np.append(np.arange(0, 1_000_003, 1000), 1_000_003)
    units = SubsetUnits(parse_subset(slice(None), 1_000_003), bounds)
    resampling = Resampling(weights, total=1_234_567, units=units, unit_length=1000)
    for epoch in range(20):
        assert resampling.draw(seed=0, epoch=epoch).counts.sum() == 1_234_567


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_balanced_classes_are_expected_equally_often(labels):
    weights = balanced_weights(labels)
    shares = {label: weights[np.array(labels) == label].sum() for label in labels}
    assert np.allclose(list(shares.values()), 1.0)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        pytest.param([1, 1], r"each of 3 samples, got shape \(2,\)", id="too-few"),
        pytest.param([1, -1, 1], "at least 0, got -1.0 at place 1", id="negative"),
        pytest.param([1, 1, float("nan")], "got nan at place 2", id="nan"),
        pytest.param([1, 1, float("inf")], "got inf at place 2", id="infinite"),
        pytest.param([0, 0, 0], "at least one weight must be above 0", id="zero"),
        pytest.param([1e308] * 3, "too large to be summed", id="overflow"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_what_is_no_weight_is_refused(weights, message):
    units = SubsetUnits(parse_subset(slice(None), 3), np.array([0, 3]))
    with pytest.raises(ValueError, match=message):
        Resampling(weights, total=3, units=units, unit_length=3)
