"""Claims about exports that are interrupted: no crash, no file, no half of one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from chunkstore.exporting.apart import run_apart
from chunkstore.exporting.hdf5_file import KeptErrors
from tests.support import REPOSITORY, require

# Told when the file is begun, so that the interrupt comes while it is written.
PROGRAM = """
import sys, threading, time
from pathlib import Path
import numpy as np
import chunkstore as cs

out = Path(sys.argv[1])
values = np.random.default_rng(0).integers(0, 256, (6000, 1000), dtype="u1")

def tell():
    while not (out.with_name(out.name + ".export.partial") / out.name).exists():
        time.sleep(0.001)
    print("begun", flush=True)

import h5py
threading.Thread(target=tell, daemon=True).start()
try:
    cs.export({f"x{i}": values for i in range(9)}, out, compression="gzip")
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("num_signals", "seed"), [(1, 0), (1, 1), (1, 2), (1, 3), (200, 0)])
def test_interrupts_while_hdf5_writes_end_without_a_crash(tmp_path, num_signals, seed):
    require("h5py")
    out = tmp_path / "a.h5"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, out],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "begun\n"
    rng = random.Random(seed)
    for _ in range(num_signals):
        time.sleep(rng.uniform(0, 0.2 / num_signals))
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert not out.exists()
    if num_signals == 1:
        assert (process.returncode, errors) == (130, "")
        assert list(tmp_path.iterdir()) == []
    # Of very many some come when the process ends, as Python says then: with 1, 130 or SIGINT's.
    assert process.returncode in {1, 130, -signal.SIGINT}, errors
    assert "Segmentation fault" not in errors


@pytest.mark.parametrize("method", ["seek", "write", "readinto"])
@pytest.mark.parametrize("which", [0, 1, 2, 5, 20, 50])
def test_an_interrupt_in_a_call_of_hdf5_is_raised_behind_it(tmp_path, monkeypatch, method, which):
    h5py = require("h5py")
    kept = KeptErrors(tmp_path / "a.h5")
    inner, calls = kept._file, []

    class Interrupted:
        def __getattr__(self, name):
            if name == method:
                calls.append(name)
                if len(calls) == which + 1:
                    raise KeyboardInterrupt
            return getattr(inner, name)

    kept._file = Interrupted()
    was_interrupted = False
    try:
        with kept, h5py.File(kept, "w") as file:
            for i in range(20):
                file.create_dataset(f"g{i}/x", data=np.arange(1000), chunks=(100,))
                file.flush()
                file[f"g{i}/x"][50:250] = i
    except KeyboardInterrupt:
        was_interrupted = True
    assert was_interrupted == (len(calls) > which)
    # HDF5 found in the file what it wrote: else it could not close it, and ended the process later.
    with h5py.File(tmp_path / "a.h5") as file:
        assert len(file) == 20
        for i in range(20):
            expected = np.arange(1000)
            expected[50:250] = i
            np.testing.assert_array_equal(file[f"g{i}/x"], expected)


def test_work_apart_raises_what_it_raised_and_stops_where_it_may():
    with pytest.raises(KeyError, match="here"):
        run_apart(lambda check: {}["here"])
    done = []
    run_apart(lambda check: (check(), done.append(threading.current_thread().name)))
    assert done == ["chunkstore-export"]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_is_raised_once_the_work_has_stopped():
    steps = []

    def work(check):
        for step in range(1000):
            steps.append(step)
            if step == 3:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            check()

    with pytest.raises(KeyboardInterrupt):
        run_apart(work)
    assert 4 <= len(steps) < 1000
    assert all(thread.name != "chunkstore-export" for thread in threading.enumerate())
