"""Do arrays that hold images look like them, and do strange pixels show?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.viewing.features import project
from chunkstore.viewing.images import ImageLayout, image_layout
from chunkstore.viewing.pictures import (
    Scaling,
    as_pixels,
    draw_pictures,
    scaling_of,
    shrink,
)
from chunkstore.viewing.sampling import Remarks, choose_chunks
from chunkstore.viewing.summary import summarise
from tests.viewing.files import write


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((2, 28, 28), "u1", ImageLayout("HW", 28, 28, 1)),
        ((2, 32, 48, 3), "u1", ImageLayout("HWC", 32, 48, 3)),
        ((2, 32, 48, 4), "u2", ImageLayout("HWC", 32, 48, 4)),
        ((2, 32, 48, 1), "f4", ImageLayout("HWC", 32, 48, 1)),
        ((2, 3, 32, 48), "f4", ImageLayout("CHW", 32, 48, 3)),
        ((2, 16, 16), "?", ImageLayout("HW", 16, 16, 1)),
        ((2, 784), "u1", None),
        ((2, 4, 4), "f4", None),
        ((2, 32, 48, 7), "f4", None),
        ((2, 500, 8), "f4", None),
        ((2, 28, 28), "c8", None),
        ((2, 8, 8, 8, 3), "u1", None),
        ((0, 28, 28), "u1", None),
        ((9,), "u1", None),
    ],
)
def test_shapes_that_look_like_images(tmp_path, shape, dtype, expected):
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {"x": np.zeros(shape, dtype)})
    with cs.open(path) as store:
        assert image_layout(store["x"]) == expected


@given(
    st.integers(6, 90),
    st.integers(6, 90),
    st.sampled_from(["HW", "HWC", "CHW"]),
    st.integers(4, 64),
    st.integers(0, 99),
)
def test_a_small_copy_keeps_the_mean_the_aspect_and_its_side(height, width, order, side, seed):
    channels = 1 if order == "HW" else 3
    shape = {"HW": (height, width), "HWC": (height, width, 3), "CHW": (3, height, width)}[order]
    sample = np.random.default_rng(seed).uniform(-5, 5, shape)
    layout = ImageLayout(order, height, width, channels)
    means, is_strange = shrink(sample, layout, side)
    assert means.shape[2] == channels
    assert max(means.shape[:2]) <= max(side, 1)
    assert not is_strange.any()
    assert means.min() >= sample.min() - 1e-9
    assert means.max() <= sample.max() + 1e-9
    if side >= max(height, width):
        np.testing.assert_allclose(means, layout.planes(sample))
    else:
        # Each side is rounded to whole pixels.
        wanted = height / width
        low = (means.shape[0] - 1) / (means.shape[1] + 1)
        high = (means.shape[0] + 1) / max(means.shape[1] - 1, 0.5)
        assert low <= wanted <= high or min(means.shape[:2]) == 1


def test_a_small_copy_of_a_literal_image():
    sample = np.array([[0.0, 2, 4, 6], [2, 4, 6, 8], [1, 1, 9, 9], [1, 1, 9, np.inf]])
    means, is_strange = shrink(sample, ImageLayout("HW", 4, 4, 1), 2)
    assert means[..., 0].tolist() == [[2.0, 6.0], [1.0, 9.0]]
    assert is_strange.tolist() == [[False, False], [False, True]]


def test_pixels_that_are_nan_or_infinite_are_magenta_and_others_keep_their_level():
    means = np.array([[[0.0], [1.0], [np.nan]]])
    pixels = as_pixels(means, np.array([[False, False, True]]), Scaling(0, 1, is_stretched=False))
    assert pixels.tolist() == [[[0, 0, 0], [255, 255, 255], [255, 0, 255]]]


def scaling(path, values):
    write(path, x=values)
    with cs.open(path) as store:
        found = summarise(store["x"], choose_chunks(store["x"]), Remarks())
    return scaling_of(values.dtype, found)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        pytest.param(np.full((3, 8, 8), 200, "u1"), 0, 255, id="bytes-are-shown-as-they-are"),
        pytest.param(np.eye(8, dtype="u1")[None] * 3, 0, 3, id="a-mask-is-stretched"),
        pytest.param(np.zeros((3, 8, 8), "u1"), 0, 255, id="black-stays-black"),
        pytest.param(np.linspace(0, 1, 192).reshape(3, 8, 8), 0, 1, id="shares-are-shares"),
        pytest.param(np.full((3, 8, 8), -2.0), -2, -2, id="constant"),
        pytest.param(np.full((3, 8, 8), np.nan), 0, 1, id="nothing-finite"),
        pytest.param(np.ones((3, 8, 8), bool), 0, 1, id="booleans"),
    ],
)
def test_black_and_white_follow_from_the_type_and_the_values(tmp_path, values, low, high):
    found = scaling(tmp_path / "a.zarr.zip", values)
    assert (found.low, found.high) == (low, high)


def test_one_outlier_does_not_make_a_float_image_black(tmp_path):
    values = np.random.default_rng(0).normal(0, 1, (50, 8, 8)).astype(np.float32)
    values[7, 0, 0] = 1e6
    found = scaling(tmp_path / "a.zarr.zip", values)
    assert -4 < found.low < -2
    assert 2 < found.high < 4


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2", "i4", "i8", "u8", "f2", "f4", "f8"])
def test_pictures_of_each_type_are_drawn(tmp_path, dtype):
    values = np.zeros((5, 8, 8), dtype)
    values[:, ::2] = 1 if dtype == "?" else np.dtype(dtype).type(100)
    path = write(tmp_path / "a.zarr.zip", x=values)
    with cs.open(path) as store:
        layout = image_layout(store["x"])
        pictures = draw_pictures(
            store["x"], np.array([0, 4]), layout, Remarks(), side=64, scaling=None
        )
    assert [picture.number for picture in pictures] == [0, 4]
    assert len(np.unique(pictures[0].pixels)) == 2


@pytest.mark.parametrize("extreme", [1e308, 3e38, 1e-320])
def test_extreme_values_make_pictures_without_warnings(tmp_path, extreme):
    values = np.full((4, 8, 8), extreme)
    values[:, :4] = -extreme
    path = write(tmp_path / "a.zarr.zip", x=values)
    with cs.open(path) as store:
        layout = image_layout(store["x"])
        (picture, *_) = draw_pictures(store["x"], np.array([0]), layout, Remarks(), side=64)
    assert picture.pixels[0, 0] == 0
    assert picture.pixels[7, 7] == 255


def test_principal_components_of_a_line_lie_on_a_line():
    along = np.linspace(-1, 1, 50)
    rows = np.stack([along, 5 * along, -1000 * along, np.full(50, 3.0)], axis=1)
    scatter = project(np.arange(50), rows, num_columns=4)
    assert scatter.explained[0] == pytest.approx(1)
    np.testing.assert_allclose(scatter.points[:, 1], 0, atol=1e-9)
    order = np.argsort(scatter.points[:, 0])
    assert order.tolist() in ([*range(50)], [*range(49, -1, -1)])


@given(st.integers(3, 20), st.integers(1, 12), st.integers(0, 99))
def test_principal_components_keep_variance_and_are_uncorrelated(count, width, seed):
    rows = np.random.default_rng(seed).normal(size=(count, width)) * np.arange(1, width + 1)
    scatter = project(np.arange(count), rows, num_columns=width)
    assert scatter.points.shape == (count, 2)
    np.testing.assert_allclose(scatter.points.mean(axis=0), 0, atol=1e-8)
    assert abs(scatter.points[:, 0] @ scatter.points[:, 1]) < 1e-6
    assert 0 <= scatter.explained[1] <= scatter.explained[0] <= 1 + 1e-12
    variance = (scatter.points**2).sum(axis=0)
    centred = rows - rows.mean(axis=0)
    if width <= 9:
        # The largest spread is less than ten times the median: nothing is brought down.
        exact = np.linalg.svd(centred)[1] ** 2
        first = [*exact[:2], 0.0][:2]
        np.testing.assert_allclose(scatter.explained, first / exact.sum(), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        variance[1] * scatter.explained[0], variance[0] * scatter.explained[1], atol=1e-9
    )


def test_rows_with_nan_are_left_out_and_counted():
    rows = np.random.default_rng(0).normal(size=(10, 4))
    rows[3, 1] = np.nan
    rows[5, 0] = np.inf
    scatter = project(np.arange(10), rows, num_columns=4)
    assert scatter.num_left_out == 2
    assert scatter.numbers.tolist() == [0, 1, 2, 4, 6, 7, 8, 9]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(np.zeros((5, 3)), id="constant"),
        pytest.param(np.full((5, 3), np.nan), id="nan"),
        pytest.param(np.ones((2, 3)), id="two-rows"),
        pytest.param(np.zeros((0, 3)), id="no-rows"),
    ],
)
def test_there_are_no_components_of_nothing(rows):
    assert project(np.arange(len(rows)), rows, num_columns=3) is None


def test_a_column_of_huge_numbers_does_not_hide_the_others():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 3)) * np.array([1e300, 1.0, 1e-300])
    scatter = project(np.arange(40), rows, num_columns=3)
    assert np.isfinite(scatter.points).all()
    # As if it spread ten times as much as the median column.
    assert 0.97 < scatter.explained[0] < 0.998
    assert abs(np.corrcoef(scatter.points[:, 1], rows[:, 1])[0, 1]) > 0.9
