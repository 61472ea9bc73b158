"""Exported pictures are the stored ones, in folders of their classes."""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from tests.support import require

PIL_Image = require("PIL.Image")


def pictures(num_samples=30, shape=(7, 9, 3), dtype="u1"):
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, (num_samples, *shape), dtype=dtype)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((7, 9), "u1"),
        ((7, 9, 1), "u1"),
        ((7, 9, 2), "u1"),
        ((7, 9, 3), "u1"),
        ((7, 9, 4), "u1"),
        ((7, 9), "u2"),
        ((7, 9, 1), "u2"),
    ],
)
def test_every_pixel_is_as_stored(tmp_path, shape, dtype):
    x = pictures(shape=shape, dtype=dtype)
    cs.export({"x": x}, tmp_path / "out", format="images")
    files = sorted((tmp_path / "out").glob("*.png"))
    assert [file.name for file in files] == [f"{i:02d}.png" for i in range(30)]
    for file, picture in zip(files, x, strict=True):
        with PIL_Image.open(file) as image:
            assert np.array_equal(np.asarray(image), np.squeeze(picture)), file


def test_classes_are_folders_and_names_are_kept(tmp_path):
    x, y = pictures(), np.arange(30) % 3
    names = np.array([f"some/where/cat {i}.v2.jpeg" for i in range(30)])
    path = tmp_path / "a.zarr.zip"
    attributes = {"class_names": ["ant", "bee", "cow"]}
    cs.save(path, {"x": x, "y": y, "name": names}, attributes=attributes)
    cs.export(path, tmp_path / "out", format="images")
    for i in range(30):
        file = tmp_path / "out" / attributes["class_names"][y[i]] / f"cat {i}.v2.png"
        with PIL_Image.open(file) as image:
            assert np.array_equal(np.asarray(image), x[i])
    assert len(list((tmp_path / "out").rglob("*.png"))) == 30


def test_a_view_keeps_the_classes_that_it_has(tmp_path):
    data = {"x": pictures(), "y": np.arange(30) % 3}
    cs.export(cs.select(data, data["y"] == 2), tmp_path / "out", format="images")
    assert [found.name for found in (tmp_path / "out").iterdir() if found.is_dir()] == ["2"]


def test_the_names_of_other_labels_classes_are_not_taken(tmp_path):
    path = tmp_path / "a.zarr.zip"
    specs = {
        "x": cs.ArraySpec("u1", (7, 9, 3)),
        "y": cs.ArraySpec("i8"),
        "species": cs.ArraySpec("i8", attributes={"class_names": ["cat", "dog"]}),
    }
    attributes = {"class_names": ["cat", "dog"]}
    with cs.create(path, arrays=specs, attributes=attributes) as writer:
        writer.append(x=pictures(4), y=[0, 1, 1, 0], species=[1, 1, 0, 0])
    cs.export(path, tmp_path / "out", format="images")
    assert {found.name for found in (tmp_path / "out").iterdir() if found.is_dir()} == {"0", "1"}
    with cs.open(path) as store:
        view = store.select([1, 2])
        cs.export(view, tmp_path / "part", format="images")
    assert len(list((tmp_path / "part" / "1").iterdir())) == 2


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"x": pictures().astype("f4")}, cs.UnsupportedError, "of type float32 .* is no picture"),
        ({"x": pictures(shape=(7, 9, 5))}, cs.UnsupportedError, r"sample shape \(7, 9, 5\)"),
        ({"y": np.arange(3)}, ValueError, "one array of pictures, and there are none"),
        ({"a": pictures(), "b": pictures()}, ValueError, "there are 'a', 'b': name one with arr"),
        (
            {"x": pictures(2), "name": np.array(["a/b.jpg", "a/B.png"])},
            ValueError,
            "sample 1 has the name of another one: 'a/B.png'; call it otherwise in the array",
        ),
        ({"x": pictures(1), "name": np.array(["a/.."])}, ValueError, "'a/..', which no file"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path, arrays, error, message):
    with pytest.raises(error, match=message):
        cs.export(arrays, tmp_path / "out", format="images")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["..", "a/b", "", "c\\d"])
def test_a_class_name_that_leaves_the_folder_is_refused(tmp_path, name):
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {"x": pictures(2), "y": np.zeros(2, int)}, attributes={"class_names": [name]})
    with pytest.raises(ValueError, match="which no folder can have"):
        cs.export(path, tmp_path / "out", format="images")
    assert not (tmp_path / "out").exists()
