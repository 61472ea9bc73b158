"""Is zarr v2 metadata read as its specification says, and what is not read refused by name?"""

from __future__ import annotations

import numpy as np
import pytest

from chunkstore.errors import FormatError, UnsupportedError
from chunkstore.format.grid import ChunkKeyEncoding
from chunkstore.format.metadata import GroupMetadata, parse_node, parse_v2_array, parse_v2_group
from tests.format.documents import as_json, v2_document

BLOSC = v2_document()["compressor"]


def parse(zattrs=None, **changes):
    return parse_v2_array(as_json(v2_document(**changes)), zattrs)


def lacking(key):
    return {name: value for name, value in v2_document().items() if name != key}


def test_a_sound_document_is_read_as_it_says():
    node = parse(zattrs=b'{"unit": "mm"}', dimension_separator="/", dtype=">f4", fill_value="NaN")
    assert (node.shape, node.chunk_shape, node.zarr_format) == ((10, 3), (4, 3), 2)
    assert node.dtype == np.dtype("float32")
    assert node.dtype.isnative
    assert np.isnan(node.fill_value)
    assert node.chunk_keys == ChunkKeyEncoding("v2", "/")
    assert node.attributes == {"unit": "mm"}
    assert str(node.codecs) == "blosc lz4-5 byte + big-endian"


def test_the_separator_is_a_dot_unless_it_is_named():
    assert parse().chunk_keys == ChunkKeyEncoding("v2", ".")


def test_unknown_keys_are_ignored_as_v2_demands():
    assert parse(_nczarr_array={"a": 1}) == parse()


@pytest.mark.parametrize(
    ("dtype", "name", "endian"),
    [
        ("|b1", "bool", None),
        ("<b1", "bool", None),
        ("|u1", "uint8", None),
        (">i1", "int8", None),
        ("<i2", "int16", "little"),
        (">u8", "uint64", "big"),
        ("<f2", "float16", "little"),
        (">c16", "complex128", "big"),
    ],
)
def test_data_types_are_read_with_their_byte_order(dtype, name, endian):
    node = parse(dtype=dtype, fill_value=None)
    assert node.dtype.name == name
    assert node.dtype.isnative
    assert node.codecs.endian == endian


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("<f4", None, 0.0),
        ("|b1", None, False),
        ("<c8", None, 0j),
        ("|b1", 1, True),
        ("|b1", True, True),
        ("<i4", 3.0, 3),
        ("<i4", -3, -3),
        ("<f8", "-Infinity", -np.inf),
        ("<c8", [1.0, 2.0], 1 + 2j),
        ("<c8", 0, 0j),
    ],
)
def test_fill_values_are_read_and_null_is_zero(dtype, value, expected):
    node = parse(dtype=dtype, fill_value=value)
    assert node.fill_value == expected
    assert node.fill_value.dtype == node.dtype


@pytest.mark.parametrize(
    ("compressor", "codecs"),
    [
        (None, "raw"),
        (BLOSC, "blosc lz4-5 byte"),
        (BLOSC | {"shuffle": 0}, "blosc lz4-5 none"),
        (BLOSC | {"shuffle": 2}, "blosc lz4-5 bit"),
        (BLOSC | {"shuffle": -1}, "blosc lz4-5 byte"),
        ({"id": "zstd", "level": 3, "checksum": False}, "zstd-3"),
        ({"id": "gzip", "level": 1}, "gzip-1"),
        ({"id": "zlib", "level": 6}, "zlib-6"),
        ({"id": "lz4", "acceleration": 1}, "lz4"),
    ],
    ids=str,
)
def test_compressors_are_read(compressor, codecs):
    assert str(parse(compressor=compressor).codecs) == codecs


def test_the_automatic_shuffle_of_bytes_is_by_bits():
    assert str(parse(compressor=BLOSC | {"shuffle": -1}, dtype="|u1").codecs) == "blosc lz4-5 bit"


def test_fortran_order_is_a_transpose():
    node = parse(order="F")
    assert node.codecs.order == (1, 0)
    assert node.codecs.to_json()[0] == {"name": "transpose", "configuration": {"order": [1, 0]}}
    assert parse(order="F", shape=[3], chunks=[3]).codecs.order is None


@pytest.mark.parametrize("name", ["zlib", "lz4"])
def test_codecs_that_v3_lacks_cannot_be_written_as_v3(name):
    with pytest.raises(UnsupportedError, match=f"the {name} codec of zarr v2 cannot be written"):
        parse(compressor={"id": name}).to_json()


def test_an_array_can_be_written_as_v3():
    node = parse_node(as_json(parse(dimension_separator="/").to_json()))
    assert node.zarr_format == 3
    assert node.chunk_keys == ChunkKeyEncoding("v2", "/")
    assert node.codecs == parse().codecs


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param(v2_document(zarr_format=3), "zarr_format is 3, expected 2", id="format"),
        pytest.param(lacking("filters"), "metadata lacks filters", id="no-filters"),
        pytest.param(lacking("order"), "metadata lacks order", id="no-order"),
        pytest.param(v2_document(shape=[10, True]), "got .10, True.", id="shape"),
        pytest.param(v2_document(chunks=[4, 0]), "chunks must be .* from 1 on", id="chunk-0"),
        pytest.param(v2_document(chunks=[4]), "2 axes, chunk shape .* has 1", id="axes"),
        pytest.param(v2_document(chunks=True), "chunks must be a list", id="chunks-true"),
        pytest.param(v2_document(shape=[1 << 62, 3]), "too large", id="large"),
        pytest.param(v2_document(order="A"), "order is 'A', allowed are 'C' and 'F'", id="order"),
        pytest.param(v2_document(order=None), "order is None", id="order-null"),
        pytest.param(v2_document(filters={}), "filters must be a list or null", id="filters"),
        pytest.param(v2_document(filters=0), "filters must be a list or null", id="filters-0"),
        pytest.param(v2_document(dimension_separator="-"), "separator is '-'", id="separator"),
        pytest.param(v2_document(dtype=4), "dtype must be a string or a list", id="dtype-4"),
        pytest.param(v2_document(dtype="|f4"), "must say its byte order", id="dtype-order"),
        pytest.param(v2_document(fill_value="zero"), "fill_value 'zero'", id="fill"),
        pytest.param(v2_document(dtype="|u1", fill_value=256), "256 does not fit", id="fill-256"),
        pytest.param(v2_document(dtype="<i4", fill_value=0.5), "fill_value 0.5", id="fill-half"),
        pytest.param(v2_document(compressor=[]), "compressor must be an object", id="compressor"),
        pytest.param(v2_document(compressor={}), "object with an id", id="no-id"),
        pytest.param(v2_document(compressor=BLOSC | {"clevel": 12}), "clevel 12", id="clevel"),
        pytest.param(v2_document(compressor=BLOSC | {"shuffle": 3}), "shuffle 3", id="shuffle"),
        pytest.param(v2_document(compressor=BLOSC | {"shuffle": True}), "shuffle True", id="true"),
        pytest.param(v2_document(compressor=BLOSC | {"shuffle": []}), "shuffle", id="shuffle-list"),
        pytest.param(
            v2_document(compressor={"id": "gzip", "level": 10}), "level 10", id="gzip-level"
        ),
    ],
)
def test_an_invalid_document_is_a_format_error(raw, message):
    with pytest.raises(FormatError, match=message):
        parse_v2_array(as_json(raw), None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"dtype": "|O"}, "data type '|O' of zarr v2 is not read", id="objects"),
        pytest.param({"dtype": "<U5"}, "data type '<U5' of zarr v2", id="strings"),
        pytest.param({"dtype": "<M8[s]"}, "data type '<M8.s.'", id="times"),
        pytest.param({"dtype": [["a", "<f4"]]}, "data type .*'a'", id="structures"),
        pytest.param({"dtype": "<f16"}, "data type '<f16'", id="long-double"),
        pytest.param({"dtype": "<f\uff14"}, "data type", id="digits-of-unicode"),
        pytest.param({"filters": [{"id": "delta"}]}, "filters .'delta'. of zarr v2", id="delta"),
        pytest.param({"filters": [{"id": "pickle"}]}, "filters .'pickle'. of zarr v2", id="pickle"),
        pytest.param({"filters": [5]}, "filters .5. of zarr v2", id="filter-5"),
        pytest.param({"compressor": {"id": "bz2"}}, "compressor 'bz2' of zarr v2", id="bz2"),
        pytest.param({"compressor": BLOSC | {"cname": "snappy"}}, "'snappy' is not", id="snappy"),
    ],
)
def test_a_feature_that_is_not_read_is_refused_by_name(changes, message):
    with pytest.raises(UnsupportedError, match=message):
        parse(**changes)


def test_a_group_is_read_with_its_attributes():
    assert parse_v2_group(b'{"zarr_format": 2}', b'{"a": 1}') == GroupMetadata({"a": 1}, 2)
    assert parse_v2_group(b'{"zarr_format": 2}', None) == GroupMetadata({}, 2)
    with pytest.raises(FormatError, match="zarr_format is None, expected 2"):
        parse_v2_group(b"{}", None)
