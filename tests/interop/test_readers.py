"""Do other programs read what we write, with equal values and without a warning?"""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile

import numpy as np
import pytest

import chunkstore as cs
from tests.interop.files import FILES

# zarr and fsspec keep an event loop for the life of the process.
pytestmark = pytest.mark.leaves_open("event loops of zarr and fsspec")


@pytest.fixture(params=FILES.values(), ids=FILES, scope="module")
def file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("interop") / "a.zarr.zip"
    return path, request.param(path)


def check(got, expected):
    assert set(got) == set(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype, name
        np.testing.assert_array_equal(got[name], array, err_msg=name)


def arrays_of(group):
    """Return all arrays of a zarr group by path."""
    return {
        path: node[...] for path, node in group.members(max_depth=None) if hasattr(node, "dtype")
    }


def test_chunkstore_itself_reads_it(file):
    path, arrays = file
    check(cs.load(path), arrays)


def test_zarr_python_reads_it_from_a_zip_store(file, require):
    zarr = require("zarr")
    path, arrays = file
    with zarr.storage.ZipStore(path, mode="r") as store:
        check(arrays_of(zarr.open_group(store, mode="r")), arrays)
        # Without the consolidated copy as well.
        group = zarr.open_group(store, mode="r", use_consolidated=False)
        assert group.attrs["chunkstore"]["complete"] is True
        for name, array in arrays.items():
            np.testing.assert_array_equal(group[name][...], array)


def test_the_view_that_the_store_hands_out_is_zarr_pythons(file, require):
    require("zarr")
    path, arrays = file
    with cs.open(path) as store:
        view = store.zarr()
        check(arrays_of(view), arrays)
        view.store.close()


def test_zarr_python_reads_it_through_fsspec(file, require):
    zarr, fsspec = require("zarr"), require("fsspec")
    path, arrays = file
    files = fsspec.filesystem("zip", fo=str(path), asynchronous=False)
    mapping = fsspec.FSMap("", files)
    root = json.loads(mapping["zarr.json"])
    assert root["node_type"] == "group"
    store = zarr.storage.FsspecStore.from_url(f"zip://::{path}", read_only=True)
    check(arrays_of(zarr.open_group(store, mode="r")), arrays)


def test_xarray_reads_it_with_names_for_the_axes(file, require):
    xarray, zarr = require("xarray"), require("zarr")
    path, arrays = file
    with zarr.storage.ZipStore(path, mode="r") as store:
        with xarray.open_zarr(store, consolidated=True) as data:
            top = {name: array for name, array in arrays.items() if "/" not in name}
            check({name: data[name].values for name in data.variables}, top)
            for name in top:
                assert data[name].dims[0] in ("sample", f"{name}_0")
        if "deep/y" in arrays:
            with xarray.open_zarr(store, group="deep") as data:
                np.testing.assert_array_equal(data["y"].values, arrays["deep/y"])


def test_tensorstore_reads_it_with_its_zip_driver(file, require):
    tensorstore = require("tensorstore")
    path, arrays = file
    for name, array in arrays.items():
        spec = {
            "driver": "zarr3",
            "kvstore": {
                "driver": "zip",
                "base": {"driver": "file", "path": str(path)},
                "path": f"{name}/",
            },
        }
        opened = tensorstore.open(spec, read=True, open=True).result()
        got = opened.read().result()
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


def test_zipfile_finds_nothing_wrong_and_no_name_twice(file):
    path, _ = file
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == len(set(archive.namelist()))


def test_unzip_finds_nothing_wrong(file):
    unzip = shutil.which("unzip")
    if unzip is None:
        pytest.skip("there is no unzip here")
    done = subprocess.run([unzip, "-t", str(file[0])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No errors detected" in done.stdout
    assert "warning" not in done.stdout + done.stderr


def test_unzip_gives_a_directory_store_that_zarr_python_reads(file, tmp_path, require):
    zarr = require("zarr")
    path, arrays = file
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "a.zarr")
    check(arrays_of(zarr.open_group(tmp_path / "a.zarr", mode="r")), arrays)


# --------------------------------------------------------------------------- zarrita.js

ZARRITA = ("zarrita@0.7.5", "@zarrita/storage@0.2.0")
SCRIPT = """
import fs from "node:fs";
import * as zarr from "zarrita";
import ZipFileStore from "@zarrita/storage/zip";
const [path, ...names] = process.argv.slice(2);
const store = ZipFileStore.fromBlob(new Blob([fs.readFileSync(path)]));
const root = await zarr.open.v3(store, { kind: "group" });
const result = {};
for (const name of names) {
  const array = await zarr.open.v3(root.resolve(name), { kind: "array" });
  const { data, shape } = await zarr.get(array);
  result[name] = { shape, data: Array.from(data, (v) => Number(v)) };
}
console.log(JSON.stringify(result));
"""


@pytest.fixture(scope="module")
def zarrita(tmp_path_factory):
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("there is no node with npm here")
    folder = tmp_path_factory.mktemp("zarrita")
    command = [npm, "install", "--no-audit", "--no-fund", "--no-save", *ZARRITA]
    try:
        subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip(f"npm cannot install {' '.join(ZARRITA)} here: no network?")
    (folder / "read.mjs").write_text(SCRIPT)
    return lambda *arguments: json.loads(
        subprocess.run(
            [node, str(folder / "read.mjs"), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
    )


def test_zarrita_reads_it(file, zarrita):
    path, arrays = file
    # JavaScript has no complex numbers, and float16 only lately.
    wanted = {n: a for n, a in arrays.items() if a.dtype.kind != "c" and a.dtype != "f2"}
    small = {n: a for n, a in wanted.items() if a.dtype != "int64" or abs(a).max() < 2**53}
    got = zarrita(str(path), *small)
    for name, array in small.items():
        assert got[name]["shape"] == list(array.shape)
        np.testing.assert_array_equal(
            np.array(got[name]["data"], "f8").reshape(array.shape), array.astype("f8")
        )
