"""Mean and spread of stored arrays are those of NumPy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.statistics import mean, std


@pytest.mark.parametrize("dtype", ["u1", "i4", "f2", "f4", "f8", "?"])
@pytest.mark.parametrize("per", ["channel", "image"])
def test_moments_are_those_of_numpy(tmp_path, dtype, per):
    rng = np.random.Generator(np.random.Philox(1))
    x = (rng.random((5000, 7, 5, 3)) * [1, 50, 100]).astype(dtype)
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {"x": x})
    axes = (0, 1, 2) if per == "channel" else (0,)
    with cs.open(path) as store:
        assert np.allclose(mean(store, "x", per=per), x.mean(axis=axes, dtype="f8"))
        assert np.allclose(std(store, "x", per=per), x.astype("f8").std(axis=axes))


def test_samples_of_one_number_have_one_mean():
    y = np.array([1.0, 2.0, 6.0])
    assert mean({"y": y}, "y").tolist() == 3.0
    assert np.allclose(std({"y": y}, "y"), y.std())


def test_a_spread_far_from_zero_keeps_its_digits():
    x = 1e9 + np.arange(400_000.0).reshape(-1, 2)
    assert np.allclose(std({"x": x}, "x"), x.std(axis=0), rtol=1e-9)


@pytest.mark.parametrize("per", ["channel", "image"])
def test_infinite_values_and_nan_are_as_numpy_has_them_without_a_warning(per):
    # Several batches, so that moments with and without them are joined both ways.
    x = np.random.Generator(np.random.Philox(4)).normal(size=(300_000, 5))
    x[5, 0] = np.inf
    x[-5, 1] = -np.inf
    x[7, 2], x[-7, 2] = np.inf, -np.inf
    x[150_000, 3] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = mean({"x": x}, "x", per=per), std({"x": x}, "x", per=per)
    with np.errstate(invalid="ignore"):
        assert np.allclose(found[0], x.mean(axis=0), equal_nan=True)
        assert np.allclose(found[1], x.std(axis=0), equal_nan=True)


@pytest.mark.parametrize("shape", [(4, 0), (4, 0, 3), (4, 3, 0)])
def test_samples_without_elements_have_no_mean(shape):
    for per in ("channel", "image"):
        with pytest.raises(ValueError, match=r"array 'x' has samples of shape \(.*no elements"):
            mean({"x": np.zeros(shape)}, "x", per=per)


def test_what_has_no_mean_is_refused():
    with pytest.raises(ValueError, match="array 'x' has no samples"):
        mean({"x": np.empty((0, 3))}, "x")
    with pytest.raises(TypeError, match="values of <U1, which have no mean"):
        mean({"x": np.array(["a"])}, "x")
    with pytest.raises(ValueError, match="per must be 'channel' or 'image', got 'pixel'"):
        mean({"x": np.ones((2, 3))}, "x", per="pixel")
