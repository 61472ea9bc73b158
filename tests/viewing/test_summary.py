"""Are ranges, means, counts and classes those that NumPy finds in the whole array?"""

from __future__ import annotations

import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import chunkstore as cs
from chunkstore.viewing.sampling import Remarks, choose_chunks, chunk_nbytes
from chunkstore.viewing.summary import summarise
from chunkstore.viewing.tallying import (
    QUANTILES,
    ClassTally,
    CountedTally,
    NumberTally,
    histogram_of,
)
from tests.store.stores import DTYPES, random_array
from tests.viewing.files import damage, write


def summary_of(path, values, *, name="x", **options):
    write(path, **{name: values})
    with cs.open(path) as store:
        choice = choose_chunks(store[name], **options)
        found = summarise(store[name], choice, Remarks())
    json.dumps(found.to_json(), allow_nan=False)
    return found


def tallied(values, cuts):
    """Return the measures of values that come in parts."""
    if CountedTally.can_count(values.dtype):
        tally = CountedTally(values.dtype)
    else:
        tally = NumberTally(row_length=1, num_chunks=len(cuts) + 1)
    for part in np.split(values, sorted(cuts)):
        tally.add(part)
    return tally.measures()


NUMBERS = st.sampled_from(["u1", "i1", "u2", "i2", "i4", "u8", "i8", "f2", "f4", "f8", "?"])


@given(
    NUMBERS.flatmap(lambda dtype: arrays.arrays(dtype, st.integers(1, 60))),
    st.lists(st.integers(0, 60), max_size=4),
)
def test_measures_of_parts_are_those_of_the_whole(values, cuts):
    found = tallied(values, cuts)
    numbers = values if values.dtype.kind != "b" else values.astype(np.uint8)
    finite = numbers[np.isfinite(numbers)]
    assert found.num_values == len(values)
    assert found.num_nan == np.isnan(numbers).sum()
    assert found.num_positive_infinity == np.isposinf(numbers.astype(float)).sum()
    assert found.num_negative_infinity == np.isneginf(numbers.astype(float)).sum()
    if not len(finite):
        assert found.minimum is None
        assert found.histogram is None
        return
    assert found.minimum == finite.min()
    assert found.maximum == finite.max()
    exact = finite.astype(np.float64)
    if np.abs(exact).max() < 1e150:
        scale = max(np.abs(exact).max(), 1e-300)
        assert found.mean == pytest.approx(exact.mean(), rel=1e-9, abs=1e-9 * scale)
        assert found.std == pytest.approx(exact.std(), rel=1e-6, abs=1e-6 * scale)
    expected = np.quantile(finite, QUANTILES, method="inverted_cdf").astype(float)
    assert found.quantiles == pytest.approx(expected.tolist())
    histogram = found.histogram
    total = histogram.counts.sum() + histogram.num_below + histogram.num_above
    assert total == len(finite)


def test_what_is_kept_of_very_many_chunks_is_bounded_and_has_all_columns():
    tally = NumberTally(row_length=3, num_chunks=1_000_000)
    columns = np.tile([0.0, 10.0, 20.0], 100)
    for _ in range(10_000):
        tally.add(columns)
    assert sum(map(len, tally._kept)) <= 2 * 10_000
    # Small arrays are put together: each takes a hundred bytes of its own.
    assert len(tally._kept) <= 4096
    found = tally.measures()
    assert found.histogram.counts.sum() == sum(map(len, tally._kept))
    kept = np.concatenate(tally._kept)
    for value in (0, 10, 20):
        assert 0.3 < (kept == value).mean() < 0.37


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
def test_a_large_chunk_is_tallied_in_little_memory(dtype):
    values = np.ones(1 << 23, dtype)
    tally = (
        CountedTally(values.dtype)
        if CountedTally.can_count(values.dtype)
        else NumberTally(row_length=1, num_chunks=1)
    )
    tracemalloc.start()
    try:
        tally.add(values)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Eight bytes for each value would be 64 MiB.
    assert peak < 32 << 20
    assert (tally.measures().mean, tally.measures().num_values) == (1, 1 << 23)


def test_a_summary_of_a_literal_array(tmp_path):
    values = np.array([[1.0, 2.0], [np.nan, 4.0], [np.inf, -np.inf], [1.0, 0.0]], np.float32)
    found = summary_of(tmp_path / "a.zarr.zip", values)
    assert (found.kind, found.is_exact, found.num_values) == ("numbers", True, 8)
    assert (found.num_nan, found.num_positive_infinity, found.num_negative_infinity) == (1, 1, 1)
    assert (found.minimum, found.maximum, found.mean) == (0.0, 4.0, 1.6)
    assert found.std == pytest.approx(math.sqrt(np.var([1, 2, 4, 1, 0])))
    assert found.classes is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_type_has_a_summary(tmp_path, dtype):
    values = random_array((50, 3), dtype, seed=1)
    found = summary_of(tmp_path / "a.zarr.zip", values)
    assert found.is_exact
    assert found.num_read_samples == 50
    kind = np.dtype(dtype).kind
    expected = {"c": "magnitudes", "m": "times", "M": "times", "S": "text", "U": "text"}
    assert found.kind == expected.get(kind, "numbers")
    assert found.num_values == 150


def test_times_have_a_range_of_dates_and_count_what_is_missing(tmp_path):
    values = np.array(["2020-01-05", "NaT", "1999-12-31"], "M8[D]")
    found = summary_of(tmp_path / "a.zarr.zip", values)
    assert (found.minimum, found.maximum, found.num_nan) == ("1999-12-31", "2020-01-05", 1)


def test_texts_have_lengths_and_structures_their_fields(tmp_path):
    found = summary_of(tmp_path / "a.zarr.zip", np.array(["", "abc", "de"]))
    assert (found.minimum, found.maximum, found.num_empty) == (0, 3, 1)
    values = np.zeros(5, [("a", "f4", (2,)), ("b", "U2"), ("c", "M8[s]")])
    values["a"][2, 1] = np.nan
    found = summary_of(tmp_path / "b.zarr.zip", values)
    assert {name: field.kind for name, field in found.fields.items()} == {
        "a": "numbers",
        "b": "text",
        "c": "times",
    }
    assert found.fields["a"].num_nan == 1


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        pytest.param(np.arange(40) % 4, ((0, 10), (1, 10), (2, 10), (3, 10)), id="integers"),
        pytest.param(np.array(["b", "a"] * 8), (("a", 8), ("b", 8)), id="strings"),
        pytest.param(np.array([True]), ((True, 1),), id="booleans"),
        pytest.param(np.eye(3, dtype="f4")[[0, 2, 2]], ((0, 1), (2, 2)), id="one-hot"),
        pytest.param(np.arange(40), None, id="numbers-of-samples"),
        pytest.param(np.linspace(0, 1, 40), None, id="floats"),
        pytest.param(np.ones((9, 2)), None, id="rows"),
    ],
)
def test_few_values_that_repeat_are_classes(tmp_path, values, classes):
    assert summary_of(tmp_path / "a.zarr.zip", values).classes == classes


def test_names_of_classes_make_any_integers_classes():
    tally = ClassTally(np.dtype(np.int64), ())
    tally.add(np.array([5, 7]))
    assert tally.counts() is None
    assert tally.counts(is_certain=True) == ((5, 1), (7, 1))


def test_a_sample_says_that_it_is_one(tmp_path):
    values = np.arange(40_000, dtype=np.int64).reshape(20_000, 2)
    path = write(tmp_path / "a.zarr.zip", x=values)
    with cs.open(path) as store:
        choice = choose_chunks(store["x"], nbytes=4 * chunk_nbytes(store["x"]))
        found = summarise(store["x"], choice, Remarks())
    assert not found.is_exact
    assert found.num_read_samples == 4 * store["x"].chunk_length
    # From all over the array.
    assert found.minimum < 10_000
    assert found.maximum > 30_000


def test_damage_is_left_out_and_told(tmp_path):
    path = damage(write(tmp_path / "a.zarr.zip", x=np.arange(9000)), "x/c/1")
    remarks = Remarks()
    with cs.open(path) as store:
        found = summarise(store["x"], choose_chunks(store["x"]), remarks)
        assert found.num_read_samples == 9000 - store["x"].chunk_length
    assert not found.is_exact
    assert len(remarks.damage) == 1


@pytest.mark.parametrize(
    ("values", "low", "high", "counts"),
    [
        pytest.param([3, 3, 5], 3, 5, [2, 0, 1], id="integers-have-a-bar-each"),
        pytest.param([7.5, 7.5], 7.5, 7.5, [2], id="constant"),
    ],
)
def test_histograms_of_few_values(values, low, high, counts):
    values = np.array(values)
    quantiles = tuple(np.quantile(values, QUANTILES, method="inverted_cdf").tolist())
    found = histogram_of(values, quantiles)
    assert (found.low, found.high, found.counts.tolist()) == (low, high, counts)


def test_one_outlier_does_not_make_one_bar_of_a_histogram():
    values = np.append(np.linspace(0, 1, 5000), 1e9)
    found = histogram_of(values, tuple(np.quantile(values, QUANTILES).tolist()))
    assert found.high <= 1
    assert np.count_nonzero(found.counts) > 30
    assert found.num_above >= 1


@pytest.mark.parametrize("shape", [(0,), (0, 4, 4), (3, 0)])
def test_nothing_has_no_range(tmp_path, shape):
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {"x": np.zeros(shape)})
    with cs.open(path) as store:
        found = summarise(store["x"], choose_chunks(store["x"]), Remarks())
    assert (found.minimum, found.num_values) == (None, 0)
