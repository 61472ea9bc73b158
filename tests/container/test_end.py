"""Is the newest checkpoint found, and are torn and damaged tails told apart?"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkstore.container import end, layout
from chunkstore.container.end import Checkpoint, find_checkpoint
from chunkstore.container.reader import Container
from chunkstore.container.writer import ContainerWriter
from chunkstore.errors import (
    ChunkStoreError,
    CorruptionError,
    FormatError,
    IncompleteError,
    UnsupportedError,
)
from tests.container.zips import RawEntry, append_checkpoint, build_zip


class BytesFile:
    """A file in memory, with what a search for the end asks of one."""

    def __init__(self, raw):
        self.raw = raw

    def size(self):
        return len(self.raw)

    def read(self, nbytes, offset):
        return bytes(self.raw[offset : offset + nbytes])


def find(raw):
    return find_checkpoint(BytesFile(raw))


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A file with three checkpoints, payloads that imitate headers; its bytes, and the stops."""
    path = tmp_path_factory.mktemp("grown") / "a.zip"
    writer = ContainerWriter(str(path), create=True)
    listed, stops = [], []
    payloads = [b"plain", b"PK\3\4 no header", b"PK\5\6" + bytes(18), b"PK\1\2" + b"\0" * 42]
    for step in range(3):
        fresh = {b"x/c/%d" % (4 * step + i): data for i, data in enumerate(payloads)}
        append_checkpoint(writer, listed, fresh)
        stops.append(writer.durable)
    writer.close()
    return path.read_bytes(), stops


def test_a_file_cut_at_every_byte_opens_the_last_checkpoint_before_the_cut(grown):
    raw, stops = grown
    assert stops[-1] == len(raw)
    for length in range(1, len(raw) + 1):
        before = [stop for stop in stops if stop <= length]
        if before:
            found = find(raw[:length])
            assert (found.stop, found.torn_nbytes) == (before[-1], length - before[-1])
        elif length < 4:
            with pytest.raises(FormatError, match="no zip file"):
                find(raw[:length])
        else:
            with pytest.raises(IncompleteError, match=r"cut short: .* before its first directory"):
                find(raw[:length])


@pytest.mark.parametrize("zeros", [1, 21, 22, 30, 5000])
def test_a_tail_of_zeros_that_a_power_loss_leaves_is_torn_not_damaged(grown, zeros):
    raw, stops = grown
    first = stops[0]
    for length in range(first, stops[1] - layout.END.size):
        found = find(raw[:length] + bytes(zeros))
        assert found.stop == first, length


def test_an_empty_file_and_noise_are_no_zip():
    with pytest.raises(FormatError, match=r"empty \(0 bytes\), no zip file"):
        find(b"")
    for raw in (b"P", b"noise", bytes(100_000), b"\x89PNG" * 30_000):
        with pytest.raises(FormatError, match="no zip file"):
            find(raw)


def test_every_bit_of_the_end_decides_the_same_checkpoint_or_is_an_error(grown):
    raw, _ = grown
    check_bits(raw, layout.END.size)


def test_every_bit_of_a_zip64_end_decides_the_same_checkpoint_or_is_an_error(tmp_path):
    raw = zip64_zip()
    assert find(raw) == Checkpoint(34, 50, 1, len(raw))
    check_bits(raw, layout.END64.size + layout.LOCATOR64.size + layout.END.size)


def check_bits(raw, nbytes):
    whole = find(raw)
    refused = 0
    for bit in range(8 * nbytes):
        damaged = bytearray(raw)
        damaged[len(raw) - nbytes + bit // 8] ^= 1 << bit % 8
        try:
            assert find(bytes(damaged)) == whole, bit
        except IncompleteError as error:
            raise AssertionError(f"bit {bit} reads as a cut: {error}") from error
        except (CorruptionError, UnsupportedError):
            refused += 1
    assert refused > 4 * nbytes


def test_a_damaged_signature_in_the_last_directory_is_never_an_older_state(grown):
    raw, stops = grown
    for places in ([], [find(raw).directory_start + 51]):
        damaged = bytearray(raw)
        # The end record itself must be out of reach: it would decide alone.
        for place in (stops[2] - layout.END.size, *places):
            damaged[place] ^= 1
        with pytest.raises(CorruptionError, match="neither a record nor an end record stands"):
            find(bytes(damaged))


def test_without_that_rule_a_damaged_end_would_be_taken_for_a_torn_tail(grown, monkeypatch):
    raw, stops = grown
    damaged = bytearray(raw)
    damaged[-layout.END.size] ^= 1
    monkeypatch.setattr(end, "_was_never_written", lambda *_: True)
    assert find(bytes(damaged)).stop == stops[1]


def test_a_damaged_entry_before_a_torn_tail_does_not_hide_the_last_checkpoint(grown):
    raw, stops = grown
    damaged = bytearray(raw + b"PK\3\4 torn")
    damaged[stops[0]] ^= 1
    found = find(bytes(damaged))
    assert (found.stop, found.torn_nbytes) == (stops[2], 9)


@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\5\6", b"PK\5\6" + bytes(18)]))
def test_a_comment_is_passed_over_whatever_it_holds(text, inside):
    raw = build_zip([RawEntry(b"x/c/0", b"data")], comment=text + inside + text)
    plain = build_zip([RawEntry(b"x/c/0", b"data")])
    found = find(raw)
    # A comment that holds a whole end record of an empty zip at its own place is one.
    assert (found.directory_start, found.num_records) == (find(plain).directory_start, 1)
    assert found.stop == len(raw)


def test_the_longest_comment_is_passed_over():
    raw = build_zip([RawEntry(b"x/c/0", b"data")], comment=b"c" * 65535)
    assert find(raw).num_records == 1


@settings(max_examples=20)
@given(st.binary(min_size=1, max_size=300))
def test_bytes_behind_the_end_are_a_torn_tail(tail):
    raw = build_zip([RawEntry(b"x/c/0", b"data")])
    try:
        found = find(raw + tail)
    except CorruptionError:
        # The tail itself looks like a directory that goes wrong.
        assert b"PK" in tail
        return
    assert (found.stop, found.torn_nbytes) == (len(raw), len(tail))


def test_bytes_in_front_of_a_zip_are_named():
    with pytest.raises(CorruptionError, match="bytes were put in front of the zip"):
        find(b"#!/bin/sh\n" + build_zip([RawEntry(b"x/c/0", b"data")]))


def test_a_zip_inside_chunk_data_is_no_checkpoint(tmp_path):
    inner = build_zip([RawEntry(b"inner", b"data")])
    path = tmp_path / "a.zip"
    writer = ContainerWriter(str(path), create=True)
    listed = []
    append_checkpoint(writer, listed, {b"x/c/0": inner})
    first = writer.durable
    writer.append_entry(b"x/c/1", inner, zlib.crc32(inner))
    writer.close()
    raw = path.read_bytes()
    for length in range(first, len(raw) + 1):
        assert find(raw[:length]).stop == first
    # Also where the walk is stopped by a damaged header, and the search goes backwards.
    damaged = bytearray(raw + b"torn")
    damaged[first] ^= 1
    assert find(bytes(damaged)).stop == first


def zip64_zip(**said):
    """Return a zip of one entry with zip64 end record and locator; ``said`` replaces values."""
    entry = RawEntry(b"name", b"")
    body = entry.header()
    start = len(body)
    body += entry.directory_record(0)
    nbytes = len(body) - start
    wide = {"rest": 44, "disk": 0, "here": 1, "count": 1, "nbytes": nbytes, "start": start} | said
    end64_start = len(body)
    body += layout.END64.pack(
        said.get("signature64", layout.END64_SIGNATURE),
        wide["rest"],
        45,
        45,
        wide["disk"],
        0,
        wide["here"],
        wide["count"],
        wide["nbytes"],
        wide["start"],
    )
    body += layout.LOCATOR64.pack(
        layout.LOCATOR64_SIGNATURE, 0, said.get("place", end64_start), said.get("disks", 1)
    )
    narrow = said.get("narrow", (0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1))
    return body + layout.END.pack(layout.END_SIGNATURE, 0, 0, *narrow, 0)


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        pytest.param({"place": 2**63}, CorruptionError, "where no zip64 end record", id="outside"),
        pytest.param({"place": 0}, CorruptionError, "where no zip64 end record", id="elsewhere"),
        pytest.param({"signature64": b"PK\6\5"}, CorruptionError, "no zip64", id="signature"),
        pytest.param({"rest": 45}, CorruptionError, "does not reach its locator", id="rest"),
        pytest.param({"rest": 2**64 - 1}, CorruptionError, "does not reach", id="rest-2^64"),
        pytest.param({"disks": 2}, UnsupportedError, "split over several", id="disks"),
        pytest.param({"disk": 1}, CorruptionError, "disagree about disk: 0 and 1", id="disk"),
        pytest.param({"here": 2}, CorruptionError, "two numbers of entries, 2 and 1", id="here"),
        pytest.param({"start": 2**64 - 1}, CorruptionError, "must end at byte 84", id="start"),
        pytest.param({"nbytes": 2**63}, CorruptionError, "must end at byte 84", id="size"),
        pytest.param(
            {"count": 2, "here": 2}, CorruptionError, "promises 2 entries in a", id="count"
        ),
        pytest.param(
            {"count": 2**64 - 1, "here": 2**64 - 1}, CorruptionError, "promises", id="count-2^64"
        ),
        pytest.param(
            {"narrow": (2, 2, 2**32 - 1, 2**32 - 1)},
            CorruptionError,
            "disagree about entries on this disk: 2 and 1",
            id="narrow-count",
        ),
        pytest.param(
            {"narrow": (1, 1, 9, 2**32 - 1)},
            CorruptionError,
            "disagree about directory size: 9 and 50",
            id="narrow-size",
        ),
    ],
)
def test_a_zip64_end_that_lies_is_refused(said, error, message):
    with pytest.raises(error, match=message):
        find(zip64_zip(**said))


@pytest.mark.parametrize("narrow", [(1, 1, 50, 34), (1, 0xFFFF, 2**32 - 1, 34)])
def test_zip64_and_plain_values_may_stand_side_by_side(narrow):
    assert find(zip64_zip(narrow=narrow)).num_records == 1


@pytest.mark.parametrize("count", [0, 1, 65534, 65535, 65536])
def test_an_end_with_many_records_is_read_by_zipfile_too(count):
    record = RawEntry(b"n", b"").directory_record(0)
    raw = record * count
    raw += layout.build_end(
        num_records=count, directory_start=0, directory_nbytes=count * len(record)
    )
    assert find(raw) == Checkpoint(0, count * len(record), count, len(raw))
    assert (layout.LOCATOR64_SIGNATURE in raw) == (count >= 65535)
    if count <= 1:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            assert len(archive.infolist()) == count


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_are_a_checkpoint_or_an_error_of_ours(noise):
    for raw in (noise, layout.LOCAL_SIGNATURE + noise, noise + struct.pack("<4s18x", b"PK\5\6")):
        try:
            found = find(raw)
        except ChunkStoreError:
            continue
        assert found.stop <= len(raw)


def test_a_file_that_is_no_zip_is_closed_again(tmp_path):
    path = tmp_path / "noise.zip"
    path.write_bytes(b"noise")
    with pytest.raises(FormatError, match=r"noise.zip: no zip file"):
        Container(str(path))
