"""What the small files of a folder say is read in every way in which it was written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.errors import FormatError
from chunkstore.importers.bcolz.dtype import parse_dtype
from chunkstore.importers.bcolz.metadata import parse_attributes, parse_carray, parse_columns
from tests.importers.bcolz.folders import images, write_carray, write_ctable

DTYPES = {
    "float32": "f4",
    "bool": "?",
    "|S10": "S10",
    "<U10": "U10",
    ">f4": ">f4",
    "|b1": "?",
    "datetime64[ns]": "M8[ns]",
    "timedelta64[25s]": "m8[25s]",
    "datetime64": "M8",
    "<M8[D]": "M8[D]",
    "|V300": "V300",
    "object": "O",
    "|O8": "O",
    "[('a', '<i4'), ('b', '>f8')]": [("a", "<i4"), ("b", ">f8")],
    "[('a', '<i4', (2, 3)), ('b', [('c', '|S3')])]": [("a", "<i4", (2, 3)), ("b", [("c", "S3")])],
    "{'names': ['a', 'b'], 'formats': ['u1', '<i4'], 'offsets': [0, 4], 'itemsize': 8, "
    "'aligned': True}": np.dtype([("a", "u1"), ("b", "<i4")], align=True),
}


@pytest.mark.parametrize(("text", "expected"), DTYPES.items(), ids=list(DTYPES))
def test_every_text_that_bcolz_wrote_names_its_type(text, expected):
    dtype, axes = parse_dtype(text)
    assert dtype.newbyteorder("=") == np.dtype(expected).newbyteorder("=")
    assert dtype.itemsize == np.dtype(expected).itemsize
    assert axes == ()


@given(
    dtype=st.sampled_from(["<i4", ">u2", "|S7", "<U3", "<M8[us]", "|b1", "<f2"]),
    names=st.lists(st.text("abc_äβ0123", min_size=1, max_size=4), unique=True, max_size=4),
)
def test_a_structure_is_read_back_from_its_text(dtype, names):
    if not names:
        return
    structure = np.dtype([(name, dtype) for name in names])
    assert parse_dtype(str(structure))[0] == structure


@pytest.mark.parametrize(
    "text",
    [
        "category",
        "",
        "f4, f4",
        "__import__('os')",
        "[('a', __import__('os'))]",
        "[('a', 'O')]",
        "[]",
        "[" * 500 + "]" * 500,
        "('<f4', -1)",
        "|S0",
        "|S999999999999",
        "i3",
        "M8[fortnight]",
        "[('a', '<i4'), ('a', '<i4')]",
        "{'names': ['a'], 'formats': ['<i4'], 'offsets': [8], 'itemsize': 4}",
        7,
        None,
        ["f4"],
    ],
)
def test_other_texts_are_refused(text):
    with pytest.raises(FormatError, match="dtype"):
        parse_dtype(text)


STORAGE = b'{"dtype": "float32", "cparams": {"cname": "lz4"}, "chunklen": 10, "dflt": NaN}'


def test_sizes_and_storage_are_read_with_a_nan_in_them():
    metadata = parse_carray(b'{"shape": [23, 4]}\n', STORAGE)
    assert metadata.shape == (23, 4)
    assert metadata.dtype == np.float32
    assert (metadata.chunk_length, metadata.num_chunks, metadata.is_old) == (10, 3, False)


def test_an_array_without_cname_is_old():
    assert parse_carray(b'{"shape": [2]}', b'{"dtype": "u1", "chunklen": 9}').is_old


@pytest.mark.parametrize(
    ("sizes", "storage", "message"),
    [
        (b"", STORAGE, "meta/sizes: metadata is no JSON"),
        (b'{"shape": [5]', STORAGE, "meta/sizes: metadata is no JSON"),
        (b'{"nbytes": 5}', STORAGE, "there is no 'shape'"),
        (b'{"shape": []}', STORAGE, "1 to 32 lengths"),
        (b'{"shape": 5}', STORAGE, "1 to 32 lengths"),
        (b'{"shape": [-1]}', STORAGE, "1 to 32 lengths"),
        (b'{"shape": [true]}', STORAGE, "1 to 32 lengths"),
        (b'{"shape": [1e9]}', STORAGE, "1 to 32 lengths"),
        (b'{"shape": [99999999999999999999]}', STORAGE, "1 to 32 lengths"),
        (b'{"shape": [5]}', b'{"dtype": "f4"}', "there is no 'chunklen'"),
        (b'{"shape": [5]}', b'{"dtype": "f4", "chunklen": 0}', "chunklen must be at least 1"),
        (b'{"shape": [5]}', b'{"dtype": "f4", "chunklen": 1.5}', "chunklen must be at least 1"),
        (b'{"shape": [5, 2]}', b'{"dtype": "object", "chunklen": 1}', "has one axis"),
        (b'{"shape": [5, 3]}', b'{"dtype": "(\'f4\', (2,))", "chunklen": 1}', "adds the axes"),
        (b'{"shape": [5, 1000000, 1000]}', STORAGE, "a Blosc frame holds"),
    ],
)
def test_metadata_that_cannot_be_true_are_refused(sizes, storage, message):
    with pytest.raises(FormatError, match=message):
        parse_carray(sizes, storage)


def test_a_chunk_length_far_above_the_samples_takes_no_memory(tmp_path):
    x = images(7)
    write_carray(tmp_path / "a", x, chunk_length=7, storage={"chunklen": 1 << 60})
    with cs.open_bcolz(tmp_path / "a") as store:
        assert store[""].chunk_length == 7
        assert np.array_equal(store[""][:], x)


def test_sizes_that_claim_a_trillion_samples_are_one_problem(tmp_path):
    write_carray(tmp_path / "a", images(7))
    (tmp_path / "a" / "meta" / "sizes").write_text('{"shape": [1000000000000, 3, 4]}')
    with pytest.raises(cs.CorruptionError, match=r"__1\.blp to __99999999999\.blp are missing"):
        cs.open_bcolz(tmp_path / "a")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/a", "a\\b", "a\0b", "\ud800", 5, None, ["a"]]
)
def test_a_column_is_the_name_of_a_folder_in_the_table(name):
    with pytest.raises(FormatError, match="no name of a folder"):
        parse_columns(json.dumps({"names": ["good", name]}).encode())


def test_a_column_that_is_listed_twice_is_refused(tmp_path):
    with pytest.raises(FormatError, match="names lists a column twice"):
        parse_columns(b'{"names": ["a", "b", "a"]}')
    table = write_ctable(tmp_path / "t", {"a": images(9)})
    (table / "__rootdirs__").write_text('{"names": ["a", "a"]}')
    with pytest.raises(cs.CorruptionError, match="lists a column twice"):
        cs.open_bcolz(table)


def test_an_array_that_lies_in_a_table_and_is_no_column_of_it_is_noted(tmp_path):
    table = write_ctable(tmp_path / "t", {"a": images(9), "b": np.arange(9)})
    (table / "__rootdirs__").write_text('{"names": ["b"]}')
    (table / "notes").mkdir()
    with pytest.warns(cs.ChunkStoreWarning, match="a: this array lies in the table") as caught:
        store = cs.open_bcolz(table)
    with store:
        assert list(store) == ["b"]
    assert len(caught) == 1


def test_the_paths_of_another_machine_are_not_looked_at(tmp_path):
    table = write_ctable(tmp_path / "t", {"b": np.arange(9), "a": images(9)})
    (table / "__rootdirs__").write_text(
        json.dumps({"dirs": {"a": "/srv/other/a", "b": "../../etc"}, "names": ["b", "a"]})
    )
    with cs.open_bcolz(table) as store:
        assert list(store) == ["b", "a"]
        assert store["b"][3] == 3


@pytest.mark.parametrize("raw", [None, b"", b"\n", b"  \n"])
def test_attributes_that_are_absent_or_blank_are_none(raw):
    assert parse_attributes(raw) == {}


def test_attributes_of_tables_and_columns_are_kept(tmp_path):
    table = write_ctable(tmp_path / "t", {"a": images(9)}, attributes={"unit": "m"})
    (table / "__attrs__").write_text('{"title": "caf\\u00e9", "n": [1, null]}')
    with cs.open_bcolz(table) as store:
        assert store.attributes == {"title": "café", "n": [1, None]}
        assert store.table_attributes == {"": store.attributes}
        assert store["a"].attributes == {"unit": "m"}
