"""Claims about files of images of many sizes that become samples of one."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main
from tests.support import require

Image = require("PIL.Image")
require("simplejpeg")


def saved(folder, *arrays):
    folder.mkdir(exist_ok=True)
    for i, values in enumerate(arrays):
        np.save(folder / f"{i}.npy", values)
    return folder


def noise(shape, dtype):
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 100, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def test_colours_are_what_pillow_makes_of_them(tmp_path):
    images = [noise((30, 40, 3), "u1"), noise((50, 20, 3), "u1"), noise((8, 9, 3), "u1")]
    folder = saved(tmp_path / "scans", *images)
    cs.import_npy(folder, tmp_path / "a.zarr.zip", stack=True, size=(8, 9), shuffle=False)
    found = cs.load(tmp_path / "a.zarr.zip")
    assert found["x"].shape == (3, 8, 9, 3)
    for image, sample in zip(images, found["x"], strict=True):
        resized = Image.fromarray(image).resize((9, 8), Image.Resampling.BILINEAR)
        assert np.array_equal(sample, np.asarray(resized))
    assert np.array_equal(found["x"][2], images[2])


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "f2", "f4"])
@pytest.mark.parametrize("channels", [(), (1,), (2,), (4,)])
def test_every_type_keeps_its_values_by_nearest_neighbour(tmp_path, dtype, channels):
    image = noise((6, 4, *channels), dtype)
    folder = saved(tmp_path / "scans", image)
    cs.import_npy(folder, tmp_path / "a.zarr.zip", stack=True, size=(12, 8), resample="nearest")
    sample = cs.load(tmp_path / "a.zarr.zip")["x"][0]
    assert sample.dtype == image.dtype
    assert np.array_equal(sample, image.repeat(2, axis=0).repeat(2, axis=1))


def test_whole_numbers_are_rounded_and_stay_in_their_range(tmp_path):
    image = np.zeros((4, 4), "u2")
    image[:2] = 65535
    folder = saved(tmp_path / "scans", image, np.full((2, 2), 7, "u2"))
    options = {"stack": True, "size": (9, 9), "resample": "lanczos", "shuffle": False}
    cs.import_npy(folder, tmp_path / "a.zarr.zip", **options)
    first, second = cs.load(tmp_path / "a.zarr.zip")["x"]
    # The filter swings over: it is cut off, and does not turn round to the other end.
    assert first[:3].min() > 60000
    assert first[-3:].max() < 5000
    assert np.array_equal(second, np.full((9, 9), 7))


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_proportions_are_kept_where_asked(tmp_path, fit):
    folder = saved(tmp_path / "scans", np.full((10, 20), 5, "f4"))
    cs.import_npy(folder, tmp_path / "a.zarr.zip", stack=True, size=(10, 10), fit=fit)
    sample = cs.load(tmp_path / "a.zarr.zip")["x"][0]
    assert (sample[0, 0], sample[5, 5]) == ((0, 5) if fit == "pad" else (5, 5))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 40, 50), "u1"), r"shape \(3, 40, 50\) is none of an image.*stand last"),
        (np.zeros(7, "u1"), r"shape \(7,\) is none of an image"),
        (np.zeros((0, 5), "u1"), r"shape \(0, 5\) is none of an image"),
        (np.zeros((4, 4), "f8"), "arrays of type float64 are not resized, only uint8"),
        (np.zeros((4, 4, 2), "u1"), r"has shape \(8, 8, 2\).* expected shape \(8, 8\)"),
        (np.zeros((4, 4), "u2"), "dtype uint16, expected shape .* dtype uint8"),
    ],
)
def test_what_is_no_image_of_the_first_ones_kind_is_named(tmp_path, values, message):
    folder = saved(tmp_path / "scans", np.zeros((5, 6), "u1"), values)
    with pytest.raises(cs.ChunkStoreError, match=message) as caught:
        cs.import_npy(folder, tmp_path / "a.zarr.zip", stack=True, size=(8, 8))
    assert "1.npy" in str(caught.value)
    assert not (tmp_path / "a.zarr.zip").exists()
    options = {"stack": True, "size": (8, 8), "on_error": "skip"}
    report = cs.import_npy(folder, tmp_path / "a.zarr.zip", **options)
    assert [entry.name for entry in report.skipped] == ["1.npy"]


def test_resizing_goes_with_one_array_a_file(tmp_path):
    folder = saved(tmp_path / "scans", np.zeros((5, 6), "u1"))
    with pytest.raises(ValueError, match="size= goes with stack=True"):
        cs.import_npy(folder, tmp_path / "a.zarr.zip", size=(8, 8))
    np.savez(folder / "1.npz", x=np.zeros((5, 6), "u1"))
    with pytest.raises(cs.FormatError, match="the only array of an npy file, and this is npz"):
        cs.import_npy(folder, tmp_path / "a.zarr.zip", stack=True, size=(8, 8))


def test_an_import_with_another_filter_is_not_continued(tmp_path, monkeypatch):
    folder = saved(tmp_path / "scans", *[noise((5, 6), "u1")] * 4)
    out = tmp_path / "a.zarr.zip"
    (folder / "3.npy").write_bytes((folder / "3.npy").read_bytes()[:-1])
    options = {"stack": True, "size": (8, 8), "shuffle": False}
    with pytest.raises(cs.FormatError, match=r"3\.npy"):
        cs.import_npy(folder, out, **options)
    with pytest.raises(FileExistsError, match=r"resized\.resample: 'bilinear' there, 'box' here"):
        cs.import_npy(folder, out, **options, resample="box", on_error="skip")
    cs.import_npy(folder, out, **options, on_error="skip")
    with cs.open(out) as store:
        about = store.attributes["import"]["resized"]
    assert (about["size"], about["resample"]) == ([8, 8], "bilinear")


def test_the_command_line_resizes(tmp_path):
    folder = saved(tmp_path / "scans", noise((30, 40, 3), "u1"), noise((20, 10, 3), "u1"))
    out = str(tmp_path / "a.zarr.zip")
    arguments = ["import", "npy", str(folder), out, "--stack", "--size", "8x9", "--fit", "crop"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert cs.load(out)["x"].shape == (2, 8, 9, 3)
