"""Claims about HDF5 files of Nervana neon, written as neon wrote them."""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from tests.support import require

h5py = require("h5py")
LSHAPE = (3, 4, 5)


def write_neon(path, *, num=40, labels=None, nclass=10, mean=None, lshape=LSHAPE, dtype="uint8"):
    """Write what neon's HDF5Iterator reads and return the flat inputs."""
    rng = np.random.default_rng(5)
    flat = rng.integers(0, 255, (num, int(np.prod(LSHAPE)))).astype(dtype)
    with h5py.File(path, "w") as file:
        file.create_dataset("input", data=flat, compression="lzf")
        file["input"].attrs["lshape"] = lshape
        if labels is not None:
            file.create_dataset("output", data=labels)
            if nclass is not None:
                file["output"].attrs["nclass"] = nclass
        if mean is not None:
            file.create_dataset("mean", data=mean)
    return flat


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape", [(-1, 1), (-1,)], ids=["column", "vector"])
def test_images_get_their_shape_and_labels_are_one_integer_a_sample(tmp_path, dtype, shape):
    labels = (np.arange(40) % 10).astype("uint8").reshape(shape)
    flat = write_neon(tmp_path / "a.h5", labels=labels, dtype=dtype)
    report = cs.import_hdf5(tmp_path / "a.h5", tmp_path / "a.zarr.zip")
    loaded = cs.load(report.path)
    assert loaded["input"].dtype == dtype
    # One sample a row, planes of channels one behind the other: neon's own view of a column.
    for i in (0, 17, 39):
        np.testing.assert_array_equal(loaded["input"][i], flat[i].reshape(LSHAPE))
    assert loaded["output"].shape == (40,)
    assert loaded["output"].dtype == np.uint8
    assert loaded["output"].tolist() == labels.reshape(-1).tolist()
    with cs.open(report.path) as store:
        assert store["input"].attributes["lshape"] == list(LSHAPE)
        assert store["output"].attributes["nclass"] == 10
        assert store.attributes["import"]["layout"] == "neon"


def test_labels_in_floats_become_integers(tmp_path):
    write_neon(tmp_path / "a.h5", labels=np.arange(40, dtype="float32").reshape(-1, 1), nclass=40)
    cs.import_hdf5(
        tmp_path / "a.h5", tmp_path / "a.zarr.zip", arrays={"y": "/output"}, layout="neon"
    )
    labels = cs.load(tmp_path / "a.zarr.zip")["y"]
    assert labels.dtype.kind == "i"
    assert labels.tolist() == list(range(40))


@pytest.mark.parametrize(
    ("label", "shown"), [(10, "10"), (-1, "-1"), (2.5, "2.5"), (np.nan, "nan")], ids=str
)
def test_a_label_outside_the_classes_is_named_with_its_sample(tmp_path, label, shown):
    labels = np.zeros((40, 1), "float32")
    labels[23] = label
    write_neon(tmp_path / "a.h5", labels=labels)
    message = rf"'/output': sample 23: the label must be .* in \[0, 10\), got {shown}"
    with pytest.raises(cs.FormatError, match=message):
        cs.import_hdf5(tmp_path / "a.h5", tmp_path / "a.zarr.zip")
    assert not (tmp_path / "a.zarr.zip").exists()


def test_targets_without_classes_stay_as_they_are(tmp_path):
    targets = np.random.default_rng(1).normal(size=(40, 4)).astype("float32")
    write_neon(tmp_path / "a.h5", labels=targets, nclass=None)
    cs.import_hdf5(tmp_path / "a.h5", tmp_path / "a.zarr.zip")
    np.testing.assert_array_equal(cs.load(tmp_path / "a.zarr.zip")["output"], targets)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((60,), LSHAPE), ((60, 1), LSHAPE), (LSHAPE, LSHAPE), ((3,), (3,)), ((3, 1), (3,))],
    ids=str,
)
def test_the_mean_is_kept_beside_the_samples(tmp_path, shape, expected):
    mean = np.random.default_rng(1).normal(size=shape)
    flat = write_neon(tmp_path / "a.h5", mean=mean)
    cs.import_hdf5(tmp_path / "a.h5", tmp_path / "a.zarr.zip")
    with cs.open(tmp_path / "a.zarr.zip") as store:
        assert store.num_samples == len(flat)
        np.testing.assert_array_equal(store["mean"][...], mean.reshape(expected))


BAD = {
    "lshape": ({"lshape": (3, 4, 4)}, r"lshape \(3, 4, 4\) has 48 elements, a sample has 60"),
    "negative": ({"lshape": (-3, 4, -5)}, "must be positive integers"),
    "mean": ({"mean": np.zeros(4)}, "a mean has 60 elements"),
    "nclass": ({"labels": np.zeros((40, 1)), "nclass": "ten"}, "'nclass' must be an integer"),
    "columns": ({"labels": np.zeros((40, 2))}, "nclass is 10, so a sample has one label"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_neons_is_named(tmp_path, changes, message):
    write_neon(tmp_path / "a.h5", **changes)
    with pytest.raises(cs.FormatError, match=message):
        cs.import_hdf5(tmp_path / "a.h5", tmp_path / "a.zarr.zip")


def test_the_plain_layout_leaves_neons_datasets_alone(tmp_path):
    labels = np.zeros((40, 1), "uint8")
    flat = write_neon(tmp_path / "a.h5", labels=labels)
    cs.import_hdf5(tmp_path / "a.h5", tmp_path / "a.zarr.zip", layout="plain")
    loaded = cs.load(tmp_path / "a.zarr.zip")
    np.testing.assert_array_equal(loaded["input"], flat)
    assert loaded["output"].shape == (40, 1)


def test_neon_that_was_asked_for_needs_its_input(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros((5, 2))
    with pytest.raises(cs.FormatError, match=r"layout='neon' needs a dataset '/input'.*are /x"):
        cs.import_hdf5(tmp_path / "a.h5", tmp_path / "a.zarr.zip", layout="neon")
