"""Claims about parquet and arrow files, against pyarrow and pandas."""

from __future__ import annotations

import datetime
import itertools
import json

import numpy as np
import pytest

import chunkstore as cs
from tests.support import require

pa = require("pyarrow")
pq = require("pyarrow.parquet")
feather = require("pyarrow.feather")

N = 100
RNG = np.random.default_rng(0)
NUMBERS = {
    **{
        f"{kind}{bits}": np.arange(N).astype(f"{kind}{bits // 8}")
        for kind in "iu"
        for bits in (8, 16, 32, 64)
    },
    **{f"f{bits}": RNG.normal(size=N).astype(f"f{bits // 8}") for bits in (16, 32, 64)},
    "bool": np.arange(N) % 3 == 0,
    "time": np.arange(N).astype("M8[us]"),
    "span": np.arange(N).astype("m8[ms]"),
    "date": np.arange(N).astype("M8[D]"),
}


def write(path, table, **options):
    if path.suffix == ".parquet":
        pq.write_table(table, path, **options)
    elif path.suffix == ".feather":
        feather.write_feather(table, path, chunksize=options.get("row_group_size"))
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=options.get("row_group_size"))


@pytest.mark.parametrize("ending", ["parquet", "arrow", "feather"])
@pytest.mark.parametrize("rows", [7, 1000], ids=["groups", "group"])
def test_columns_of_numbers_and_times_keep_type_and_value(tmp_path, ending, rows):
    path = tmp_path / f"a.{ending}"
    write(path, pa.table(NUMBERS), row_group_size=rows)
    cs.import_parquet(path, tmp_path / "a.zarr.zip", threads=3, chunk_length=16)
    loaded = cs.load(tmp_path / "a.zarr.zip")
    table = feather.read_table(path) if ending == "feather" else None
    assert table is None or table.num_rows == N
    for name, values in NUMBERS.items():
        assert loaded[name].dtype == values.dtype
        np.testing.assert_array_equal(loaded[name], values)


def test_lists_tensors_text_and_bytes_become_arrays(tmp_path):
    x = RNG.normal(size=(N, 3, 4)).astype("f4")
    texts = [f"text {'ü' * (i % 5)}" for i in range(N)]
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(x)
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 12)
    table = pa.table(
        {
            "tensor": tensor,
            "fixed": fixed,
            "lists": x.reshape(N, 12).tolist(),
            "nested": x.tolist(),
            "text": texts,
            "category": pa.array(texts).dictionary_encode(),
            "code": pa.array([b"%03d" % i for i in range(N)], pa.binary(3)),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=13)
    cs.import_parquet(tmp_path / "a.parquet", tmp_path / "a.zarr.zip")
    loaded = cs.load(tmp_path / "a.zarr.zip")
    np.testing.assert_array_equal(loaded["tensor"], x)
    np.testing.assert_array_equal(loaded["fixed"], x.reshape(N, 12))
    np.testing.assert_array_equal(loaded["lists"], x.reshape(N, 12).astype("f8"))
    np.testing.assert_array_equal(loaded["nested"], x.astype("f8"))
    assert loaded["text"].tolist() == loaded["category"].tolist() == texts
    assert loaded["code"].tolist() == [b"%03d" % i for i in range(N)]


def test_a_table_of_pandas_comes_over_with_columns_chosen(tmp_path):
    pandas = require("pandas")
    frame = pandas.DataFrame({"a": np.arange(N), "b": RNG.normal(size=N), "c": ["k"] * N})
    frame.to_parquet(tmp_path / "a.parquet")
    cs.import_parquet(tmp_path / "a.parquet", tmp_path / "a.zarr.zip", arrays={"y": "b"})
    loaded = cs.load(tmp_path / "a.zarr.zip")
    assert list(loaded) == ["y"]
    np.testing.assert_array_equal(loaded["y"], pandas.read_parquet(tmp_path / "a.parquet")["b"])


def test_files_of_a_folder_follow_each_other_and_split(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for i in range(12):
        table = pa.table({"n": np.arange(10 * i, 10 * i + 10), "t": [f"{i}"] * 10})
        pq.write_table(table, folder / f"part-{i}.parquet", row_group_size=4)
    cs.import_parquet(folder, tmp_path / "a.zarr.zip")
    loaded = cs.load(tmp_path / "a.zarr.zip")
    assert loaded["n"].tolist() == list(range(120))
    assert loaded["t"][-1] == "11"
    reports = cs.import_parquet(
        folder, tmp_path / "set", split={"train": 0.7, "val": 0.3}, shuffle=True, stratify="t"
    )
    parts = [cs.load(report.path) for report in reports.values()]
    assert sorted(np.concatenate([part["n"] for part in parts]).tolist()) == list(range(120))
    for part in parts:
        assert [str(n // 10) for n in part["n"]] == part["t"].tolist()


def test_bytes_of_one_size_and_missing_times_come_over(tmp_path):
    table = pa.table(
        {
            "code": pa.array([b"ab\0\0", b"\xff\0\1\2", b"\0" * 4], pa.binary(4)),
            "codes": pa.array([[b"a\0", b"bc"]] * 3, pa.list_(pa.binary(2), 2)),
            "time": pa.array([1, None, 3], pa.timestamp("us")),
            "span": pa.array([None, 2, 3], pa.duration("ms")),
            "date": pa.array([None, 2, 3], pa.date32()),
            "times": pa.array([[1, None], [3, 4], [None, 6]], pa.list_(pa.timestamp("ms"), 2)),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    cs.import_parquet(tmp_path / "a.parquet", tmp_path / "a.zarr.zip")
    expected = {
        "code": np.array([b"ab", b"\xff\0\1\2", b""], "S4"),
        "codes": np.array([[b"a", b"bc"]] * 3, "S2"),
        "time": np.array([1, "NaT", 3], "M8[us]"),
        "span": np.array(["NaT", 2, 3], "m8[ms]"),
        "date": np.array(["NaT", "1970-01-03", "1970-01-04"], "M8[D]"),
        "times": np.array([[1, "NaT"], [3, 4], ["NaT", 6]], "M8[ms]"),
    }
    loaded = cs.load(tmp_path / "a.zarr.zip")
    for name, values in expected.items():
        assert loaded[name].dtype == values.dtype
        assert loaded[name].tobytes() == values.tobytes(), name


BAD = {
    "null-list": (
        {"x": pa.array([[1, 2], None], pa.list_(pa.timestamp("s"), 2))},
        cs.UnsupportedError,
        "column 'x': the value of row 1 is missing",
    ),
    "binary": ({"x": [b"a", b"bc"]}, cs.UnsupportedError, "column 'x' is binary"),
    "null": ({"x": [1, 2, None]}, cs.UnsupportedError, "column 'x': the value of row 2 is missing"),
    "null-text": ({"x": ["a", None]}, cs.UnsupportedError, "column 'x': sample 1 is missing"),
    "null-in-list": ({"x": [[1, 2], [3, None]]}, cs.UnsupportedError, "list of row 1 is missing"),
    "ragged": (
        {"x": [[1], [2], [3, 4]]},
        ValueError,
        "row 2 has a list of 2 values, the first row 1",
    ),
    "ragged-inside": (
        {"x": [[[1], [2]], [[3], [4, 5]]]},
        ValueError,
        "row 1 has a list of 2 values",
    ),
    "struct": ({"x": [{"a": 1}]}, cs.UnsupportedError, "column 'x' is struct<a: int64>"),
    "time": ({"x": [datetime.time(1)]}, cs.UnsupportedError, "column 'x' is time64"),
}


@pytest.mark.parametrize(("content", "error", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_no_array_is_named_with_column_and_row(tmp_path, content, error, message):
    pq.write_table(pa.table(content), tmp_path / "a.parquet")
    with pytest.raises(error, match=message):
        cs.import_parquet(tmp_path / "a.parquet", tmp_path / "a.zarr.zip")
    assert not (tmp_path / "a.zarr.zip").exists()


def test_a_damaged_page_and_what_is_no_parquet_are_named(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"x": RNG.integers(0, 1 << 40, 5000)})
    pq.write_table(table, path, write_page_checksum=True, use_dictionary=False)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(cs.CorruptionError, match=r"a\.parquet: rows \[0, 5000\) cannot be read"):
        cs.import_parquet(path, tmp_path / "a.zarr.zip")
    path.write_bytes(raw[:100])
    with pytest.raises(cs.FormatError, match=r"a\.parquet"):
        cs.import_parquet(path, tmp_path / "a.zarr.zip")
    path.write_bytes(b"text")
    with pytest.raises(cs.FormatError, match=r"a\.parquet"):
        cs.import_parquet(path, tmp_path / "a.zarr.zip")
    with pytest.raises(FileNotFoundError, match=r"b\.parquet"):
        cs.import_parquet(tmp_path / "b.parquet", tmp_path / "a.zarr.zip")


def test_files_with_other_columns_are_named(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [1.5]}), tmp_path / "b.parquet")
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    with pytest.raises(ValueError, match=r"b\.parquet: column 'x' is double, in .*int64"):
        cs.import_parquet(paths, tmp_path / "a.zarr.zip")
    with pytest.raises(KeyError, match="no column 'z', only x"):
        cs.import_parquet(paths[0], tmp_path / "a.zarr.zip", arrays=["z"])


@pytest.mark.parametrize("axes", [(1, 0, 2), (0, 2, 1), (2, 1, 0)])
def test_tensors_whose_axes_are_permuted_come_over_as_they_were(tmp_path, axes):
    x = np.arange(2 * 3 * 4 * 5, dtype="f4").reshape(2, 3, 4, 5)
    x = x.transpose(0, *(axis + 1 for axis in axes))
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(x)
    assert list(column.type.permutation) == list(axes)
    pq.write_table(pa.table({"x": column}), tmp_path / "a.parquet")
    cs.import_parquet(tmp_path / "a.parquet", tmp_path / "a.zarr.zip")
    np.testing.assert_array_equal(cs.load(tmp_path / "a.zarr.zip")["x"], x)


def test_a_permutation_that_is_read_in_two_ways_is_refused(tmp_path):
    kind = pa.fixed_shape_tensor(pa.float32(), (3, 4, 5), permutation=(2, 0, 1))
    storage = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(60, "f4")), 60)
    table = pa.table({"x": pa.ExtensionArray.from_storage(kind, storage)})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(cs.UnsupportedError, match=r"column 'x' .*permutation \[2, 0, 1\]"):
        cs.import_parquet(tmp_path / "a.parquet", tmp_path / "a.zarr.zip")


def test_a_value_that_is_missing_in_a_tensor_is_named(tmp_path):
    kind = pa.fixed_shape_tensor(pa.int64(), (2,))
    storage = pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3, None, 5, 6]), 2)
    table = pa.table({"x": pa.ExtensionArray.from_storage(kind, storage)})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(cs.UnsupportedError, match="column 'x': a value in the tensor of row 1"):
        cs.import_parquet(tmp_path / "a.parquet", tmp_path / "a.zarr.zip")


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize("lengths", ["even", "uneven"])
def test_each_column_of_a_group_is_decoded_once(tmp_path, monkeypatch, ending, lengths):
    from chunkstore.importers.parquet_file import RowGroups

    table = pa.table({f"c{i}": np.arange(1000) * i for i in range(12)})
    path = tmp_path / f"a.{ending}"
    bounds = np.arange(0, 1001, 50) if lengths == "even" else np.array([0, 10, 300, 310, 1000])
    parts = [table.slice(a, b - a) for a, b in itertools.pairwise(bounds)]
    if ending == "parquet":
        with pq.ParquetWriter(path, table.schema) as writer:
            for part in parts:
                writer.write_table(part)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            for part in parts:
                writer.write_table(part)
    read, seen = RowGroups._read, []

    def counted(self, group, column):
        seen.append((group, column))
        rows = read(self, group, column)
        assert len(rows) == bounds[group + 1] - bounds[group]
        return rows

    monkeypatch.setattr(RowGroups, "_read", counted)
    cs.import_parquet(path, tmp_path / "a.zarr.zip", arrays=[f"c{i}" for i in range(11)])
    assert len(seen) == 11 * len(parts)
    assert len(set(seen)) == len(seen)
    loaded = cs.load(tmp_path / "a.zarr.zip")
    for i in range(11):
        assert loaded[f"c{i}"].tolist() == (np.arange(1000) * i).tolist()


@pytest.mark.parametrize("first", [[], None])
def test_a_list_column_whose_first_list_is_empty_or_missing_is_refused(tmp_path, first):
    pa, parquet = require("pyarrow"), require("pyarrow.parquet")
    table = pa.table({"a": pa.array([first, [1, 2]], pa.list_(pa.int64())), "b": [1, 2]})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(cs.FormatError, match=r"'a'.*: the list of row 0 is (empty|missing)"):
        cs.import_parquet(tmp_path / "a.parquet", tmp_path / "o.zarr.zip")
    cs.import_parquet(tmp_path / "a.parquet", tmp_path / "o.zarr.zip", arrays=["b"])
    assert cs.load(tmp_path / "o.zarr.zip")["b"].tolist() == [1, 2]


def told_table(values, dtype, **more):
    """Return a table that says of its column what an export of ours would."""
    told = json.dumps({"dtype": dtype, **more})
    field = pa.field("a", values.type, metadata={"chunkstore": told})
    return pa.table([values], schema=pa.schema([field]))


def test_lists_of_text_become_arrays_of_text(tmp_path):
    texts = [[["a", "bc"], ["", "ü"]], [["d", "e"], ["f", "g"]]]
    fixed = pa.list_(pa.list_(pa.string(), 2), 2)
    pq.write_table(pa.table({"t": texts, "f": pa.array(texts, fixed)}), tmp_path / "a.parquet")
    cs.import_parquet(tmp_path / "a.parquet", tmp_path / "a.zarr.zip")
    loaded = cs.load(tmp_path / "a.zarr.zip")
    assert loaded["t"].tolist() == loaded["f"].tolist() == texts


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([["a", "b"], ["c"]], "row 1 has a list of 1 values, the first row 2"),
        ([["a", "b"], ["c", None]], "column 't': sample 1 is missing"),
        ([["a", "b"], None], "the value of row 1 is missing"),
    ],
    ids=["length", "text", "list"],
)
def test_lists_of_text_that_are_no_array_are_named_by_row(tmp_path, texts, message):
    pq.write_table(pa.table({"t": texts}), tmp_path / "a.parquet")
    with pytest.raises((cs.FormatError, cs.UnsupportedError), match=message):
        cs.import_parquet(tmp_path / "a.parquet", tmp_path / "a.zarr.zip")


def test_what_a_column_says_of_itself_holds_only_where_it_fits(tmp_path):
    seconds = pa.array([3600, 7200], pa.timestamp("s"))
    whole = told_table(seconds, "<M8[h]", attributes={"unit": "h"})
    feather.write_feather(whole, tmp_path / "a.arrow")
    cs.import_parquet(tmp_path / "a.arrow", tmp_path / "a.zarr.zip")
    with cs.open(tmp_path / "a.zarr.zip") as store:
        assert store["a"][...].tolist() == np.array([1, 2], "M8[h]").tolist()
        assert (str(store["a"].dtype), store["a"].attributes) == ("datetime64[h]", {"unit": "h"})
    odd = told_table(pa.array([3600, 7201], pa.timestamp("s")), "<M8[h]")
    feather.write_feather(odd, tmp_path / "b.arrow")
    with pytest.raises(cs.CorruptionError, match="row 1 is no whole number of the unit of datetim"):
        cs.import_parquet(tmp_path / "b.arrow", tmp_path / "b.zarr.zip")
    for i, dtype in enumerate(["<m8[h]", "<U3", "no", 5, None]):
        feather.write_feather(told_table(seconds, dtype), tmp_path / f"{i}.arrow")
        cs.import_parquet(tmp_path / f"{i}.arrow", tmp_path / f"{i}.zarr.zip")
        assert cs.load(tmp_path / f"{i}.zarr.zip")["a"].dtype == np.dtype("M8[s]")


def test_attributes_that_all_files_have_alike_come_over(tmp_path):
    for i in range(2):
        about = json.dumps({"by": "me", "part": i})
        table = pa.table({"n": [i]}).replace_schema_metadata({"chunkstore": about})
        pq.write_table(table, tmp_path / f"{i}.parquet")
    cs.import_parquet(tmp_path, tmp_path / "a.zarr.zip")
    with cs.open(tmp_path / "a.zarr.zip") as store:
        assert (store.attributes["by"], "part" in store.attributes) == ("me", False)
        assert store.attributes["import"]["types"] == {"n": "int64"}
