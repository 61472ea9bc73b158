"""Is the element size of shuffling a person's to choose, and does every reader read the result?"""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

import chunkstore as cs
from tests.support import require

IMAGES = np.random.default_rng(0).integers(0, 50, (40, 12, 10, 3), dtype=np.uint8)
BOXES = np.arange(160, dtype=np.float32).reshape(40, 4)
LABELS = np.arange(40)


@pytest.fixture(params=["none", "byte", "bit"])
def path(request, tmp_path):
    path = tmp_path / "a.zarr.zip"
    with cs.create(path, typesize=3, shuffle=request.param, chunk_nbytes=4000) as writer:
        writer.append(x=IMAGES, box=BOXES, y=LABELS)
    return path


def typesize_of(path, name):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(f"{name}/zarr.json"))["codecs"][-1]["configuration"][
            "typesize"
        ]


def test_that_of_a_file_is_for_arrays_whose_samples_hold_whole_elements(path):
    assert typesize_of(path, "x") == 3
    assert typesize_of(path, "y") == 8
    assert typesize_of(path, "box") == 4


def test_the_file_reads_back_and_is_sound(path):
    assert cs.verify(path).ok
    with cs.open(path) as store, cs.Loader(store, ("x", "y"), batch_size=7) as loader:
        assert np.array_equal(store["x"][...], IMAGES)
        for x, y in loader:
            assert np.array_equal(x, IMAGES[y])


@pytest.mark.leaves_open("the event loop of zarr-python")
def test_zarr_python_reads_it(path):
    zarr = require("zarr")
    with zarr.storage.ZipStore(path, mode="r") as store:
        group = zarr.open_group(store, mode="r")
        assert np.array_equal(group["x"][...], IMAGES)
        assert np.array_equal(group["box"][...], BOXES)


def test_tensorstore_reads_it(path):
    tensorstore = require("tensorstore")
    base = {"driver": "file", "path": str(path)}
    kvstore = {"driver": "zip", "base": base, "path": "x/"}
    array = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, open=True).result()
    assert np.array_equal(array.read().result(), IMAGES)


def test_a_spec_and_put_have_their_own(tmp_path):
    path = tmp_path / "a.zarr.zip"
    specs = {"x": cs.ArraySpec("u1", (12, 10, 3), typesize=3), "box": cs.ArraySpec("f4", (4,))}
    with cs.create(path, arrays=specs) as writer:
        writer.append(x=IMAGES, box=BOXES)
        writer.put("mean", IMAGES, aligned=False, typesize=30)
    assert [typesize_of(path, name) for name in ("x", "box", "mean")] == [3, 4, 30]


def test_elements_of_pixels_make_a_file_of_colours_smaller(tmp_path):
    rng = np.random.default_rng(1)
    grid = np.add.outer(np.arange(24), np.arange(24))
    planes = [grid * step + offset for step, offset in ((3, 0), (5, 70), (2, 180))]
    images = np.stack(planes, axis=-1)[None] + rng.integers(0, 40, (600, 1, 1, 1))
    images = (images + rng.integers(0, 2, images.shape)).astype(np.uint8)
    sizes = {}
    for typesize in (1, 3):
        path = tmp_path / f"{typesize}.zarr.zip"
        cs.save(path, {"x": images}, typesize=typesize)
        with cs.open(path) as store:
            sizes[typesize] = store["x"].encoded_nbytes
    assert sizes[3] < sizes[1]


@pytest.mark.parametrize("typesize", [0, 256, -1, 2.5, True, "3"])
def test_a_typesize_that_cannot_be_is_refused(tmp_path, typesize):
    with pytest.raises(ValueError, match="typesize must be a whole number from 1 to 255"):
        cs.create(tmp_path / "a.zarr.zip", typesize=typesize)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("dtype", "typesize"), [("u1", 7), ("f4", 3), ("f4", 6)])
def test_a_spec_whose_samples_hold_no_whole_elements_is_refused(dtype, typesize):
    with pytest.raises(ValueError, match=r"typesize must be a multiple of \d bytes that divides"):
        cs.ArraySpec(dtype, (4, 3), typesize=typesize)
