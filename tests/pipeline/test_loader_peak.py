"""A loader stays within its memory, and 64 MiB, whatever the batches."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import chunkstore as cs
from tests.support import status_nbytes

MIB = 1 << 20
SAMPLE_SHAPE = (224, 224, 3)
NUM_SAMPLES = 3000

PROGRAM = """
import sys
import chunkstore as cs
from tests.support import status_nbytes
path, memory, batch_size, lanes, dtype = sys.argv[1:]
dtype = None if dtype == "as stored" else dtype
with cs.open(path) as store:
    before = status_nbytes("VmRSS")
    options = {"batch_size": int(batch_size), "lanes": int(lanes), "memory": memory, "dtype": dtype}
    with cs.Loader(store, "x", **options) as loader:
        count = 0
        for epoch in range(2):
            for batch in loader:
                # What a training step does: the batch is read.
                batch.max()
                count += len(batch)
    print(count, status_nbytes("VmHWM") - before)
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("peak") / "train.zarr.zip"
    with cs.create(path, arrays={"x": cs.ArraySpec("u1", SAMPLE_SHAPE)}, codec="lz4") as writer:
        for _ in range(NUM_SAMPLES // 100):
            writer.append(x=np.full((100, *SAMPLE_SHAPE), 7, np.uint8))
    return path


@pytest.mark.skipif(status_nbytes("VmHWM") is None, reason="this system does not tell the peak")
@pytest.mark.parametrize(
    ("memory", "batch_size", "lanes", "dtype"),
    [
        (64, 32, 1, "as stored"),
        (128, 384, 1, "as stored"),
        (128, 256, 4, "as stored"),
        (256, 128, 1, "f4"),
    ],
)
def test_the_peak_is_at_most_the_memory_and_64_mib(path, memory, batch_size, lanes, dtype):
    arguments = [path, f"{memory}MiB", batch_size, lanes, dtype]
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    count, peak = map(int, printed.split())
    assert count == 2 * NUM_SAMPLES
    assert peak <= (memory + 64) * MIB
    # It uses what it may: the test would not notice a loader that reads nothing ahead.
    assert peak >= memory * MIB // 4
