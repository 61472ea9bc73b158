"""Is each document read as it is meant, and every other one refused by name?"""

from __future__ import annotations

import json
import math
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import FormatError, UnsupportedError
from chunkstore.format.codec_metadata import parse_codecs
from chunkstore.format.codecs import CODEC_NAMES, SHUFFLES, default_codecs
from chunkstore.format.data_type import CORE_NAMES, fill_value_json, parse_fill_value
from chunkstore.format.grid import ChunkGrid, ChunkKeyEncoding
from chunkstore.format.metadata import ArrayMetadata, GroupMetadata, parse_node
from tests.format.documents import (
    BIG,
    BLOSC,
    CRC32C,
    GZIP,
    LITTLE,
    ZSTD,
    as_json,
    core_dtypes,
    document,
    fill_values,
    parse,
    sharded,
    without,
)


def changed(codec, **options):
    return codec | {"configuration": codec["configuration"] | options}


def regular(shape, **others):
    return {"name": "regular", "configuration": {"chunk_shape": shape} | others}


INVALID = [
    # the document
    pytest.param(document(zarr_format=2), "zarr_format is 2, expected 3", id="format-2"),
    pytest.param(document(zarr_format=4), "zarr_format is 4, expected 3", id="format-4"),
    pytest.param(document(zarr_format=3.0), "zarr_format is 3.0, expected 3", id="format-float"),
    pytest.param(document(zarr_format=True), "zarr_format is True, expected", id="format-bool"),
    pytest.param(without("zarr_format"), "zarr_format is None, expected 3", id="no-format"),
    pytest.param(document(node_type="table"), "node_type is 'table', allowed", id="node-type"),
    pytest.param(document(node_type=["array"]), "node_type is .'array'.", id="node-type-list"),
    pytest.param(without("node_type"), "node_type is None", id="no-node-type"),
    pytest.param(without("shape"), "metadata lacks shape$", id="no-shape"),
    pytest.param(without("codecs", "fill_value"), "lacks fill_value, codecs", id="lacks-two"),
    pytest.param(document(attributes=[]), r"attributes must be an object, got \[\]", id="attrs"),
    pytest.param(document(attributes=None), "attributes must be an object", id="attrs-null"),
    pytest.param(document(storage_transformers={}), "must be a list, got {}", id="transformers"),
    # shape
    pytest.param(document(shape=10), "shape must be a list .*, got 10", id="shape-number"),
    pytest.param(document(shape=[10, True]), r"from 0 on, got \[10, True\]", id="shape-bool"),
    pytest.param(document(shape=[10, 3.0]), r"got \[10, 3.0\]", id="shape-float"),
    pytest.param(document(shape=[10, "3"]), "got .10, '3'.", id="shape-string"),
    pytest.param(document(shape=[-1, 3]), r"got \[-1, 3\]", id="shape-negative"),
    pytest.param(document(shape=[10, None]), r"got \[10, None\]", id="shape-null"),
    pytest.param(document(shape=[1] * 65), "list of at most 64 whole", id="shape-axes"),
    pytest.param(document(shape=[1 << 61, 1]), "too large: .* 2.63 bytes", id="shape-2^63"),
    pytest.param(document(shape=[1 << 60, 1 << 60]), "too large", id="shape-wraps"),
    pytest.param(document(shape=[10**4200, 1]), "too large", id="shape-digits"),
    pytest.param(document(shape=[0, 1 << 62]), "too large", id="shape-large-but-empty"),
    # grid
    pytest.param(document(chunk_grid=regular([4, 0])), "whole numbers from 1", id="chunk-0"),
    pytest.param(document(chunk_grid=regular([4, -3])), "from 1 on, got", id="chunk-negative"),
    pytest.param(document(chunk_grid=regular([4, True])), "from 1 on, got", id="chunk-bool"),
    pytest.param(document(chunk_grid=regular([4])), "2 axes, chunk shape .* 1", id="axes-few"),
    pytest.param(document(chunk_grid=regular([4, 3, 1])), "2 axes, .* has 3", id="axes-many"),
    pytest.param(document(chunk_grid=regular([4, 3], origin=0)), "'origin'.*chunk_shape", id="x"),
    pytest.param(document(chunk_grid={"name": "regular"}), "chunk_shape must be", id="no-chunks"),
    pytest.param(document(chunk_grid=[4, 3]), "chunk_grid must be an object", id="grid-list"),
    pytest.param(document(chunk_grid={"name": 1}), "must be an object with a name", id="grid-name"),
    pytest.param(
        document(chunk_grid=regular([4, 3]) | {"size": 1}), "unknown keys .'size'.", id="grid-key"
    ),
    pytest.param(
        document(chunk_grid={"name": "regular", "configuration": []}),
        r"chunk_grid 'regular' has configuration \[\]",
        id="grid-configuration",
    ),
    pytest.param(
        document(chunk_grid=regular([4, 3]) | {"must_understand": 0}),
        "has must_understand 0, expected true or false",
        id="must-understand-number",
    ),
    # keys
    pytest.param(document(chunk_key_encoding=None), "object with a name", id="keys-null"),
    pytest.param(
        document(chunk_key_encoding={"name": "default", "configuration": {"separator": "-"}}),
        "separator '-', allowed are '/' and '.'",
        id="separator",
    ),
    pytest.param(
        document(chunk_key_encoding={"name": "v2", "configuration": {"prefix": "c"}}),
        "unknown options .'prefix'.; there are separator",
        id="keys-option",
    ),
    # dimension names
    pytest.param(document(dimension_names=["a"]), "list of 2 strings or nulls", id="names-few"),
    pytest.param(document(dimension_names=["a", 1]), "got .'a', 1.", id="names-number"),
    pytest.param(document(dimension_names="ab"), "got 'ab'", id="names-string"),
    # data type
    pytest.param(document(data_type=5), "data_type must be an object with a name", id="dtype-5"),
    pytest.param(document(data_type=None), "data_type must be", id="dtype-null"),
    # codecs
    pytest.param(document(codecs=[]), "list with at least one codec", id="no-codecs"),
    pytest.param(document(codecs={}), "list with at least one codec", id="codecs-object"),
    pytest.param(document(codecs=[BLOSC]), "one of bytes and sharding_indexed", id="no-bytes"),
    pytest.param(document(codecs=[LITTLE, LITTLE]), "got .'bytes', 'bytes'", id="bytes-twice"),
    pytest.param(document(codecs=[BLOSC, LITTLE]), "got .'blosc', 'bytes'", id="bytes-late"),
    pytest.param(document(codecs=[LITTLE, 7]), "codec must be an object with a name", id="codec-7"),
    pytest.param(document(codecs=[{"name": "bytes"}]), "must say the byte order", id="no-endian"),
    pytest.param(document(codecs=[changed(LITTLE, endian="up")]), "endian 'up'", id="endian"),
    pytest.param(document(codecs=[changed(LITTLE, e=1)]), "unknown options .'e'.", id="bytes-key"),
    pytest.param(
        document(codecs=[LITTLE | {"level": 1}]), "codec 'bytes' has unknown keys", id="codec-key"
    ),
    *(
        pytest.param(document(codecs=[LITTLE, changed(BLOSC, **option)]), message, id=name)
        for name, option, message in [
            ("cname", {"cname": "lzma"}, "cname 'lzma'; allowed are blosclz, lz4, lz4hc, zlib"),
            ("cname-list", {"cname": ["lz4"]}, "cname .'lz4'.; allowed"),
            ("clevel", {"clevel": 10}, "clevel 10, allowed are whole numbers from 0 to 9"),
            ("clevel-bool", {"clevel": True}, "clevel True, allowed"),
            ("clevel-null", {"clevel": None}, "clevel None, allowed"),
            ("shuffle", {"shuffle": "sort"}, "shuffle 'sort'; allowed are noshuffle, shuffle, bit"),
            ("shuffle-number", {"shuffle": 1}, "shuffle 1; allowed"),
            ("shuffle-list", {"shuffle": []}, r"shuffle \[\]; allowed"),
            ("typesize-0", {"typesize": 0}, "typesize 0, allowed are whole numbers from 1 to 255"),
            ("typesize-256", {"typesize": 256}, "typesize 256, allowed"),
            ("blocksize", {"blocksize": -1}, "blocksize -1, allowed"),
            ("blosc-option", {"threads": 2}, "codec blosc has unknown options .'threads'."),
        ]
    ),
    *(
        pytest.param(document(codecs=[LITTLE, codec]), message, id=name)
        for name, codec, message in [
            ("blosc-empty", {"name": "blosc"}, "codec blosc has cname None"),
            ("zstd-level", changed(ZSTD, level=23), "level 23, allowed are .* from -131072 to 22"),
            ("zstd-checksum", changed(ZSTD, checksum=1), "checksum 1, expected true or false"),
            ("zstd-option", changed(ZSTD, window=1), "unknown options .'window'."),
            ("gzip-level", changed(GZIP, level=-1), "level -1, allowed are .* from 0 to 9"),
            ("gzip-option", changed(GZIP, mtime=1), "unknown options .'mtime'."),
            ("crc32c-option", CRC32C | {"configuration": {"a": 1}}, "there are none"),
        ]
    ),
    *(
        pytest.param(
            document(codecs=[{"name": "transpose", "configuration": {"order": order}}, LITTLE]),
            "expected a permutation of .0, 1.",
            id=f"transpose-{name}",
        )
        for name, order in [
            ("F", "F"),
            ("few", [0]),
            ("twice", [0, 0]),
            ("outside", [0, 2]),
            ("bool", [False, True]),
            ("float", [0.0, 1.0]),
        ]
    ),
    pytest.param(
        document(codecs=[LITTLE, {"name": "transpose", "configuration": {"order": [1, 0]}}]),
        "at most one transpose, then one of bytes",
        id="transpose-late",
    ),
    pytest.param(
        document(codecs=[{"name": "transpose", "configuration": {"order": [1, 0]}}]),
        "at most one transpose, then one of bytes",
        id="transpose-alone",
    ),
    *(
        pytest.param(document(codecs=[sharded(**option)]), message, id=f"sharding-{name}")
        for name, option, message in [
            ("ragged", {"chunk_shape": [3, 3]}, "each number must divide the shard's, .4, 3."),
            ("zero", {"chunk_shape": [0, 3]}, "each number must divide"),
            ("bool", {"chunk_shape": [True, 3]}, "each number must divide"),
            ("axes", {"chunk_shape": [2]}, "each number must divide"),
            ("large", {"chunk_shape": [8, 3]}, "each number must divide"),
            ("location", {"index_location": "middle"}, "index_location 'middle', allowed"),
            ("option", {"holes": 1}, "unknown options .'holes'."),
            ("inner", {"codecs": []}, "list with at least one codec"),
            ("index", {"index_codecs": None}, "list with at least one codec"),
            ("index-endian", {"index_codecs": [{"name": "bytes"}]}, "byte order .* of uint64"),
        ]
    ),
]

UNSUPPORTED = [
    pytest.param(document(remap=1), "unknown metadata key 'remap': 1", id="key"),
    pytest.param(document(remap={"name": "x"}), "unknown metadata key 'remap'", id="key-object"),
    pytest.param(
        document(remap={"must_understand": True}), "unknown metadata key", id="key-must-understand"
    ),
    pytest.param(
        document(remap={"must_understand": 0}), "unknown metadata key", id="key-must-understand-0"
    ),
    pytest.param(
        document(storage_transformers=[{"name": "x"}]),
        "storage_transformers .*x",
        id="transformers",
    ),
    pytest.param(document(data_type="uint24"), "data type 'uint24' is not read", id="dtype"),
    pytest.param(document(data_type="string"), "data type 'string' is not read", id="string"),
    pytest.param(document(data_type="r16"), "data type 'r16' is not read", id="raw-bits"),
    pytest.param(
        document(data_type={"name": "numpy.datetime64", "configuration": {"unit": "s"}}),
        "data type .*numpy.datetime64.* is not read",
        id="datetime",
    ),
    pytest.param(
        document(chunk_grid={"name": "rectilinear"}), "chunk_grid 'rectilinear' is not", id="grid"
    ),
    pytest.param(
        document(chunk_key_encoding={"name": "fanout"}), "encoding 'fanout' is not", id="keys"
    ),
    pytest.param(document(chunk_grid=regular([1 << 29, 1])), "2.31 bytes or more", id="chunk-2^31"),
    *(
        pytest.param(document(codecs=[LITTLE, codec]), message, id=name)
        for name, codec, message in [
            ("codec", {"name": "squeeze9"}, "codec 'squeeze9' is not read; those that are: "),
            ("pickle", {"name": "numcodecs.pickle"}, "codec 'numcodecs.pickle' is not read"),
            ("vlen", "vlen-utf8", "codec 'vlen-utf8' is not read"),
            (
                "codec-that-need-not-be-understood",
                {"name": "squeeze9", "must_understand": False},
                "codec 'squeeze9' is not read",
            ),
            ("snappy", changed(BLOSC, cname="snappy"), "cname 'snappy' is not read"),
        ]
    ),
    pytest.param(
        document(codecs=[sharded(codecs=[sharded(codecs=[LITTLE])])]),
        "shards inside shards",
        id="shards-inside-shards",
    ),
    pytest.param(
        document(codecs=[sharded(), GZIP]), "sharding_indexed is, alone", id="compressed-shard"
    ),
    pytest.param(
        document(codecs=[{"name": "transpose", "configuration": {"order": [1, 0]}}, sharded()]),
        "sharding_indexed is, alone",
        id="transposed-shard",
    ),
    pytest.param(
        document(codecs=[sharded(index_codecs=[LITTLE, GZIP])]), "index_codecs .*gzip", id="index"
    ),
]


@pytest.mark.parametrize(("raw", "message"), INVALID)
def test_an_invalid_document_is_a_format_error_that_says_what_was_got(raw, message):
    with pytest.raises(FormatError, match=message):
        parse_node(as_json(raw))


@pytest.mark.parametrize(("raw", "message"), UNSUPPORTED)
def test_a_feature_that_is_not_read_is_refused_by_name(raw, message):
    with pytest.raises(UnsupportedError, match=message):
        parse_node(as_json(raw))


FILL_VALUES = [
    ("bool", True, True),
    ("bool", 0, None),
    ("bool", "true", None),
    ("int8", -128, -128),
    ("int8", -129, None),
    ("int8", 127.0, None),
    ("int8", True, None),
    ("int8", "1", None),
    ("int8", None, None),
    ("uint8", 255, 255),
    ("uint8", 256, None),
    ("uint8", -1, None),
    ("int64", -(1 << 63), -(1 << 63)),
    ("int64", 1 << 63, None),
    ("uint64", (1 << 64) - 1, (1 << 64) - 1),
    ("uint64", 10**4000, None),
    ("float32", 1, 1.0),
    ("float32", "Infinity", math.inf),
    ("float32", "-Infinity", -math.inf),
    ("float32", "0x3f800000", 1.0),
    ("float64", "0x3ff0000000000000", 1.0),
    ("float16", "0x3c00", 1.0),
    ("float32", 1e300, None),
    ("float16", 65520, None),
    ("float16", 65519, 65504.0),
    ("float64", 10**400, None),
    ("float64", math.inf, None),
    ("float64", math.nan, None),
    ("float32", "nan", None),
    ("float32", "inf", None),
    ("float32", "0x3f80", None),
    ("float32", "0x3f80000g", None),
    ("float32", "1.0", None),
    ("float32", False, None),
    ("float32", [0.0, 0.0], None),
    ("complex64", [1, "Infinity"], complex(1, math.inf)),
    ("complex128", [0.5, -0.5], 0.5 - 0.5j),
    ("complex64", [1e39, 0], None),
    ("complex64", [0.0], None),
    ("complex64", [0.0, 0.0, 0.0], None),
    ("complex64", [0.0, None], None),
    ("complex64", 0, None),
    ("complex64", "NaN", None),
]


@pytest.mark.parametrize(
    ("name", "value", "expected"), FILL_VALUES, ids=lambda case: str(case)[:12]
)
def test_a_fill_value_is_of_its_type_and_range(name, value, expected):
    if expected is None:
        with pytest.raises(FormatError, match="fill_value"):
            parse_fill_value(value, np.dtype(name))
    else:
        got = parse_fill_value(value, np.dtype(name))
        assert got.dtype == name
        assert got == expected


@given(st.data(), core_dtypes())
def test_a_fill_value_comes_back_with_every_bit(data, dtype):
    value = data.draw(fill_values(dtype))
    text = json.dumps(fill_value_json(value, dtype), allow_nan=False)
    assert parse_fill_value(json.loads(text), dtype).tobytes() == value.tobytes()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32("nan"), "NaN"),
        (np.array(0x7FC00001, np.uint32).view(np.float32)[()], "0x7fc00001"),
        (np.array(0xFFC00000, np.uint32).view(np.float32)[()], "0xffc00000"),
        (np.float32(-np.inf), "-Infinity"),
        (np.bool_(False), False),
        (np.int16(-3), -3),
        (np.float16(0), 0.0),
        (np.complex64(complex(1, np.inf)), [1.0, "Infinity"]),
    ],
    ids=str,
)
def test_fill_values_are_written_as_the_specification_has_them(value, expected):
    got = fill_value_json(value, value.dtype)
    assert got == expected
    assert type(got) is type(expected)


def test_a_sound_document_is_read_as_it_says():
    node = parse(
        dimension_names=["sample", None],
        attributes={"unit": "mm", "range": [0, 1]},
        fill_value="NaN",
        storage_transformers=[],
        note={"must_understand": False, "anything": 1},
    )
    assert (node.shape, node.chunk_shape, node.dtype) == ((10, 3), (4, 3), np.dtype("float32"))
    assert math.isnan(node.fill_value)
    assert node.grid == ChunkGrid((10, 3), (4, 3))
    assert node.chunk_keys == ChunkKeyEncoding("default", "/")
    assert node.dimension_names == ("sample", None)
    assert node.attributes == {"unit": "mm", "range": [0, 1]}
    assert node.zarr_format == 3
    assert str(node.codecs) == "blosc lz4-5 byte"


@pytest.mark.parametrize(
    ("changes", "codecs"),
    [
        pytest.param({"codecs": [LITTLE]}, "raw", id="raw"),
        pytest.param({"codecs": [BIG, GZIP]}, "gzip-1 + big-endian", id="big"),
        pytest.param(
            {"codecs": ["bytes"], "data_type": "uint8", "fill_value": 0}, "raw", id="bare"
        ),
        pytest.param({"codecs": [LITTLE, "crc32c"]}, "crc32c", id="bare-crc32c"),
        pytest.param({"codecs": [LITTLE, "zstd"]}, "zstd-0", id="bare-zstd"),
        pytest.param(
            {"codecs": [sharded(), CRC32C]}, "shards of blosc lz4-5 byte + crc32c", id="s"
        ),
        pytest.param(
            {"codecs": [{"name": "transpose", "configuration": {"order": [1, 0]}}, LITTLE]},
            "transposed",
            id="transpose",
        ),
        pytest.param({"data_type": {"name": "float32"}}, "blosc lz4-5 byte", id="object-dtype"),
        pytest.param({"chunk_key_encoding": "v2"}, "blosc lz4-5 byte", id="bare-keys"),
        pytest.param({"shape": [0, 3]}, "blosc lz4-5 byte", id="empty"),
        pytest.param({"chunk_grid": regular([1000, 1000])}, "blosc lz4-5 byte", id="long-chunk"),
        pytest.param(
            {"shape": [], "chunk_grid": regular([])}, "blosc lz4-5 byte", id="without-axes"
        ),
        pytest.param({"codecs": [LITTLE | {"must_understand": True}]}, "raw", id="understood"),
    ],
)
def test_documents_that_must_be_read_are_read_and_written_again(changes, codecs):
    node = parse(**changes)
    assert str(node.codecs) == codecs
    assert parse_node(as_json(node.to_json())) == node


def test_a_byte_order_of_one_byte_types_is_read_and_not_written():
    node = parse(data_type="uint8", fill_value=0, codecs=[BIG])
    assert node.codecs.endian is None
    assert node.to_json()["codecs"] == [{"name": "bytes"}]


def test_a_transpose_that_moves_nothing_is_left_out():
    identity = {"name": "transpose", "configuration": {"order": [0, 1]}}
    assert parse(codecs=[identity, LITTLE]) == parse(codecs=[LITTLE])


def test_a_group_is_read_with_its_attributes_and_without_what_is_consolidated():
    node = parse_node(
        as_json(
            {
                "zarr_format": 3,
                "node_type": "group",
                "attributes": {"a": [1]},
                "consolidated_metadata": {"kind": "inline", "metadata": {"x": document()}},
            }
        )
    )
    assert node == GroupMetadata({"a": [1]}, 3)
    assert parse_node(as_json(node.to_json())) == node


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"shape": [1]}, UnsupportedError, "unknown metadata key 'shape'"),
        ({"consolidated_metadata": []}, FormatError, "consolidated_metadata must be an object"),
        ({"attributes": "a"}, FormatError, "attributes must be an object, got 'a'"),
    ],
    ids=["key", "consolidated", "attributes"],
)
def test_an_unsound_group_is_refused(changes, error, message):
    raw = {"zarr_format": 3, "node_type": "group"} | changes
    with pytest.raises(error, match=message):
        parse_node(as_json(raw))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(string.printable, max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@st.composite
def nodes(draw) -> ArrayMetadata:
    dtype = draw(core_dtypes())
    shape = tuple(draw(st.lists(st.integers(0, 1000), max_size=4)))
    chunk_shape = tuple(draw(st.integers(1, 50)) for _ in shape)
    name = draw(st.sampled_from(["default", "v2"]))
    names = st.none() | st.tuples(*(st.none() | st.text(max_size=4) for _ in shape))
    return ArrayMetadata(
        shape=shape,
        dtype=dtype,
        chunk_shape=chunk_shape,
        fill_value=draw(fill_values(dtype)),
        codecs=default_codecs(
            dtype,
            codec=draw(st.sampled_from(CODEC_NAMES)),
            level=draw(st.integers(0, 9)),
            shuffle=draw(st.sampled_from(SHUFFLES)),
        ),
        chunk_keys=ChunkKeyEncoding(name, draw(st.sampled_from("/."))),
        dimension_names=draw(names),
        attributes=draw(st.dictionaries(st.text(max_size=3), JSON_VALUES, max_size=3)),
    )


@given(nodes())
def test_what_is_written_is_read_as_it_was(node):
    assert parse_node(as_json(node.to_json())) == node


@given(nodes(), nodes())
def test_arrays_are_equal_exactly_when_their_documents_are(left, right):
    def text(node):
        return json.dumps(node.to_json(), sort_keys=True)

    assert (left == right) == (text(left) == text(right))


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [11, 3]},
        {"data_type": "int32", "fill_value": 0},
        {"chunk_grid": regular([5, 3])},
        {"fill_value": -0.0},
        {"codecs": [LITTLE]},
        {"chunk_key_encoding": "v2"},
        {"dimension_names": [None, None]},
        {"attributes": {"a": 1}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_arrays_that_differ_in_anything_are_not_equal(changes):
    assert parse(**changes) != parse()


def test_metadata_equals_nothing_else_and_has_no_hash():
    node = parse()
    assert node != document()
    assert node == parse()
    with pytest.raises(TypeError, match="unhashable"):
        hash(node)


@pytest.mark.parametrize("name", CORE_NAMES)
def test_one_byte_types_say_no_byte_order_and_others_do(name):
    dtype = np.dtype(name)
    chain = default_codecs(dtype, codec="lz4", level=5, shuffle="byte").to_json()
    assert chain[0] == ({"name": "bytes"} if dtype.itemsize == 1 else LITTLE)
    assert chain[1] == changed(BLOSC, typesize=dtype.itemsize)
    assert parse_codecs(chain, dtype=dtype, chunk_shape=(2,), fill_value=0).to_json() == chain
