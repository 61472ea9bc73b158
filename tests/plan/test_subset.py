"""Laws of subsets: all forms agree, units divide them, chunks without samples are not read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.plan.epoch import EpochPlan
from chunkstore.plan.subset import SubsetUnits, parse_subset, subset_of_mask


@st.composite
def masks(draw, max_size=120):
    """Return masks with long runs and with none."""
    runs = draw(st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=max_size // 6))
    return np.repeat([value for value, _ in runs], [length for _, length in runs]).astype(bool)


@st.composite
def divided_masks(draw):
    mask = draw(masks())
    cuts = draw(st.lists(st.integers(0, len(mask)), max_size=12))
    return mask, np.array([0, *sorted(cuts), len(mask)])


@given(masks())
def test_mask_and_numbers_are_the_same_subset(mask):
    numbers = np.flatnonzero(mask)
    subsets = [
        subset_of_mask(mask),
        parse_subset(mask, len(mask)),
        parse_subset(numbers, len(mask)),
    ]
    subsets.append(parse_subset((numbers - len(mask)).tolist(), len(mask)))
    for subset in subsets:
        assert len(subset) == len(numbers)
        assert subset.numbers().tolist() == numbers.tolist()
        assert subset.mask().tolist() == mask.tolist()
        assert subset.digest == subsets[0].digest


@given(
    num_samples=st.integers(0, 60),
    start=st.none() | st.integers(-70, 70),
    stop=st.none() | st.integers(-70, 70),
    step=st.none() | st.integers(1, 9),
)
def test_a_slice_is_the_subset_of_its_numbers(num_samples, start, stop, step):
    numbers = np.arange(num_samples)[start:stop:step]
    subset = parse_subset(slice(start, stop, step), num_samples)
    assert subset.numbers().tolist() == numbers.tolist()
    assert subset.digest == parse_subset(numbers, num_samples).digest


@given(masks(), st.data())
def test_places_and_numbers_are_inverse(mask, data):
    subset = subset_of_mask(mask)
    numbers = np.flatnonzero(mask)
    if len(numbers):
        places = data.draw(st.lists(st.integers(0, len(numbers) - 1)))
        assert subset.numbers(places).tolist() == numbers[places].tolist()
    expected = np.append(0, np.cumsum(mask))
    assert subset.count_before(np.arange(len(mask) + 1)).tolist() == expected.tolist()


@given(masks(), st.data())
def test_a_subset_of_a_subset_counts_in_the_first(mask, data):
    numbers = np.flatnonzero(mask)
    inner = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(numbers), max_size=len(numbers)))
    )
    inner = inner.astype(bool)
    nested = subset_of_mask(mask).select(inner)
    assert nested.numbers().tolist() == numbers[inner].tolist()
    assert nested.total == len(mask)


@given(divided_masks())
def test_the_units_of_a_subset_hold_each_of_its_samples_once(case):
    mask, bounds = case
    units = SubsetUnits(subset_of_mask(mask), bounds)
    found = []
    for chunk, count in enumerate(units.counts.tolist()):
        unit, places = units.locate(chunk, np.arange(count))
        assert unit == chunk
        assert ((places >= 0) & (places < bounds[chunk + 1] - bounds[chunk])).all()
        found += (places + bounds[chunk]).tolist()
    assert found == np.flatnonzero(mask).tolist()


@given(divided_masks(), st.integers(1, 9), st.sampled_from([1, 2, 3]), st.booleans())
def test_an_epoch_of_a_subset_is_its_samples_once(case, window, lanes, shuffle):
    mask, bounds = case
    units = SubsetUnits(subset_of_mask(mask), bounds)
    plan = EpochPlan(
        units, seed=3, epoch=1, batch_size=2 * lanes, window=window, lanes=lanes, shuffle=shuffle
    )
    samples = np.concatenate([np.empty((0, 2), int), *(b.samples for b in plan.batches())])
    numbers = bounds[samples[:, 0]] + samples[:, 1]
    assert sorted(numbers.tolist()) == np.flatnonzero(mask).tolist()
    read = {
        task.chunk
        for lane in range(lanes)
        for w in range(len(plan.window_bounds(lane)) - 1)
        for task in plan.window(lane, w)
    }
    assert read == set(np.flatnonzero(units.counts).tolist())


def test_the_digest_is_pinned():
    # Another literal here refuses every saved position of a subset.
    assert parse_subset([2, 3, 4, 8], 10).digest == "145ee0471bd9100f"
    assert parse_subset([2, 3, 4, 8], 11).digest != parse_subset([2, 3, 4, 8], 10).digest


def test_one_sample_more_or_elsewhere_is_another_digest():
    base = [2, 3, 4, 8]
    others = [[2, 3, 4], [2, 3, 4, 9], [2, 3, 5, 8], [1, 2, 3, 4, 8], []]
    digests = {parse_subset(numbers, 10).digest for numbers in [base, *others]}
    assert len(digests) == 6


def test_a_slice_of_any_length_is_one_run():
    subset = parse_subset(slice(5, 10**15), 10**15)
    assert len(subset) == 10**15 - 5
    assert subset.numbers([0, 10**14]).tolist() == [5, 10**14 + 5]


@pytest.mark.parametrize(
    ("selection", "error", "message"),
    [
        pytest.param([3, 10], IndexError, r"sample 10 is out of bounds.*\[-10, 10\)", id="behind"),
        pytest.param([-11], IndexError, "sample -11 is out of bounds", id="before"),
        pytest.param([3, 1], ValueError, "got 1 behind 3: sort them", id="descending"),
        pytest.param([3, 3], ValueError, "got 3 behind 3", id="twice"),
        pytest.param(
            [True] * 9, IndexError, r"mask must have shape \(10,\), got \(9,\)", id="mask"
        ),
        pytest.param([0.5], TypeError, "got list of dtype float64", id="float"),
        pytest.param([[1]], TypeError, r"shape \(1, 1\)", id="two-axes"),
        pytest.param("x", TypeError, "a subset is a slice, a mask or sample numbers", id="text"),
        pytest.param(
            slice(9, 0, -1), ValueError, "count upwards, got a step of -1", id="backwards"
        ),
        pytest.param(
            parse_subset([1], 3), ValueError, "of 3 samples, but there are 10", id="other"
        ),
    ],
)
def test_what_is_no_subset_is_refused(selection, error, message):
    with pytest.raises(error, match=message):
        parse_subset(selection, 10)
