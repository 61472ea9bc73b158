"""Do headers and records say what they must, to the byte?"""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.container import layout
from chunkstore.errors import ChunkStoreError, CorruptionError, FormatError, UnsupportedError

NAMES = st.binary(min_size=1, max_size=300)
CRCS = st.integers(0, 2**32 - 1)


@given(NAMES, CRCS, st.integers(0, 2**32 - 2), st.binary(max_size=40))
def test_a_local_header_is_parsed_as_it_was_built(name, crc, nbytes, behind):
    header = layout.parse_local_header(layout.build_local_header(name, crc, nbytes) + behind)
    assert header == (name, 0, layout.STORED, crc, nbytes, nbytes, 30 + len(name))


def test_a_local_header_has_these_bytes_for_ever():
    assert layout.build_local_header(b"x/c/0", 0x11223344, 0x0A0B0C0D) == bytes.fromhex(
        "504b0304 1400 0000 0000 0000 2100 44332211 0d0c0b0a 0d0c0b0a 0500 0000782f632f30"
    )


def test_an_end_record_has_these_bytes_for_ever():
    assert layout.build_end(num_records=3, directory_start=258, directory_nbytes=153) == (
        bytes.fromhex("504b0506 0000 0000 0300 0300 99000000 02010000 0000")
    )


@pytest.mark.parametrize(
    ("name", "nbytes", "message"),
    [
        pytest.param(b"x", 2**32 - 1, "at most 4294967294 bytes, got 4294967295", id="4-gib"),
        pytest.param(b"", 1, "takes 1 to 65534 bytes, got 0", id="no-name"),
        pytest.param(b"x" * 65535, 1, "takes 1 to 65534 bytes, got 65535", id="long-name"),
    ],
)
def test_what_a_header_cannot_say_is_refused(name, nbytes, message):
    with pytest.raises(ValueError, match=message):
        layout.build_local_header(name, 0, nbytes)


def test_a_local_header_cut_anywhere_is_refused():
    whole = layout.LOCAL.pack(
        layout.LOCAL_SIGNATURE, 45, 0, 0, 0, 0, 1, 2**32 - 1, 2**32 - 1, 3, 20
    )
    whole += b"x/0" + struct.pack("<HHQQ", 1, 16, 2**33, 2**33)
    assert layout.parse_local_header(whole).nbytes == 2**33
    for length in range(len(whole)):
        with pytest.raises(CorruptionError, match="cut short"):
            layout.parse_local_header(whole[:length])


@given(
    values=st.tuples(*[st.integers(0, 2**63 - 1)] * 3),
    wide=st.tuples(*[st.booleans()] * 3),
    others=st.lists(st.tuples(st.integers(2, 65535), st.binary(max_size=12)), max_size=3),
)
def test_zip64_fields_hold_only_what_does_not_fit(values, wide, others):
    narrow = [
        2**32 - 1 if is_wide else value % (2**32 - 1)
        for value, is_wide in zip(values, wide, strict=True)
    ]
    body = b"".join(
        struct.pack("<Q", value) for value, is_wide in zip(values, wide, strict=True) if is_wide
    )
    extra = b"".join(struct.pack("<HH", kind, len(data)) + data for kind, data in others)
    extra += struct.pack("<HH", 1, len(body)) + body
    wanted = tuple(v if is_wide else n for v, n, is_wide in zip(values, narrow, wide, strict=True))
    assert (
        layout.parse_zip64_extra(
            extra, nbytes=narrow[0], encoded_nbytes=narrow[1], offset=narrow[2]
        )
        == wanted
    )
    if body:
        with pytest.raises(FormatError, match="zip64 extra field holds"):
            layout.parse_zip64_extra(
                extra[:-1], nbytes=narrow[0], encoded_nbytes=narrow[1], offset=narrow[2]
            )


def test_zip64_values_of_2_63_are_refused():
    extra = struct.pack("<HHQ", 1, 8, 2**63)
    with pytest.raises(FormatError, match="2\\^63 or more: 9223372036854775808"):
        layout.parse_zip64_extra(extra, nbytes=0, encoded_nbytes=0, offset=2**32 - 1)


@given(st.integers(46, 400))
def test_a_record_dtype_reads_the_standard_layout(total):
    values = tuple(range(1, 18))
    raw = struct.pack("<IHHHHHHIIIHHHHHII", *values) + bytes(total - 46)
    record = np.frombuffer(raw, layout.record_dtype(total))[0]
    assert record.tolist() == values


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param(b"", "without a name", id="empty"),
        pytest.param(b"a\0b", "NUL and backslash", id="nul"),
        pytest.param(b"a\\b", "NUL and backslash", id="backslash"),
        pytest.param(b"/a", "begins with '/'; zip the contents", id="absolute"),
        pytest.param(b"..", "'.' and '..' parts", id="parent"),
        pytest.param(b"a/../b", "'.' and '..' parts", id="parent-inside"),
        pytest.param(b"./a", "'.' and '..' parts", id="here"),
        pytest.param(b"a/.", "'.' and '..' parts", id="here-at-the-end"),
    ],
)
def test_a_name_that_could_escape_is_refused(name, message):
    with pytest.raises(FormatError, match=message):
        layout.check_entry_name(name)


@pytest.mark.parametrize("name", [b"zarr.json", b"a/.zarray", b"a..b/c", b"a/...", b"\xc3\xa4/c/0"])
def test_a_sound_name_passes(name):
    layout.check_entry_name(name)


@pytest.mark.parametrize(
    ("flags", "method", "message"),
    [
        pytest.param(0x1, 0, r"encrypted \(flags 0x0001\)", id="encrypted"),
        pytest.param(0x40, 0, "encrypted", id="strong"),
        pytest.param(0x2000, 0, "encrypted", id="masked"),
        pytest.param(0, 93, "compression method 93", id="zstd"),
        pytest.param(0, 9, "compression method 9", id="deflate64"),
    ],
)
def test_what_cannot_be_read_is_named(flags, method, message):
    with pytest.raises(UnsupportedError, match=message):
        layout.check_readable(flags, method, b"x")


@given(st.binary(max_size=120))
def test_any_bytes_are_a_header_or_an_error_of_ours(raw):
    try:
        header = layout.parse_local_header(layout.LOCAL_SIGNATURE + raw)
    except ChunkStoreError:
        return
    assert len(header.name) + 30 <= len(raw) + 4
