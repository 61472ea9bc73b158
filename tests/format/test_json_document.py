"""Does every document that is no sound JSON object end in a FormatError, quickly?"""

from __future__ import annotations

import contextlib
import json
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import ChunkStoreError, FormatError, UnsupportedError
from chunkstore.format import json_document
from chunkstore.format.json_document import MAX_DEPTH, parse_json_object, shown
from chunkstore.format.metadata import parse_node, parse_v2_array, parse_v2_group
from tests.format.documents import (
    BLOSC,
    CRC32C,
    GZIP,
    LITTLE,
    ZSTD,
    as_json,
    document,
    sharded,
    v2_document,
)

PARSERS = [
    pytest.param(parse_node, id="v3"),
    pytest.param(lambda raw: parse_v2_array(raw, None), id="v2-array"),
    pytest.param(lambda raw: parse_v2_group(raw, None), id="v2-group"),
    pytest.param(lambda raw: parse_v2_array(as_json(v2_document()), raw), id="v2-attributes"),
]
NOT_AN_OBJECT = [
    pytest.param(b"", "metadata is no JSON: Expecting value", id="empty"),
    pytest.param(b'{"zarr_format": 3', "metadata is no JSON: Expecting ',' delim", id="torn"),
    pytest.param(b"{'zarr_format': 3}", "metadata is no JSON: Expecting prop", id="python"),
    pytest.param(b'{"a": 1} x', "metadata is no JSON: Extra data", id="trailing"),
    pytest.param(b'\xef\xbb\xbf{"a": 1}', "metadata is no JSON: Unexpected UTF-8 BOM", id="bom"),
    pytest.param(b'{"a": "\xff"}', "no JSON: not UTF-8 at byte 7", id="latin-1"),
    pytest.param('{"a": 1}'.encode("utf-16"), "no JSON: not UTF-8 at byte 0", id="utf-16"),
    pytest.param(b"[1, 2]", r"must be a JSON object, got \[1, 2\]", id="list"),
    pytest.param(b"3", "must be a JSON object, got 3", id="number"),
    pytest.param(b"null", "must be a JSON object, got None", id="null"),
    pytest.param(b'{"a": 1, "b": 2, "a": 1}', "has the key 'a' twice in one object", id="twice"),
    pytest.param(b'{"b": {"a": 1, "a": 2}}', "has the key 'a' twice in one object", id="inner"),
    pytest.param(
        b'{"a": ' + b"9" * 5000 + b"}", "an integer with more digits than Python", id="digits"
    ),
    pytest.param(b'{"a": ' + b"[" * 100_000, "nested too deep: at most 200 levels", id="deep"),
    pytest.param(
        b'{"a":' * 900 + b"1" + b"}" * 900, "nested too deep: at most 200 levels", id="deep-objects"
    ),
    pytest.param(
        b'{"a": ' + b"[" * 400 + b"]" * 400 + b"}", "nested too deep: at most 200", id="deep-lists"
    ),
]


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(("raw", "message"), NOT_AN_OBJECT)
def test_what_is_no_json_object_is_refused(parse, raw, message):
    with pytest.raises(FormatError, match=message):
        parse(raw)


def test_metadata_above_the_limit_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr(json_document, "MAX_NBYTES", 1000)
    sound = as_json(document())
    assert parse_json_object(sound.ljust(1000)) == document()
    with pytest.raises(FormatError, match="metadata takes 1001 bytes, at most 1000 are read"):
        parse_json_object(sound.ljust(1001))


def test_the_limit_is_64_mib():
    assert json_document.MAX_NBYTES == 64 * 1024 * 1024


@pytest.mark.parametrize(("levels", "is_read"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_the_depth_is_counted_exactly(levels, is_read):
    raw = b'{"a":' * levels + b"1" + b"}" * levels
    if is_read:
        parse_json_object(raw)
    else:
        with pytest.raises(FormatError, match="nested too deep"):
            parse_json_object(raw)


def test_many_brackets_that_are_not_deep_are_read():
    wide = {"a": [[index] for index in range(1000)], "b": "[" * 1000}
    assert parse_json_object(as_json(wide)) == wide


def test_a_document_as_deep_as_allowed_is_refused_without_a_recursion_error_wherever_it_stands():
    deep = json.loads("[" * (MAX_DEPTH - 10) + "]" * (MAX_DEPTH - 10))
    for key in document():
        if key == "attributes":
            continue
        with pytest.raises(ChunkStoreError):
            parse_node(as_json(document(**{key: deep})))


def test_a_deep_call_stack_does_not_let_a_recursion_error_out():
    raw = as_json(document(data_type=json.loads("[" * 190 + "]" * 190)))

    def deeper(levels):
        return parse_node(raw) if levels == 0 else deeper(levels - 1)

    depth = sys.getrecursionlimit() - 300 - len_of_stack()
    with pytest.raises(FormatError):
        deeper(depth)


def len_of_stack() -> int:
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def test_a_key_twice_among_very_many_is_found_in_linear_time():
    keys = ",".join(f'"{index}":0' for index in range(200_000))
    started = time.perf_counter()
    with pytest.raises(FormatError, match="has the key '199999' twice"):
        parse_json_object(b"{" + keys.encode() + b',"199999":0}')
    assert time.perf_counter() - started < 5


def test_white_space_around_a_document_is_no_fault():
    assert parse_json_object(b"\n  " + as_json({"a": 1}) + b"   \r\n\t") == {"a": 1}


@pytest.mark.parametrize(
    ("value", "length"),
    [("x" * 10_000_000, 120), ([0] * 1_000_000, 200), ({str(i): i for i in range(10_000)}, 300)],
    ids=["string", "list", "object"],
)
def test_what_an_error_shows_is_short(value, length):
    assert len(shown(value)) < length


@given(st.binary(max_size=60))
def test_no_bytes_let_another_error_out(raw):
    with pytest.raises(ChunkStoreError):
        parse_node(raw)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["regular", "default", "bytes", "blosc", "zstd", "NaN", "0x", "name"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["name", "configuration", "must_understand", "level", "order"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(st.sampled_from(sorted(document())), JSON)
def test_a_document_with_anything_in_one_place_is_read_or_refused_by_our_errors(key, value):
    with contextlib.suppress(FormatError, UnsupportedError):
        parse_node(as_json(document(**{key: value})))


@given(st.sampled_from(sorted(v2_document())), JSON)
def test_a_v2_document_with_anything_in_one_place_is_read_or_refused_by_our_errors(key, value):
    with contextlib.suppress(FormatError, UnsupportedError):
        parse_v2_array(as_json(v2_document(**{key: value})), None)


@given(JSON, st.data())
def test_codecs_with_anything_in_one_option_are_read_or_refused_by_our_errors(value, data):
    codec = data.draw(st.sampled_from([BLOSC, CRC32C, GZIP, LITTLE, ZSTD, sharded()]))
    options = dict(codec.get("configuration", {}))
    options[data.draw(st.sampled_from([*options, "strange"]))] = value
    changed = {"name": codec["name"], "configuration": options}
    chain = [changed] if codec["name"] in ("bytes", "sharding_indexed") else [LITTLE, changed]
    with contextlib.suppress(FormatError, UnsupportedError):
        parse_node(as_json(document(codecs=chain)))
