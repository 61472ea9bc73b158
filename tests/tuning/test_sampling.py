"""Do the pieces stand for all of the data?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.tuning.crew import Deadline
from chunkstore.tuning.results import Notes
from chunkstore.tuning.sampling import plan_pieces, spread_order, take_sample
from chunkstore.tuning.source import ArraySource

SIZES = {
    "num_samples": st.integers(1, 5000),
    "sample_nbytes": st.integers(1, 300),
    "nbytes": st.integers(1, 20_000),
    "piece_nbytes": st.integers(1, 4000),
    "seed": st.integers(0, 100),
}


class Recorded:
    """An array that remembers what was read of it."""

    def __init__(self, array):
        self.array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.reads = []

    def __getitem__(self, key):
        self.reads.append((key.start, key.stop))
        return self.array[key]


def sample_of(array, **options):
    wanted = {"nbytes": 4000, "piece_nbytes": 400, "seed": 0, "deadline": Deadline(60)}
    return take_sample(ArraySource("data", array, None), notes=Notes(), **{**wanted, **options})


@given(**SIZES)
def test_pieces_are_ordered_apart_and_inside_the_data(num_samples, **options):
    bounds = plan_pieces(num_samples, **options)
    assert bounds
    ends = [0, *(place for pair in bounds for place in pair), num_samples]
    assert ends == sorted(ends)
    assert all(start < stop for start, stop in bounds)


@given(**SIZES)
def test_every_equal_part_of_the_data_has_one_piece(num_samples, **options):
    bounds = plan_pieces(num_samples, **options)
    if sum(stop - start for start, stop in bounds) < num_samples:
        for part, (start, stop) in enumerate(bounds):
            assert part * num_samples // len(bounds) <= start
            assert stop <= (part + 1) * num_samples // len(bounds)


@given(**SIZES)
def test_pieces_take_no_more_than_was_allowed_but_at_least_one(num_samples, **options):
    bounds = plan_pieces(num_samples, **options)
    taken = sum(stop - start for start, stop in bounds) * options["sample_nbytes"]
    one = max(options["piece_nbytes"], options["sample_nbytes"])
    assert taken <= max(options["nbytes"], one)


def test_one_literal_plan():
    options = {"sample_nbytes": 10, "nbytes": 3000, "piece_nbytes": 1000, "seed": 7}
    assert plan_pieces(100_000, **options) == [(31402, 31502), (54107, 54207), (89404, 89504)]
    assert plan_pieces(100_000, **{**options, "seed": 8}) != plan_pieces(100_000, **options)


@given(st.integers(1, 300))
def test_the_order_of_reading_is_a_permutation_that_visits_both_halves_early(count):
    order = spread_order(count)
    assert sorted(order) == list(range(count))
    if count > 3:
        assert min(order[:2]) < count / 2 <= max(order[:2])


def test_data_that_change_half_way_are_seen_on_both_sides():
    array = np.repeat(np.array([0, 1], np.uint8), 50_000)
    pieces = sample_of(array).pieces
    assert len(pieces) == 10
    assert {int(piece[0]) for piece in pieces} == {0, 1}


def test_only_the_pieces_are_read_and_nothing_twice():
    recorded = Recorded(np.zeros((100_000, 2), np.int16))
    sample = sample_of(recorded)
    assert sample.taken_nbytes == 4000
    assert len(set(recorded.reads)) == len(recorded.reads) == 10


def test_little_data_are_taken_whole():
    array = np.arange(300, dtype=np.int64)
    sample = sample_of(array)
    assert np.array_equal(np.concatenate(sample.pieces), array)
    assert sample.nbytes == array.nbytes


def test_a_time_that_is_over_leaves_one_piece_and_says_so():
    notes = Notes()
    sample = take_sample(
        ArraySource("data", np.zeros(100_000, np.uint8), None),
        nbytes=4000,
        piece_nbytes=400,
        seed=0,
        deadline=Deadline(0),
        notes=notes,
    )
    assert len(sample.pieces) == 1
    assert notes.lines[0].startswith("1 of 10 pieces were read in the time")


def test_strings_and_times_are_taken_as_they_are_stored():
    assert sample_of(np.array(["ab", "c"] * 50)).stored_sample_shape == (2,)
    assert sample_of(np.arange(50).astype("M8[s]")).stored_dtype == np.int64


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        pytest.param(np.zeros(0), ValueError, r"shape \(0,\) and holds nothing", id="empty"),
        pytest.param(np.zeros((4, 0)), ValueError, r"\(4, 0\) and holds nothing", id="width-0"),
        pytest.param(np.array([{}, 1], object), TypeError, "Python objects", id="objects"),
        pytest.param(np.float64(1), ValueError, "got a scalar", id="scalar"),
    ],
)
def test_data_that_cannot_be_measured_say_why(array, error, message):
    with pytest.raises(error, match=message):
        sample_of(array)


def test_chunks_are_cut_as_a_writer_cuts_them():
    sample = sample_of(np.zeros((1000, 10), np.uint8), nbytes=10_000, piece_nbytes=1000)
    assert {len(chunk) for chunk in sample.chunks(300)} == {30}
    # A sample that is larger than a chunk is one.
    assert {len(chunk) for chunk in sample.chunks(4)} == {1}
    # Of data that fill no chunk, the piece is one.
    assert [len(chunk) for chunk in sample_of(np.zeros(7, np.uint8)).chunks(1 << 20)] == [7]


@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    most_elements=st.integers(1, 40),
)
def test_cut_samples_hold_the_same_elements_in_order_and_are_no_larger(shape, most_elements):
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    sample = sample_of(array, nbytes=array.nbytes)
    cut = sample.cut(4 * most_elements)
    assert cut.sample_nbytes <= 4 * most_elements
    assert cut.shape == (sum(map(len, cut.pieces)), *cut.pieces[0].shape[1:])
    for piece, parts in zip(sample.pieces, cut.pieces, strict=True):
        assert len(parts) >= 1
        assert np.array_equal(parts.ravel(), piece.ravel()[: parts.size])
        assert 2 * parts.size > piece.size


def test_a_cut_leaves_small_samples_as_they_are_and_others_their_inner_axes():
    sample = sample_of(np.zeros((4, 10, 5, 3), np.uint8), piece_nbytes=600)
    assert sample.cut(150) is sample
    assert sample.cut(149).shape == (5, 8, 5, 3)
    assert sample.cut(14).shape == (50, 4, 3)
    assert sample.cut(2).shape == (300, 2)
