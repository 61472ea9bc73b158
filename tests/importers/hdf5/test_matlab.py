"""Claims about files of MATLAB 7.3, written with the layout and attributes that MATLAB writes."""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from tests.support import require

h5py = require("h5py")


def write_matlab(path, variables, *, chunks=None):
    """Write variables, given as MATLAB indexes them, the way `save -v7.3` does."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            kind = {"bool": "logical", "float64": "double", "float32": "single"}.get(
                value.dtype.name, value.dtype.name
            )
            data = value.T.astype("u1") if kind == "logical" else value.T
            dataset = file.create_dataset(name, data=data, chunks=chunks, compression="gzip")
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
            if kind == "logical":
                dataset.attrs["MATLAB_int_decode"] = np.int32(1)
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024"
    with path.open("r+b") as file:
        file.write(head.ljust(116) + bytes(8) + b"\x00\x02IM")


def test_images_keep_the_axes_of_matlab_and_samples_come_first(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (5, 6, 3, 20), dtype="uint8")  # MATLAB's size H x W x C x N
    labels = rng.integers(1, 11, (20, 1)).astype("float64")
    write_matlab(tmp_path / "a.mat", {"X": images, "y": labels, "good": labels > 5})
    cs.import_hdf5(tmp_path / "a.mat", tmp_path / "a.zarr.zip")
    loaded = cs.load(tmp_path / "a.zarr.zip")
    assert loaded["X"].shape == (20, 5, 6, 3)
    for n in range(20):
        np.testing.assert_array_equal(loaded["X"][n], images[:, :, :, n])
    np.testing.assert_array_equal(loaded["y"], labels[:, 0])
    assert loaded["good"].dtype == bool
    np.testing.assert_array_equal(loaded["good"], labels[:, 0] > 5)


@pytest.mark.parametrize("chunks", [None, True])
def test_rows_of_a_matrix_are_samples_where_its_labels_say_so(tmp_path, chunks):
    features = np.random.default_rng(0).normal(size=(20, 7)).astype("float32")
    write_matlab(tmp_path / "a.mat", {"f": features, "y": np.arange(20.0)[None]}, chunks=chunks)
    cs.import_hdf5(tmp_path / "a.mat", tmp_path / "a.zarr.zip")
    loaded = cs.load(tmp_path / "a.zarr.zip")
    np.testing.assert_array_equal(loaded["f"], features)
    np.testing.assert_array_equal(loaded["y"], np.arange(20.0))


def test_an_axis_that_cannot_be_told_is_asked_for(tmp_path):
    cube = np.random.default_rng(0).normal(size=(8, 3, 8))
    write_matlab(tmp_path / "a.mat", {"x": cube})
    with pytest.raises(ValueError, match="x: 8x3x8; say sample_axis='first'"):
        cs.import_hdf5(tmp_path / "a.mat", tmp_path / "a.zarr.zip")
    cs.import_hdf5(tmp_path / "a.mat", tmp_path / "first.zarr.zip", sample_axis="first")
    np.testing.assert_array_equal(cs.load(tmp_path / "first.zarr.zip")["x"], cube)
    cs.import_hdf5(tmp_path / "a.mat", tmp_path / "last.zarr.zip", sample_axis="last")
    np.testing.assert_array_equal(
        cs.load(tmp_path / "last.zarr.zip")["x"], np.moveaxis(cube, -1, 0)
    )


def test_text_and_empty_variables_are_noted_and_refused_when_asked_for(tmp_path):
    write_matlab(tmp_path / "a.mat", {"x": np.zeros((10, 1)), "m": np.ones((2, 3))})
    with h5py.File(tmp_path / "a.mat", "r+") as file:
        file["title"] = np.array([[72], [105]], "u2")
        file["title"].attrs["MATLAB_class"] = np.bytes_("char")
        file["none"] = np.array([0, 0], "u8")
        file["none"].attrs["MATLAB_class"] = np.bytes_("double")
        file["none"].attrs["MATLAB_empty"] = np.uint8(1)
        file.create_group("#refs#")["a"] = np.zeros(3)
    report = cs.import_hdf5(
        tmp_path / "a.mat", tmp_path / "b.zarr.zip", arrays=["x", "m"], beside=["m"]
    )
    np.testing.assert_array_equal(cs.load(report.path)["m"], np.ones((2, 3)))
    with h5py.File(tmp_path / "a.mat", "r+") as file:
        del file["m"]
    report = cs.import_hdf5(tmp_path / "a.mat", tmp_path / "a.zarr.zip")
    assert list(cs.load(report.path)) == ["x"]
    assert any("'/title' is a MATLAB char" in note for note in report.notes)
    assert any("'/none' is empty" in note for note in report.notes)
    with pytest.raises(cs.UnsupportedError, match="'/title' is a MATLAB char"):
        cs.import_hdf5(tmp_path / "a.mat", tmp_path / "c.zarr.zip", arrays=["title"])


def test_single_variables_become_attributes_and_logicals_beside_stay_so(tmp_path):
    mask = np.array([[True, False], [False, True]])
    variables = {
        "x": np.arange(20.0).reshape(10, 2),
        "y": np.arange(10.0)[:, None],
        "scale": np.array([[0.5]]),
        "flag": np.array([[True]]),
        "mask": mask,
    }
    write_matlab(tmp_path / "a.mat", variables)
    cs.import_hdf5(tmp_path / "a.mat", tmp_path / "a.zarr.zip", beside=["mask"])
    with cs.open(tmp_path / "a.zarr.zip") as store:
        assert set(store) == {"x", "y", "mask"}
        assert store.attributes["scale"] == 0.5
        assert store.attributes["flag"] is True
        assert store["mask"].dtype == bool
        np.testing.assert_array_equal(store["mask"][...], mask)
    write_matlab(tmp_path / "b.mat", {"y": np.array([[7.0]]), "z": np.array([[1.0]])})
    cs.import_hdf5(tmp_path / "b.mat", tmp_path / "b.zarr.zip")
    assert cs.load(tmp_path / "b.zarr.zip")["y"].tolist() == [7.0]


def test_what_stands_beside_and_does_not_decode_is_named(tmp_path):
    write_matlab(tmp_path / "a.mat", {"x": np.zeros((10, 1)), "m": np.ones((30, 30))})
    with h5py.File(tmp_path / "a.mat", "r") as file:
        offset = file["m"].id.get_chunk_info(0).byte_offset
    raw = bytearray((tmp_path / "a.mat").read_bytes())
    raw[offset + 4] ^= 255
    (tmp_path / "a.mat").write_bytes(raw)
    with pytest.raises(cs.CorruptionError, match=r"a\.mat: dataset '/m' cannot be read"):
        cs.import_hdf5(tmp_path / "a.mat", tmp_path / "a.zarr.zip", beside=["m"])


def test_a_file_of_an_older_format_is_told_as_such(tmp_path):
    scipy_io = require("scipy.io")
    scipy_io.savemat(tmp_path / "a.mat", {"x": np.arange(3)})
    with pytest.raises(cs.FormatError, match=r"before 7\.3, which is no HDF5; save it with '-v7"):
        cs.import_hdf5(tmp_path / "a.mat", tmp_path / "a.zarr.zip")
