"""What does a shuffle read, write and hold in memory?"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import chunkstore as cs
from tests.support import status_nbytes

MIB = 1 << 20
NUM_SAMPLES = 1600
SAMPLE_SHAPE = (224, 224, 3)
NBYTES = NUM_SAMPLES * 224 * 224 * 3

PROGRAM = """
import json, sys
import chunkstore as cs
import chunkstore.rewriting.shuffling
from chunkstore import system
from tests.support import status_nbytes
path, out, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
cores = options.pop("cores", None)
if cores is not None:
    type(system.calls).available_cores = lambda calls: cores
with cs.open(path) as store:
    next(iter(store.values()))[:1]

def io():
    with open("/proc/self/io") as file:
        return {k: int(v) for k, v in (line.split(": ") for line in file)}

resident, before = status_nbytes("VmRSS"), io()
report = cs.shuffle(path, out, progress=False, **options)
peak, after = status_nbytes("VmHWM") - resident, io()
print(json.dumps({
    "peak": peak,
    "read": after["rchar"] - before["rchar"],
    "written": after["wchar"] - before["wchar"],
    "scratch": report.scratch_nbytes,
    "file": report.file_nbytes,
    "source": report.source_nbytes,
}))
"""

pytestmark = pytest.mark.skipif(
    status_nbytes("VmHWM") is None, reason="this system does not tell the peak"
)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    path = tmp_path_factory.mktemp("cost") / "wide.zarr.zip"
    block = np.random.default_rng(0).integers(0, 255, (100, *SAMPLE_SHAPE), dtype=np.uint8)
    with cs.create(path, codec="raw") as writer:
        for i in range(NUM_SAMPLES // 100):
            writer.append(x=block, y=np.arange(100 * i, 100 * i + 100))
    return path


@pytest.fixture(scope="module")
def large_chunks(tmp_path_factory):
    """The same in chunks of 4 MiB, whose encoding takes a while."""
    path = tmp_path_factory.mktemp("cost") / "large.zarr.zip"
    block = np.random.default_rng(0).integers(0, 255, (100, *SAMPLE_SHAPE), dtype=np.uint8)
    with cs.create(path, codec="lz4", level=1, chunk_nbytes=4 * MIB) as writer:
        for i in range(NUM_SAMPLES // 100):
            writer.append(x=block, y=np.arange(100 * i, 100 * i + 100))
    return path


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """Four million samples of a few bytes."""
    path = tmp_path_factory.mktemp("cost") / "narrow.zarr.zip"
    count = 1 << 22
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((count, 4), "f4"), "y": np.arange(count) % 10}
    cs.save(path, arrays, codec="lz4", level=1)
    return path


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    """Forty columns, each in chunks of 1 MiB that end at the same samples."""
    path = tmp_path_factory.mktemp("cost") / "columns.zarr.zip"
    rng = np.random.default_rng(0)
    with cs.create(path, codec="lz4", level=1) as writer:
        for _ in range(3):
            block = {f"x{i}": rng.integers(0, 255, 200_000).astype("f4") for i in range(40)}
            writer.append_mapping(block)
    return path


def cost_of(path, out, **options):
    try:
        printed = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(path), str(out), json.dumps(options)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        return json.loads(printed)
    finally:
        out.unlink(missing_ok=True)


@pytest.mark.parametrize("memory", [64, 96])
def test_the_peak_is_at_most_the_memory_and_64_mib(wide, tmp_path, memory):
    cost = cost_of(wide, tmp_path / "out.zarr.zip", memory=f"{memory}MiB")
    assert cost["scratch"] > NBYTES
    assert cost["peak"] <= (memory + 64) * MIB
    # It uses what it may: the test would not notice one that goes sample by sample.
    assert cost["peak"] >= memory * MIB // 2


@pytest.mark.parametrize(
    "options", [{"memory": "64MiB"}, {"memory": "512MiB"}, {"memory": "64MiB", "quick": True}]
)
def test_the_peak_holds_for_millions_of_tiny_samples(narrow, tmp_path, options):
    cost = cost_of(narrow, tmp_path / "out.zarr.zip", **options)
    memory = int(options["memory"].removesuffix("MiB"))
    assert cost["peak"] <= (memory + 64) * MIB
    assert (cost["scratch"] > 0) == (options == {"memory": "64MiB"})


def test_quick_stays_in_its_memory_too(wide, tmp_path):
    cost = cost_of(wide, tmp_path / "out.zarr.zip", memory="64MiB", quick=True)
    assert cost["peak"] <= (64 + 64) * MIB


def test_many_arrays_stay_in_the_memory(columns, tmp_path):
    cost = cost_of(columns, tmp_path / "out.zarr.zip", memory="112MiB", cores=2)
    assert cost["scratch"] > 0
    assert cost["peak"] <= (112 + 64) * MIB


@pytest.mark.parametrize("quick", [False, True], ids=["exact", "quick"])
@pytest.mark.parametrize("cores", [2, 16, 32])
def test_large_chunks_and_many_cores_stay_in_the_memory(large_chunks, tmp_path, cores, quick):
    options = {"memory": "64MiB", "quick": quick, "cores": cores}
    cost = cost_of(large_chunks, tmp_path / "out.zarr.zip", **options)
    assert cost["peak"] <= (64 + 64) * MIB


@pytest.mark.parametrize("quick", [False, True], ids=["exact", "quick"])
def test_many_cores_stay_in_the_memory_with_chunks_of_the_usual_size(wide, tmp_path, quick):
    options = {"memory": "64MiB", "quick": quick, "cores": 16, "codec": "lz4"}
    assert cost_of(wide, tmp_path / "out.zarr.zip", **options)["peak"] <= (64 + 64) * MIB


@pytest.mark.parametrize(
    ("options", "times"),
    [
        pytest.param({"memory": "64MiB"}, 2, id="exact"),
        pytest.param({"memory": "64MiB", "quick": True}, 1, id="quick"),
        pytest.param({"memory": "512MiB"}, 1, id="in-memory"),
    ],
)
def test_each_byte_is_read_and_written_so_often(wide, tmp_path, options, times):
    cost = cost_of(wide, tmp_path / "out.zarr.zip", verify=False, **options)
    # One part in twenty for directories, sample numbers and chunks that are cut.
    assert times * NBYTES <= cost["read"] <= 1.05 * times * NBYTES
    assert times * NBYTES <= cost["written"] <= 1.05 * times * NBYTES
