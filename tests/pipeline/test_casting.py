"""Delivered values are the stored ones, or an error says which sample's is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chunkstore.pipeline.casting import check_range, may_overflow
from chunkstore.pipeline.loader import Loader
from chunkstore.pipeline.view import concat

INTEGERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]
FLOATS = ["f2", "f4", "f8"]


def load(values, dtype=None, **options):
    """Return the delivered samples in the order of the file."""
    options = {"batch_size": 7, "shuffle": False} | options
    with Loader({"y": values}, "y", dtype=dtype, **options) as loader:
        return np.concatenate([batch.copy() for batch in loader])


@given(st.data())
def test_integers_are_delivered_exactly_or_refused(data):
    origin, wanted = (np.dtype(data.draw(st.sampled_from(INTEGERS))) for _ in range(2))
    values = data.draw(hnp.arrays(origin, st.integers(1, 20)))
    if not np.can_cast(origin, wanted, "same_kind"):
        with pytest.raises(TypeError, match="without loss of its kind"):
            load(values, wanted)
        return
    limits = np.iinfo(wanted)
    fits = [limits.min <= int(value) <= limits.max for value in values]
    if all(fits):
        assert load(values, wanted).tolist() == values.tolist()
    else:
        first = fits.index(False)
        with pytest.raises(
            ValueError, match=rf"array 'y': sample \d+ has the value.*{wanted} holds"
        ):
            load(values, wanted)
        with pytest.raises(ValueError, match=f"sample {first} has the value {values[first]}, "):
            check_range("y", values, wanted, np.arange(len(values)))


@given(st.data())
def test_floats_are_rounded_but_never_become_infinite(data):
    origin, wanted = (np.dtype(data.draw(st.sampled_from(FLOATS))) for _ in range(2))
    values = data.draw(hnp.arrays(origin, st.integers(1, 20)))
    with np.errstate(over="ignore"):
        expected = values.astype(wanted)
    lost = np.abs(values) > np.finfo(wanted).max if may_overflow(origin, wanted) else False
    if (lost & np.isfinite(values)).any():
        with pytest.raises(ValueError, match=f"{wanted} holds"):
            load(values, wanted)
    elif np.array_equal(np.isinf(expected), np.isinf(values)):
        assert np.array_equal(load(values, wanted), expected, equal_nan=True)


def test_a_label_that_does_not_fit_is_named_with_its_sample():
    values = np.arange(200) % 100
    values[150] = 300
    with pytest.raises(ValueError, match=r"^array 'y': sample 150 has the value 300, int8 holds"):
        load(values, "i1")
    values[150] = 127
    assert load(values, "i1").tolist() == values.tolist()


def test_not_finite_values_stay_what_they_are():
    values = np.array([[1.0, np.nan], [np.inf, -np.inf], [65504.0, -1.0]])
    assert np.array_equal(load(values, "f2"), values.astype("f2"), equal_nan=True)
    with pytest.raises(ValueError, match=r"sample 1 has the value 70000.0, float16 holds"):
        load(np.array([[1.0, np.nan], [np.inf, 70000.0]]), "f2")
    with pytest.raises(ValueError, match=r"sample 0 has the value .*1e\+300.*, complex64 holds"):
        load(np.array([1e300j]), "c8")


def test_integers_that_half_precision_cannot_hold_are_refused():
    assert load(np.array([65000], "u4"), "f2").tolist() == [64992.0]
    with pytest.raises(ValueError, match="sample 0 has the value 70000"):
        load(np.array([70000], "u4"), "f2")


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([1000000]), "S3"),
        (np.array(["abcdef"]), "U2"),
        (np.array([b"abcdef"]), "S2"),
        (np.array([1.5]), "S2"),
        (np.array([1000000]), str),
        (np.array([7]), "m8[s]"),
        (np.array(["2020-01-01T01:02:03"], "M8[s]"), "M8[D]"),
        (np.array([1.5]), "i4"),
        (np.array([1j]), "f8"),
        (np.array([300]), bool),
    ],
    ids=str,
)
def test_conversions_that_lose_a_kind_are_refused_when_the_loader_is_made(values, dtype):
    with pytest.raises(TypeError, match=r"array 'y' is stored as .* without loss of its kind"):
        Loader({"y": values}, "y", batch_size=1, dtype=dtype)


def test_text_and_dates_may_become_wider():
    assert load(np.array(["ab", "abc"]), "U5").tolist() == ["ab", "abc"]
    days = np.array(["2020-01-01"], "M8[D]")
    assert load(days, "M8[s]").tolist() == days.astype("M8[s]").tolist()


@pytest.mark.parametrize("dtype", ["O", "no type", {"y": object}])
def test_a_type_that_cannot_be_delivered_names_the_array(dtype):
    with pytest.raises(TypeError, match="array 'y'"):
        Loader({"y": np.arange(3)}, "y", batch_size=1, dtype=dtype)


def test_a_transform_may_not_return_what_batches_cannot_hold():
    def masked(values):
        return np.ma.masked_equal(values, 3)

    def objects(values):
        return np.array([None] * len(values))

    with pytest.raises(TypeError, match="'y' returned a masked array, and batches have no masks"):
        Loader({"y": np.arange(9)}, "y", batch_size=3, transform={"y": masked})
    with pytest.raises(TypeError, match="array 'y' is transformed as object"):
        Loader({"y": np.arange(9)}, "y", batch_size=3, transform={"y": objects})


def test_a_transform_that_returns_another_type_than_at_first_is_checked_by_value():
    def wider(values):
        return values.astype("f4") if len(values) == 1 else values * 1e300

    with pytest.raises(ValueError, match=r"array 'y': sample 1 has the value 1e\+300, float32"):
        load(np.arange(9.0), transform={"y": wider})
    assert load(np.zeros(9), transform={"y": wider}).tolist() == [0.0] * 9


def test_the_sample_is_named_by_its_number_in_several_files():
    parts = [{"y": np.arange(5)}, {"y": np.array([1, 2, 999])}]
    with (
        Loader(concat(parts), "y", batch_size=4, dtype="i1") as loader,
        pytest.raises(ValueError, match="sample 7 has the value 999"),
    ):
        list(loader)
