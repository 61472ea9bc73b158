"""Do all imports take the bytes that Blosc's shuffle moves?"""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main

pytestmark = pytest.mark.leaves_open("the event loop of zarr-python")

RGB = (np.arange(60 * 8 * 8 * 3) % 251).astype("u1").reshape(60, 8, 8, 3)
Y = np.arange(60, dtype="u1")


def typesizes(path):
    with zipfile.ZipFile(path) as archive:
        return {
            name: json.loads(archive.read(f"{name}/zarr.json"))["codecs"][-1]["configuration"][
                "typesize"
            ]
            for name in ("x", "y")
        }


def from_npy(folder, out, **options):
    np.save(folder / "x.npy", RGB)
    np.save(folder / "y.npy", Y)
    cs.import_npy({"x": folder / "x.npy", "y": folder / "y.npy"}, out, **options)


def from_zarr_zip(folder, out, **options):
    cs.save(folder / "in.zarr.zip", {"x": RGB, "y": Y}, overwrite=True)
    cs.import_zarr(folder / "in.zarr.zip", out, **options)


def from_iterable(folder, out, **options):
    cs.from_iter(zip(RGB, Y, strict=True), out, **options)


def by_command(folder, out, **options):
    np.savez(folder / "a.npz", x=RGB, y=Y)
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    result = CliRunner().invoke(main, ["import", "npy", str(folder / "a.npz"), str(out), *words])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("bring", [from_npy, from_zarr_zip, from_iterable, by_command])
def test_a_typesize_is_for_the_arrays_whose_samples_hold_whole_elements_of_it(tmp_path, bring):
    bring(tmp_path, tmp_path / "plain.zarr.zip")
    bring(tmp_path, tmp_path / "three.zarr.zip", typesize=3)
    assert typesizes(tmp_path / "plain.zarr.zip") == {"x": 1, "y": 1}
    assert typesizes(tmp_path / "three.zarr.zip") == {"x": 3, "y": 1}
    for name, values in cs.load(tmp_path / "three.zarr.zip").items():
        assert np.array_equal(values, {"x": RGB, "y": Y}[name])


def test_a_typesize_that_no_file_can_hold_is_refused_and_leaves_no_file(tmp_path):
    np.save(tmp_path / "x.npy", RGB)
    with pytest.raises(ValueError, match="typesize must be a whole number from 1 to 255, got 0"):
        cs.import_npy(tmp_path / "x.npy", tmp_path / "out.zarr.zip", typesize=0)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


@pytest.mark.parametrize(
    ("options", "told"), [({"typesize": 5}, "no array"), ({"typesize": 3, "codec": "gzip"}, "gzip")]
)
def test_a_typesize_without_effect_is_told(tmp_path, options, told):
    np.save(tmp_path / "x.npy", RGB)
    report = cs.import_npy(tmp_path / "x.npy", tmp_path / "out.zarr.zip", **options)
    (note,) = [note for note in report.notes if "typesize" in note]
    assert "has no effect" in note
    assert told in note
