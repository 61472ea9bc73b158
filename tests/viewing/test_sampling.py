"""Are chunks and samples taken from all over a file, few of them, and the same each time?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.viewing.sampling import (
    Remarks,
    choose_chunks,
    choose_samples,
    chunk_nbytes,
    is_readable,
    read_chunks,
    read_numbers,
    spread,
)
from tests.viewing.files import damage, write


@given(st.integers(0, 10**15), st.integers(1, 200), st.integers(0, 2**32))
def test_one_place_is_drawn_from_each_equal_part(count, wanted, seed):
    if wanted >= count:
        count = min(count, 200)
        assert spread(count, wanted, seed=seed).tolist() == list(range(count))
        return
    places = spread(count, wanted, seed=seed).tolist()
    for part, place in enumerate(places):
        assert part * count // wanted <= place < (part + 1) * count // wanted


def test_the_places_of_a_seed_are_these():
    assert spread(1000, 5, seed=7).tolist() == [32, 269, 556, 764, 903]
    assert spread(1000, 5, seed=8).tolist() != [32, 269, 556, 764, 903]


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "a.zarr.zip", x=np.arange(20_000 * 16).reshape(20_000, 16))


def test_a_small_array_is_read_whole_and_a_large_one_in_bounded_parts(path):
    with cs.open(path) as store:
        x = store["x"]
        assert choose_chunks(x).is_complete
        choice = choose_chunks(x, nbytes=10 * chunk_nbytes(x), seed=1)
        assert not choice.is_complete
        assert len(choice.chunks) == 10
        assert choice.num_chunks == x.num_chunks
        assert len(choose_chunks(x, nbytes=1).chunks) == 1
        assert choose_chunks(x, nbytes=None).is_complete
        assert len(choose_chunks(x, most=3).chunks) == 3


def test_chunks_come_with_the_number_of_their_first_sample(path):
    with cs.open(path) as store:
        choice = choose_chunks(store["x"], nbytes=5 * chunk_nbytes(store["x"]))
        for start, samples in read_chunks(store["x"], choice, Remarks()):
            np.testing.assert_array_equal(samples[:, 0], np.arange(len(samples)) * 16 + start * 16)


@given(st.integers(1, 300), st.integers(0, 5), st.integers(1, 40))
def test_samples_come_from_few_chunks_all_over_the_array(tmp_path_factory, wanted, seed, most):
    if not hasattr(test_samples_come_from_few_chunks_all_over_the_array, "path"):
        folder = tmp_path_factory.mktemp("samples")
        test_samples_come_from_few_chunks_all_over_the_array.path = write(
            folder / "a.zarr.zip", x=np.arange(9001 * 64, dtype=np.int32).reshape(9001, 64)
        )
    with cs.open(test_samples_come_from_few_chunks_all_over_the_array.path) as store:
        x = store["x"]
        numbers = choose_samples(x, wanted, seed=seed, most=most)
        assert (np.diff(numbers) > 0).all()
        assert len(numbers) <= wanted
        assert len(numbers) >= min(wanted, x.chunk_length)
        chunks = np.unique(numbers // x.chunk_length)
        assert len(chunks) <= max(most, 1) or len(chunks) <= wanted
        if most >= 8 and wanted >= 8:
            # Something of each quarter.
            assert len(np.unique(numbers * 4 // len(x))) == 4


def test_samples_are_read_by_number_each_chunk_once(path, monkeypatch):
    with cs.open(path) as store:
        x = store["x"]
        reads = []
        read_samples = type(x).read_samples
        monkeypatch.setattr(
            type(x),
            "read_samples",
            lambda self, start, stop, **options: (
                reads.append(start) or read_samples(self, start, stop, **options)
            ),
        )
        numbers = np.array([0, 3, 500, 501, 19_999])
        found = list(read_numbers(x, numbers, Remarks()))
    assert [number for number, _ in found] == numbers.tolist()
    assert [int(sample[0]) for _, sample in found] == (numbers * 16).tolist()
    assert len(reads) == len(set(reads)) == len(np.unique(numbers // x.chunk_length))


def test_damage_is_noted_once_and_what_is_left_is_read(path):
    damage(path, "x/c/1/0")
    remarks = Remarks()
    with cs.open(path) as store:
        x = store["x"]
        starts = [start for start, _ in read_chunks(x, choose_chunks(x), remarks)]
        assert x.chunk_length not in starts
        assert len(starts) == x.num_chunks - 1
        lost = np.array([0, x.chunk_length, x.chunk_length + 1])
        found = dict(read_numbers(x, lost, remarks))
        assert found[0] is not None
        assert found[x.chunk_length] is None
    (entry,) = remarks.damage
    assert "x/c/1/0" in entry.message
    assert f"samples [{x.chunk_length}, {2 * x.chunk_length})" in entry.message


def test_an_array_whose_chunks_are_too_large_is_left_out_with_a_note(path):
    remarks = Remarks()
    with cs.open(path) as store:
        assert is_readable(store["x"], remarks)
        assert not is_readable(store["x"], remarks, limit=100)
    (note,) = remarks.notes
    assert note.startswith("array 'x' was not looked at: one chunk decodes to 16,384 bytes")
    assert "at most 100 at a time" in note
