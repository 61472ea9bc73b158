"""A view reads like the arrays it stands for."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.pipeline.memory import MemorySource
from chunkstore.pipeline.view import SampleView, as_view, concat, select
from tests.pipeline.sources import images

INDICES = {
    "all": slice(None),
    "slice": (slice(2, 9), 1),
    "backwards": slice(None, None, -2),
    "one": 3,
    "last": (-1, slice(None), 2),
    "numbers": [5, 0, 0, -1],
    "pairs": ([0, 1], [2, 0]),
    "none": [],
    "more-axes": np.array([[0, 1], [2, 3]]),
    "dots": (..., 0),
}


def two_sets():
    """Return a view of some samples of a numpy array and of a source, and their values."""
    first, second = images(20, seed=1), images(30, seed=2)
    mask = np.arange(50) % 4 != 1
    sources = [{"x": first}, {"x": MemorySource("x", second, chunk_length=7)}]
    return concat(sources).select(mask), np.concatenate([first, second])[mask]


@pytest.mark.parametrize("key", INDICES.values(), ids=INDICES)
def test_an_index_gives_what_numpy_gives(key):
    view, values = two_sets()
    found = view["x"][key]
    assert np.array_equal(found, values[key])
    assert np.asarray(found).dtype == values.dtype


def test_a_view_describes_itself():
    view, values = two_sets()
    x = view["x"]
    assert (x.shape, x.dtype, x.ndim, len(x), x.nbytes) == (
        values.shape,
        values.dtype,
        3,
        len(values),
        values.nbytes,
    )
    assert np.array_equal(np.asarray(x), values)
    assert list(view) == ["x"]
    assert view.num_samples == len(values)
    assert repr(view) == "<chunkstore.SampleView of 37 of 50 samples, arrays=['x']>"
    assert repr(x) == "<chunkstore.ViewArray 'x' shape=(37, 3, 5) dtype=uint8>"


@given(st.lists(st.booleans(), max_size=40), st.data())
def test_parts_of_parts_and_sets_of_parts_keep_their_samples(mask, data):
    values = np.arange(len(mask))
    view = select({"y": values}, np.array(mask, bool))
    kept = values[np.array(mask, bool)]
    cut = data.draw(st.integers(0, len(kept)))
    halves = [view.select(slice(0, cut)), view.select(slice(cut, None))]
    assert concat(halves)["y"][:].tolist() == kept.tolist()
    assert concat([*halves, {"y": values}])["y"][:].tolist() == [*kept, *values]
    assert np.array_equal(values[view.numbers], kept)


def test_a_large_view_is_not_read_by_accident(tmp_path):
    cs.save(tmp_path / "a.zarr.zip", {"x": images(100)})
    with cs.open(tmp_path / "a.zarr.zip") as store:
        x = select(store, slice(0, 50))["x"]
        with cs.defaults(asarray_nbytes=100), pytest.raises(ValueError, match="takes 750 bytes"):
            np.asarray(x)
        assert np.asarray(x, "f4").dtype == np.float32


def test_a_fingerprint_tells_samples_and_data_apart():
    x = images(20)
    views = [select({"x": x}, slice(0, n)) for n in (5, 6)] + [select({"x": x + 1}, slice(0, 5))]
    assert len({view["x"].fingerprint for view in views}) == 3
    again = select({"x": MemorySource("x", x)}, slice(0, 5))
    assert again["x"].fingerprint == again.select(slice(None))["x"].fingerprint


def test_a_fraction_is_a_part_that_grows():
    view = as_view({"y": np.arange(10_000)})
    tenth, fifth = (set(view.select(fraction=f, seed=3).numbers.tolist()) for f in (0.1, 0.2))
    assert tenth < fifth
    assert 900 < len(tenth) < 1100
    assert view.select(fraction=1.0).num_samples == 10_000
    assert view.select(fraction=0.0).num_samples == 0


def test_a_pickled_view_is_the_same_view(tmp_path):
    cs.save(tmp_path / "a.zarr.zip", {"x": images(40)})
    with cs.open(tmp_path / "a.zarr.zip") as store:
        view = select(store, [1, 3, 30])
        with pickle.loads(pickle.dumps(view)) as copy:
            assert isinstance(copy, SampleView)
            assert np.array_equal(copy["x"][:], view["x"][:])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: select([1, 2], [0]), TypeError, "store or a dict of arrays .* got list"),
        (lambda: select({"x": [1, 2]}, [0]), TypeError, "array 'x' must be an array .* got list"),
        (lambda: select({}, [0]), ValueError, "there is no array of samples"),
        (
            lambda: select({"x": np.zeros(3), "y": np.zeros(4)}, [0]),
            ValueError,
            "equally many samples, got {'x': 3, 'y': 4}",
        ),
        (lambda: select({"x": np.zeros(3)}), ValueError, "needs either a slice"),
        (lambda: select({"x": np.zeros(3)}, [0], fraction=0.5), ValueError, "needs either"),
        (lambda: select({"x": np.zeros(3)}, fraction=2), ValueError, r"in \[0, 1\], got 2"),
        (lambda: select({"x": np.zeros(3)}, [5]), IndexError, "sample 5 is out of bounds"),
        (lambda: concat([]), ValueError, "at least one store"),
        (lambda: concat({"x": np.zeros(3)}), TypeError, "concat takes a list"),
        (
            lambda: concat([{"x": np.zeros((3, 2))}, {"x": np.zeros((3, 4))}]),
            ValueError,
            r"array 'x' has float64 of shape \(2,\) in the first, float64 of shape \(4,\)",
        ),
    ],
    ids=lambda value: None,
)
def test_what_makes_no_view_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_an_array_that_one_set_lacks_is_named():
    both = concat([{"x": np.zeros(3), "y": np.zeros(3)}, {"x": np.zeros(2)}])
    assert list(both) == ["x"]
    with pytest.raises(KeyError, match="no array 'y' of samples in source 1; there are 'x'"):
        both["y"]
