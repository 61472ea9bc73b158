"""Claims about the commands that import arrays."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main
from tests.importers.cifar.test_cifar import members_of_10, write_archive
from tests.support import require


def run(*arguments):
    result = CliRunner().invoke(main, ["import", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def hdf5_file(tmp_path):
    h5py = require("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.arange(40, dtype="u1").reshape(20, 2)
        file["labels"] = np.arange(20) % 2
        file["mean"] = np.zeros(2)
    return tmp_path / "a.h5"


def test_hdf5_takes_names_paths_and_a_split(tmp_path, hdf5_file):
    out = tmp_path / "set"
    pairs = ("x=/images", "y=labels", "m=/mean")
    split = ("--split", "train=0.8,val=0.2", "--stratify", "y", "--shuffle", "--seed", "5")
    result = run("hdf5", hdf5_file, out, *pairs, "--beside", "m", *split, "--json")
    assert result.exit_code == 0
    reports = json.loads(result.stdout)["parts"]
    assert reports["train"]["num_samples"] + reports["val"]["num_samples"] == 20
    assert set(cs.load(out / "val.zarr.zip")) == {"x", "y", "m"}


def test_a_dry_run_writes_nothing_and_says_what_would_be(tmp_path, hdf5_file):
    out = tmp_path / "a.zarr.zip"
    result = run("hdf5", hdf5_file, out, "x=/images", "--dry-run")
    assert result.exit_code == 0
    assert "20 samples" in result.stdout
    assert "20x2" in result.stdout
    assert not out.exists()
    out.write_bytes(b"")
    result = run("hdf5", hdf5_file, out, "x=/images", "--dry-run", "--json")
    assert result.exit_code == 1
    assert "the file exists already" in json.loads(result.stdout)["refused"][0]


def test_wrong_usage_ends_with_2_and_one_line(tmp_path, hdf5_file):
    assert run("hdf5", hdf5_file).exit_code == 2
    result = run("hdf5", hdf5_file, tmp_path / "a.zarr.zip", "x=/no")
    assert result.exit_code == 2
    assert "there is no dataset '/no'" in result.stderr
    result = run("hdf5", hdf5_file, tmp_path / "s", "--split", "a=b", "x=/images")
    assert "the fraction of 'a' must be a number" in result.stderr


@pytest.mark.parametrize("command", ["hdf5", "npy", "raw", "zarr", "pickle", "cifar10", "parquet"])
def test_each_command_has_an_example_in_its_help(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"chunkstore import {command} " in result.stdout


def test_npy_takes_named_files_folders_and_arrays_of_an_npz_file(tmp_path):
    np.save(tmp_path / "i.npy", np.zeros((20, 3)))
    np.save(tmp_path / "l.npy", np.arange(20))
    np.savez(tmp_path / "a.npz", arr_0=np.zeros((20, 3)), arr_1=np.arange(20))
    sources = (f"x={tmp_path / 'i.npy'}", f"y={tmp_path / 'l.npy'}")
    assert run("npy", *sources, tmp_path / "a.zarr.zip").exit_code == 0
    pairs = ("x=arr_0", "y=arr_1")
    assert run("npy", tmp_path / "a.npz", tmp_path / "b.zarr.zip", *pairs).exit_code == 0
    assert (tmp_path / "a.zarr.zip").exists()
    for name in ("a", "b"):
        assert cs.load(tmp_path / f"{name}.zarr.zip")["y"].sum() == 190
    result = run("npy", tmp_path / "l.npy", tmp_path / "i.npy", tmp_path / "c.zarr.zip", "--stack")
    assert result.exit_code == 1
    assert "expected shape (20,)" in result.stderr


def test_raw_takes_a_shape(tmp_path):
    np.arange(12, dtype="<f4").tofile(tmp_path / "a.bin")
    options = ("--dtype", "<f4", "--shape", "2,3", "--name", "x")
    assert run("raw", tmp_path / "a.bin", tmp_path / "a.zarr.zip", *options).exit_code == 0
    assert cs.load(tmp_path / "a.zarr.zip")["x"].shape == (2, 2, 3)
    result = run(
        "raw", tmp_path / "a.bin", tmp_path / "b.zarr.zip", "--dtype", "f4", "--shape", "b"
    )
    assert "--shape is whole numbers" in result.stderr


@pytest.mark.leaves_open("zarr keeps an event loop for the life of the process")
def test_zarr_takes_paths_and_one_source(tmp_path):
    import zarr

    group = zarr.open_group(tmp_path / "a", mode="w")
    group.create_array("train/x", data=np.arange(20))
    assert run("zarr", tmp_path / "a", tmp_path / "a.zarr.zip", "x=train/x").exit_code == 0
    assert list(cs.load(tmp_path / "a.zarr.zip")) == ["x"]
    result = run("zarr", tmp_path / "a", tmp_path / "b", tmp_path / "c.zarr.zip")
    assert result.exit_code == 2


def test_cifar10_makes_a_folder_of_files(tmp_path):
    members = members_of_10()
    path = write_archive(tmp_path / "cifar-10-python.tar.gz", members)
    assert run("cifar10", path, tmp_path / "plan", "--dry-run").exit_code == 0
    assert run("cifar10", path, tmp_path / "set", "--size", "40").exit_code == 0
    assert cs.load(tmp_path / "set" / "test.zarr.zip")["x"].shape == (20, 40, 40, 3)
    assert not (tmp_path / "plan").exists()


def test_pickle_takes_paths(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(((np.zeros((5, 2)), np.arange(5)),)))
    pairs = ("x=0/0", "y=0/1")
    assert run("pickle", tmp_path / "a.pkl", tmp_path / "a.zarr.zip", *pairs).exit_code == 0
    assert cs.load(tmp_path / "a.zarr.zip")["y"].sum() == 10


def test_parquet_takes_columns(tmp_path):
    pa, pq = require("pyarrow"), require("pyarrow.parquet")
    pq.write_table(pa.table({"a": [1, 2], "b": [3, 4]}), tmp_path / "a.parquet")
    assert run("parquet", tmp_path / "a.parquet", tmp_path / "a.zarr.zip", "y=b").exit_code == 0
    assert cs.load(tmp_path / "a.zarr.zip")["y"].tolist() == [3, 4]
