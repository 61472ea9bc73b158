"""Claims about exports to a disk that is too small: an error of ours, and what was there stays."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.exporting.hdf5_file import KeptErrors
from tests.support import REPOSITORY, require

# In a process of its own: a library that the refusal breaks may end it, also when it ends.
PROGRAM = """
import errno, sys
import numpy as np
import chunkstore as cs

values = np.random.default_rng(0).integers(0, 256, (6000, 1000), dtype="u1")
try:
    cs.export({"x": values, "y": np.arange(6000)}, sys.argv[1], overwrite=True)
except cs.ChunkStoreError as error:
    assert isinstance(error, OSError) and error.errno == errno.ENOSPC, repr(error)
    print(error)
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        reason = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        reason = str(error)
    if reason:
        print(f"skipped: no file system can be mounted here: {reason}")
        pytest.skip(f"no file system can be mounted here: {reason}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("room_nbytes", [0, 4096, 2_000_000, 3_000_000], ids=str)
@pytest.mark.parametrize("kind", ["h5", "npy", "npz", "zarr", "parquet", "arrow"])
def test_a_full_disk_is_an_error_and_what_was_there_stays(small_disk, kind, room_nbytes):
    require({"h5": "h5py", "parquet": "pyarrow", "arrow": "pyarrow"}.get(kind, "numpy"))
    out = small_disk / f"a.{kind}"
    if kind == "npy":
        # A folder, as of several arrays.
        out = small_disk / "a"
        cs.export({"x": np.arange(3), "y": np.arange(3)}, out, format="npy")
    else:
        cs.export({"x": np.arange(3)}, out)
    filled = small_disk / "filled"
    left = os.statvfs(small_disk)
    filled.write_bytes(bytes(max(0, left.f_bavail * left.f_frsize - room_nbytes)))
    before = {path: path.read_bytes() for path in small_disk.rglob("*") if path.is_file()}
    program = PROGRAM.replace("overwrite", "format='npy', overwrite") if kind == "npy" else PROGRAM
    done = subprocess.run(
        [sys.executable, "-c", program, out],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{out}: the export cannot be written: " in done.stdout
    assert "No space left on device" in done.stdout
    after = {path: path.read_bytes() for path in small_disk.rglob("*") if path.is_file()}
    assert after == before


class _Refusing:
    """A file that takes so many bytes."""

    def __init__(self, file, most_nbytes):
        self._file = file
        self._left = most_nbytes

    def write(self, data):
        count = min(len(data), self._left)
        if not count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._left -= count
        return self._file.write(data[:count])

    def __getattr__(self, name):
        return getattr(self._file, name)


def write_some(kept):
    """Write datasets and attributes, some of them twice."""
    with kept, require("h5py").File(kept, "w") as file:
        for i in range(20):
            file.create_dataset(f"g{i}/x", data=np.arange(1000), chunks=(100,), compression="gzip")
            file[f"g{i}"].attrs["text"] = "t" * 5000
            file.flush()
            file[f"g{i}/x"][50:250] = i


@pytest.mark.parametrize("most_nbytes", [0, 1, 100, 2048, 2049, 10_000, 50_000])
def test_wherever_the_system_refuses_hdf5_ends_well(tmp_path, most_nbytes):
    kept = KeptErrors(tmp_path / "a.h5")
    kept._file = _Refusing(kept._file, most_nbytes)
    with pytest.raises(OSError, match="No space left"):
        write_some(kept)
    with pytest.raises(OSError, match="No space left"):
        kept.check()


def test_a_file_that_is_written_whole_is_read_by_others(tmp_path):
    h5py = require("h5py")
    with KeptErrors(tmp_path / "a.h5") as kept, h5py.File(kept, "w") as file:
        file["x"] = np.arange(100_000)
        file["x"][5] = -1
        assert file["x"][:7].tolist() == [0, 1, 2, 3, 4, -1, 6]
        kept.check()
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["x"][-1] == 99_999
        assert file["x"][5] == -1
