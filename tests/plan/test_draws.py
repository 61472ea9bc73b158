"""Laws of a sample's random numbers: they depend on seed, epoch and position, on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.plan.draws import SampleRandom

SEEDS = st.integers(0, 2**64 - 1)


@given(SEEDS, SEEDS, st.integers(1, 60), st.data())
def test_any_part_of_the_samples_gets_the_draws_of_the_whole(seed, epoch, count, data):
    whole = SampleRandom(np.arange(count), seed=seed, epoch=epoch)
    chosen = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1)))
    part = SampleRandom(chosen, seed=seed, epoch=epoch)
    for _ in range(3):
        assert part.words().tolist() == whole.words()[chosen].tolist()
    assert part.uniform().tolist() == whole.uniform()[chosen].tolist()
    generated = [rng.random() for rng in whole.generators()]
    assert [rng.random() for rng in part.generators()] == [generated[i] for i in chosen]


@given(SEEDS, st.integers(-1000, 1000), st.integers(1, 2**32))
def test_integers_are_inside_their_bounds(seed, low, span):
    drawn = SampleRandom(np.arange(50), seed=seed, epoch=0).integers(low, low + span)
    assert drawn.min() >= low
    assert drawn.max() < low + span


def test_each_integer_is_drawn_equally_often():
    drawn = SampleRandom(np.arange(70_000), seed=1, epoch=0).integers(0, 7)
    assert np.abs(np.bincount(drawn) / 10_000 - 1).max() < 0.05


def test_seeds_epochs_streams_and_draws_are_independent():
    words = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0), (2**32, 0)):
        random = SampleRandom(np.arange(1000), seed=seed, epoch=epoch)
        words += [random.words(), random.words(), random.stream(1).words()]
    bits = np.array([word >> np.uint64(63) for word in words], np.float64)
    correlation = np.corrcoef(bits) - np.eye(len(words))
    assert np.abs(correlation).max() < 0.15


def test_the_draws_of_a_stream_go_on_where_they_were():
    random = SampleRandom(range(5), seed=0, epoch=0)
    first, second = random.stream(3).words(), random.stream(3).words()
    assert first.tolist() != second.tolist()
    other = SampleRandom(range(5), seed=0, epoch=0)
    other.words()
    assert other.stream(3).words().tolist() == first.tolist()
    assert other.stream(0) is other


def test_positions_decide_the_draws_and_numbers_do_not():
    by_position = SampleRandom([50, 60], [0, 1], seed=0, epoch=0)
    assert by_position.words().tolist() == SampleRandom([0, 1], seed=0, epoch=0).words().tolist()
    assert by_position.numbers.tolist() == [50, 60]


def test_draws_are_pinned():
    # Another literal here changes the augmentation of every run that is continued.
    random = SampleRandom([0, 1, 2**40], seed=7, epoch=3)
    assert random.words().tolist() == [
        16874017545836799207,
        12652796696201892313,
        10394229285787684714,
    ]
    assert random.integers(0, 1000).tolist() == [632, 573, 660]


def test_wrong_arguments_are_refused():
    random = SampleRandom([0], seed=0, epoch=0)
    with pytest.raises(ValueError, match=r"high - low must be in \[1, 2\*\*32\], got 0"):
        random.integers(5, 5)
    with pytest.raises(ValueError, match=r"got shapes \(1,\) and \(2,\)"):
        SampleRandom([0], [0, 1], seed=0, epoch=0)
