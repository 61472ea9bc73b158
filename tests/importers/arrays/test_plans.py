"""Claims about the dry run of imports of arrays, and what is checked before samples are read."""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.importers.arrays.column import ForeignColumn
from chunkstore.importers.arrays.options import plan_source
from chunkstore.importers.arrays.samples import ArraySamples
from chunkstore.importers.npy import open_npy
from tests.support import require


@pytest.fixture
def source(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(20))
    return tmp_path / "x.npy"


REFUSED = {
    "empty part": {"split": {"a": 0.999, "b": 0.001}},
    "name of a part": {"split": {"a/b": 1.0}},
    "fractions": {"split": {"a": 0.9, "b": 0.9}},
    "stratify alone": {"stratify": "x"},
    "classes": {"split": {"a": 0.5, "b": 0.5}, "stratify": [0, 1]},
}


@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED.keys())
def test_the_dry_run_refuses_what_the_import_refuses(tmp_path, source, options):
    out = tmp_path / "out"
    plan = plan_source(open_npy, source, out, **options)
    assert not out.exists()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is compared below
        cs.import_npy(source, out, **options)
    assert plan.refused == (str(caught.value),)


def test_the_dry_run_of_a_split_takes_a_folder_that_is_not_there(tmp_path, source):
    plan = plan_source(open_npy, source, tmp_path / "out", split={"a": 0.5, "b": 0.5}, shuffle=True)
    assert plan.refused == ()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [{}, REFUSED["empty part"]], ids=["existing", "split"])
def test_nothing_is_decoded_for_an_order_before_the_import_is_checked(
    tmp_path, source, monkeypatch, options
):
    out = tmp_path / "a.zarr.zip"
    if not options:
        out.write_bytes(b"mine")
    monkeypatch.setattr(
        ArraySamples, "prepare_for_any_order", lambda *_: pytest.fail("samples were decoded")
    )
    with pytest.raises((FileExistsError, ValueError), match=r"exists already|gets none"):
        cs.import_npy(source, out, shuffle=True, **options)
    assert out.exists() == (not options)


def test_chunks_that_do_not_line_up_are_decoded_once_for_a_random_order(tmp_path, monkeypatch):
    h5py = require("h5py")
    for i, length in enumerate((45, 31, 24)):
        with h5py.File(tmp_path / f"{i}.h5", "w") as file:
            data = np.arange(length) + 100 * i
            file.create_dataset("x", data=data, chunks=(10,), compression="gzip")
    read, num_read = ForeignColumn.read_into, []

    def counted(self, start, stop, out):
        num_read.append(stop - start)
        read(self, start, stop, out)

    monkeypatch.setattr(ForeignColumn, "read_into", counted)
    paths = [tmp_path / f"{i}.h5" for i in range(3)]
    cs.import_hdf5(paths, tmp_path / "a.zarr.zip", shuffle=True)
    assert sorted(num_read) == [24, 31, 45]
    expected = [*range(45), *range(100, 131), *range(200, 224)]
    assert sorted(cs.load(tmp_path / "a.zarr.zip")["x"].tolist()) == expected


@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "file"])
def test_groups_of_rows_of_any_length_are_decoded_once_for_a_random_order(
    tmp_path, monkeypatch, in_memory
):
    pa = require("pyarrow")
    pq = require("pyarrow.parquet")
    from chunkstore.importers.parquet_file import RowGroups

    if not in_memory:
        monkeypatch.setattr("chunkstore.importers.arrays.samples._IN_MEMORY_NBYTES", 10)
    table = pa.table({"x": np.arange(100), "t": [f"{i}" for i in range(100)]})
    with pq.ParquetWriter(tmp_path / "a.parquet", table.schema) as writer:
        for start, stop in ((0, 7), (7, 60), (60, 62), (62, 100)):
            writer.write_table(table.slice(start, stop - start))
    read, seen = RowGroups._read, []

    def counted(self, group, column):
        seen.append((group, column))
        return read(self, group, column)

    monkeypatch.setattr(RowGroups, "_read", counted)
    cs.import_parquet(tmp_path / "a.parquet", tmp_path / "a.zarr.zip", shuffle=True)
    # Text is read once more, for the longest.
    assert len([group for group, column in seen if column == "x"]) == 4
    assert len([group for group, column in seen if column == "t"]) <= 8
    loaded = cs.load(tmp_path / "a.zarr.zip")
    assert [str(x) for x in loaded["x"]] == loaded["t"].tolist()
    assert sorted(loaded["x"].tolist()) == list(range(100))


def test_the_source_is_never_replaced_by_what_is_imported(tmp_path):
    source = tmp_path / "x.npy"
    np.save(source, np.arange(6))
    content = source.read_bytes()
    for given in ({"x": source}, source):
        with pytest.raises(ValueError, match="this is what is imported; name another file"):
            cs.import_npy(given, source, overwrite=True)
    (tmp_path / "link.npy").symlink_to(source)
    with pytest.raises(ValueError, match="this is what is imported"):
        cs.import_npy({"x": source}, tmp_path / "link.npy", overwrite=True)
    assert source.read_bytes() == content
