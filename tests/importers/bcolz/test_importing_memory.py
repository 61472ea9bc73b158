"""The memory that an import takes does not grow with its source."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.importers.bcolz.folders import write_carray, write_ctable
from tests.support import REPOSITORY

MOST_NBYTES = 256 << 20
# Imports are loaded before, and the peak is of this process alone.
PROGRAM = """
import sys
import chunkstore as cs
import chunkstore.importers.bcolz.importing

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) << 10

before = status("VmRSS")
report = cs.import_bcolz(sys.argv[1], sys.argv[2], threads=4)
print(report.nbytes, status("VmHWM") - before)
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def imported(folder, out):
    """Import in a fresh process; return decoded bytes and the peak above its start."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(out)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(map(int, done.stdout.split()))


def test_a_table_of_very_many_columns_takes_bounded_memory(tmp_path):
    names = [f"k{i}" for i in range(400)]
    folder = write_ctable(
        tmp_path / "t", {names[0]: np.arange(80_000) % 1000.0}, chunk_length=65_536
    )
    for name in names[1:]:
        shutil.copytree(folder / names[0], folder / name, copy_function=os.link)
    columns = ", ".join(f'"{name}"' for name in names)
    (folder / "__rootdirs__").write_text(f'{{"names": [{columns}]}}')
    nbytes, peak = imported(folder, tmp_path / "out.zarr.zip")
    assert nbytes == 400 * 80_000 * 8
    assert peak < MOST_NBYTES


def test_images_take_bounded_memory(tmp_path):
    values = np.arange(64 * 1024, dtype=np.uint8).reshape(16, 64, 64)
    folder = write_carray(tmp_path / "x", np.tile(values, (64, 1, 1)), chunk_length=1024)
    for i in range(1, 128):
        os.link(folder / "data" / "__0.blp", folder / "data" / f"__{i}.blp")
    (folder / "meta" / "sizes").write_text('{"shape": [131072, 64, 64], "nbytes": 0, "cbytes": 0}')
    nbytes, peak = imported(folder, tmp_path / "out.zarr.zip")
    assert nbytes == 512 << 20
    assert peak < MOST_NBYTES
