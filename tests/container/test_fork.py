"""Do forked children and threads that share an open file all read right?"""

from __future__ import annotations

import os
import threading
import warnings

import numpy as np
import pytest

import chunkstore as cs
from chunkstore import system
from tests.container.zips import TABLES

NUM_CHUNKS, CHUNK = 200, 50
READS = 3000


def values():
    return np.random.default_rng(0).integers(0, 99, (NUM_CHUNKS * CHUNK, 4), np.int32)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("fork") / "a.zarr.zip"
    spec = cs.ArraySpec(np.dtype(np.int32), (4,), chunk_length=CHUNK)
    with cs.create(path, codec="lz4", arrays={"x": spec}) as w:
        w.append(x=values())
    return path


def read_random(array, wanted, *, seed, reads):
    """Return how many random chunks read other values."""
    wrong = 0
    reader = array.open_reader(direct=bool(seed % 2))
    out = np.empty((CHUNK, 4), np.int32)
    for chunk_index in np.random.default_rng(seed).integers(0, NUM_CHUNKS, reads).tolist():
        reader.read_chunk_into(chunk_index, out)
        start = chunk_index * CHUNK
        wrong += not np.array_equal(out, wanted[start : start + CHUNK])
    reader.close()
    return wrong


def read_in_threads(array, wanted, *, threads):
    wrong = []
    workers = [
        threading.Thread(
            target=lambda seed=seed: wrong.append(
                read_random(array, wanted, seed=seed, reads=READS // threads)
            )
        )
        for seed in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_file_opened_before_a_fork_is_read_right_by_children_and_threads(path):
    wanted = values()
    with cs.open(path) as store:
        array = store["x"]
        children = []
        for seed in (10, 11):
            with warnings.catch_warnings():
                # Some packages that another test imported keep threads.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    status = 0 if read_random(array, wanted, seed=seed, reads=READS) == 0 else 2
                finally:
                    os._exit(status)
            children.append(pid)
        assert read_in_threads(array, wanted, threads=4) == [0] * 4
        statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert statuses == [0, 0]


@pytest.mark.parametrize("table", TABLES)
def test_threads_read_right_on_every_table_of_calls(path, table):
    with system.replaced_calls(TABLES[table]()), cs.open(path) as store:
        assert read_in_threads(store["x"], values(), threads=4) == [0] * 4
