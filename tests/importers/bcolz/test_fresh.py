"""What bcolz writes today reads back equal."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from tests.importers.bcolz.kit import is_equal
from tests.support import REPOSITORY, require

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("bcolz") is None and sys.version_info >= (3, 13),
    reason="bcolz-zipline has no wheels for this Python",
)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    if importlib.util.find_spec("bcolz") is None:
        require("bcolz")
    folder = tmp_path_factory.mktemp("fresh")
    # Its warnings of old NumPy names would be errors here.
    program = Path(__file__).with_name("fresh.py")
    subprocess.run([sys.executable, program, folder], cwd=REPOSITORY, check=True, timeout=120)
    return folder


def test_every_fresh_carray_reads_equal(fresh):
    names = sorted(path.stem for path in fresh.glob("*.npy") if not path.stem.startswith("table"))
    assert len(names) == 30 + 9 + 4
    for name in names:
        truth = np.load(fresh / f"{name}.npy")
        with cs.open_bcolz(fresh / name) as store:
            assert is_equal(store[""][:], truth), name


def test_a_fresh_table_reads_equal_and_loads(fresh):
    with cs.open_bcolz(fresh / "table") as table:
        assert list(table) == ["a", "b", "c"]
        for name in "abc":
            assert is_equal(table[name][:], np.load(fresh / f"table-{name}.npy"))
        batches = list(cs.Loader(table, ("a", "b"), batch_size=32, seed=0))
        assert sorted(np.concatenate([a for a, _ in batches])) == sorted(
            np.load(fresh / "table-a.npy")
        )


def test_the_attributes_of_an_appended_array_are_read(fresh):
    with cs.open_bcolz(fresh / "appended") as store:
        assert store.attributes == {"unit": "mm"}
        assert len(store[""]) == 26


def test_a_trimmed_array_reads_as_bcolz_reads_it_with_a_warning(fresh):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store = cs.open_bcolz(fresh / "trimmed")
    with store:
        assert store[""][:].tolist() == list(range(50))
    assert "trim" in str(caught[0].message)
