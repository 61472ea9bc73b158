"""Claims about stored arrays as dask arrays, and dask arrays as one file."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import chunkstore as cs
from tests.support import REPOSITORY, require

require("dask")

import dask.array as da  # noqa: E402

pytestmark = pytest.mark.leaves_open("dask keeps a pool of threads")


def arrays(count=500):
    rng = np.random.Generator(np.random.Philox(3))
    return {
        "x": rng.integers(0, 40, (count, 16, 16, 3), dtype=np.uint8),
        "y": np.arange(count),
        "when": np.arange(count).astype("M8[D]"),
    }


@pytest.fixture
def store(tmp_path):
    cs.save(tmp_path / "a.zarr.zip", arrays(), chunk_nbytes=16 * 16 * 3 * 20)
    with cs.open(tmp_path / "a.zarr.zip") as opened:
        yield opened


def test_a_dask_array_has_the_values_and_its_blocks_are_whole_chunks(store):
    for name, array in arrays().items():
        lazy = store[name].to_dask()
        assert lazy.dtype == array.dtype
        assert np.array_equal(lazy.compute(), array)
    from chunkstore.adapters.dask import to_dask

    lazy = to_dask(store["x"], block_nbytes=16 * 16 * 3 * 50)
    assert lazy.chunks[0] == (40,) * 12 + (20,)
    assert lazy.chunks[1:] == ((16,), (16,), (3,))


@pytest.mark.parametrize(
    "key",
    [
        np.s_[5:77, 3, ::2],
        np.s_[::7],
        np.s_[300:10:-3, ..., 1],
        np.s_[[4, 499, 4]],
        np.s_[123],
        np.s_[20:20],
    ],
    ids=str,
)
def test_indices_of_a_dask_array_are_those_of_numpy(store, key):
    assert np.array_equal(store["x"].to_dask()[key].compute(), arrays()["x"][key])


def test_equal_arrays_have_equal_names_and_nothing_is_read_to_make_one(store):
    first, second = store["x"].to_dask(), store["x"].to_dask()
    assert first.name == second.name
    assert first.name != store["y"].to_dask().name


def test_processes_read_the_file_themselves(store):
    lazy = store["x"].to_dask()
    total = lazy.sum(dtype="u8").compute(scheduler="processes", num_workers=2)
    assert total == arrays()["x"].sum(dtype="u8")


def test_without_a_client_dask_arrays_are_written_block_by_block(tmp_path):
    data = arrays()
    lazy = {
        "x": da.from_array(data["x"], chunks=(33, 8, -1, -1)),
        "y": da.from_array(data["y"], chunks=70),
        "when": data["when"],
    }
    cs.from_dask(tmp_path / "b.zarr.zip", lazy, codec="lz4", attributes={"a": 1})
    with cs.open(tmp_path / "b.zarr.zip") as store:
        assert store.attributes == {"a": 1}
        for name, array in data.items():
            assert np.array_equal(store[name][...], array)


def test_a_scalar_has_no_blocks(tmp_path):
    with cs.create(tmp_path / "a.zarr.zip") as writer:
        writer.append(y=np.arange(3))
    with (
        cs.open(tmp_path / "a.zarr.zip") as store,
        pytest.raises(ValueError, match="got a scalar"),
    ):
        cs.from_dask(tmp_path / "b.zarr.zip", {"y": store["y"].to_dask().sum()})


CLUSTER = """
import os, signal, sys
from pathlib import Path
import numpy as np
import dask
import dask.array as da
from distributed import Client, LocalCluster
import chunkstore as cs

folder = Path(sys.argv[1])

def block(rows, block_info=None):
    mark = folder / "killed"
    first = block_info[None]["array-location"][0][0]
    if sys.argv[2] == "kill" and first >= 2000 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[2] == "fail" and first >= 2000:
        raise RuntimeError("this block cannot be computed")
    rng = np.random.Generator(np.random.Philox(int(first)))
    return rng.integers(0, 40, (len(rows), 64, 64), dtype=np.uint8)

if __name__ == "__main__":
    rows = da.arange(6000, chunks=500)
    x = rows[:, None, None].map_blocks(block, dtype="u1", chunks=(rows.chunks[0], (64,), (64,)))
    lazy = {"x": x, "y": rows}
    if sys.argv[2] == "direct":
        cs.save(folder / "direct.zarr.zip", lazy, typesize=2)
        sys.exit()
    dask.config.set({"distributed.worker.daemon": False})
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            cs.from_dask(folder / "out.zarr.zip", lazy, typesize=2)
"""


def run_cluster(folder, what):
    script = folder / "cluster.py"
    script.write_text(CLUSTER)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, str(script), str(folder), what],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("what", ["plain", "kill"])
def test_a_cluster_writes_what_one_machine_writes_even_if_a_worker_is_killed(tmp_path, what):
    require("distributed")
    result = run_cluster(tmp_path, what)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "killed").exists() == (what == "kill")
    assert run_cluster(tmp_path, "direct").returncode == 0
    with (
        cs.open(tmp_path / "out.zarr.zip") as store,
        cs.open(tmp_path / "direct.zarr.zip") as direct,
    ):
        for name in ("x", "y"):
            assert np.array_equal(store[name][...], direct[name][...])
            assert store[name].chunk_shape == direct[name].chunk_shape
            # Equal encoded chunks, in the same order.
            assert store[name].fingerprint == direct[name].fingerprint
    assert cs.verify(tmp_path / "out.zarr.zip").ok
    left = {path.name for path in tmp_path.iterdir()} - {"killed", "cluster.py"}
    assert left == {"out.zarr.zip", "direct.zarr.zip"}


def test_an_error_on_a_worker_reaches_the_caller_and_leaves_nothing(tmp_path):
    require("distributed")
    result = run_cluster(tmp_path, "fail")
    assert result.returncode == 1
    assert "RuntimeError: this block cannot be computed" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"cluster.py"}
