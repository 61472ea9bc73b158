"""Does a reader return an entry's bytes, or an error that says where and what?"""

from __future__ import annotations

import io
import os
import struct
import threading
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkstore.container import layout, reader
from chunkstore.container.reader import Container, EntryReader, ReaderPool
from chunkstore.container.writer import ContainerWriter
from chunkstore.errors import (
    ChunkStoreError,
    CorruptionError,
    MissingFileError,
    SystemCallError,
    UnsupportedError,
)
from chunkstore.system import DIRECT_ALIGNMENT
from tests.container.zips import RawEntry, append_checkpoint, build_zip


def entries_of(container):
    """Return the fields that `fetch` takes, by name."""
    return {
        records.name(row): {
            "offset": int(records.offset[row]),
            "encoded_nbytes": int(records.encoded_nbytes[row]),
            "nbytes": int(records.nbytes[row]),
            "crc": int(records.crc[row]),
        }
        for records in container.iter_records()
        for row in range(len(records))
    }


def read_all(path, **options):
    """Return the bytes of all entries by name."""
    container = Container(str(path))
    entries = EntryReader(container, **options)
    try:
        return {
            name: bytes(entries.fetch(name, **fields))
            for name, fields in entries_of(container).items()
        }
    finally:
        entries.close()
        container.close()


class Unseekable(io.RawIOBase):
    """What makes zipfile write data descriptors."""

    def __init__(self, target):
        self.target = target

    def writable(self):
        return True

    def write(self, data):
        return self.target.write(data)


@st.composite
def contents(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = draw(st.lists(st.integers(0, 3 * DIRECT_ALIGNMENT), min_size=1, max_size=8))
    return {
        f"x/c/{i}": rng.integers(0, 4, size, np.uint8).tobytes() for i, size in enumerate(sizes)
    }


def check_read(path, wanted):
    for direct in (False, True):
        assert read_all(path, direct=direct) == wanted


@pytest.mark.usefixtures("system_calls")
@settings(max_examples=15)
@given(contents(), st.sampled_from(["stored", "deflated", "descriptors", "zip64"]))
def test_what_zipfile_writes_is_read_equal_buffered_and_direct(tmp_path_factory, data, kind):
    path = tmp_path_factory.mktemp("zips") / "a.zip"
    with path.open("wb") as file:
        target = Unseekable(file) if kind == "descriptors" else file
        method = zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED
        with zipfile.ZipFile(target, "w", method) as archive:
            for name, raw in data.items():
                with archive.open(name, "w", force_zip64=kind == "zip64") as entry:
                    entry.write(raw)
    check_read(path, {name.encode(): raw for name, raw in data.items()})


@pytest.mark.usefixtures("system_calls")
@settings(max_examples=15)
@given(contents(), st.lists(st.integers(0, 200), min_size=8, max_size=8), st.booleans())
def test_extra_fields_of_header_and_directory_may_differ(tmp_path_factory, data, pads, deflated):
    def extra(nbytes):
        return struct.pack("<HH", 0xD935, nbytes) + bytes(nbytes) if nbytes else b""

    entries = [
        RawEntry(
            name.encode(),
            raw,
            deflated,
            local={"extra": extra(pad)},
            record={"extra": extra(pad // 7)},
            behind=b"gap" * (pad % 3),
        )
        for pad, (name, raw) in zip(pads, data.items(), strict=False)
    ]
    path = tmp_path_factory.mktemp("zips") / "a.zip"
    path.write_bytes(build_zip(entries, front=b"PK\3\4 junk"))
    check_read(path, {entry.name: entry.data for entry in entries})


DATA = b"data" * 300
HEADERS = {
    "signature": ({"signature": b"PK\3\5"}, CorruptionError, "local header has signature"),
    "name": ({"name": b"live"}, CorruptionError, "names disagree: .*b'evil'.* b'live'"),
    "shorter-name": ({"name": b"evi"}, CorruptionError, "names disagree"),
    "longer-name": ({"name": b"evil2"}, CorruptionError, "names disagree"),
    "no-name": ({"name": b""}, CorruptionError, "names disagree"),
    "crc": ({"crc": 1}, CorruptionError, "header disagrees with the directory: .* 0x00000001"),
    "size": ({"encoded_nbytes": 1199}, CorruptionError, "header disagrees .* 1199, 1200, the dir"),
    "inflated-size": ({"nbytes": 1201}, CorruptionError, "header disagrees .* 1200, 1201, the dir"),
    "encrypted": ({"flags": 1}, UnsupportedError, "encrypted"),
    "method": ({"method": 12}, UnsupportedError, "compression method 12"),
    "deflated": ({"method": 8}, CorruptionError, "deflated bytes are damaged"),
    "zip64": ({"nbytes": 2**32 - 1}, ChunkStoreError, "zip64 extra field holds 0 bytes"),
    "descriptor": (
        {"flags": 8, "crc": 0, "encoded_nbytes": 0, "nbytes": 1},
        CorruptionError,
        "header disagrees",
    ),
}


@pytest.mark.parametrize("check", [True, False], ids=["crc", "no-crc"])
@pytest.mark.parametrize("name", HEADERS)
def test_a_local_header_that_disagrees_is_refused(name, check, tmp_path):
    said, error, message = HEADERS[name]
    path = tmp_path / "a.zip"
    path.write_bytes(build_zip([RawEntry(b"evil", DATA, local=said), RawEntry(b"z", DATA)]))
    with pytest.raises(error, match=message) as caught:
        read_all(path, check=check)
    assert (caught.value.path, caught.value.key, caught.value.offset) == (str(path), "evil", 0)


def test_a_wrong_crc_names_file_entry_offset_and_both_values(tmp_path):
    path = tmp_path / "a.zip"
    wrong = {"crc": 0x1234}
    path.write_bytes(
        build_zip([RawEntry(b"a", DATA), RawEntry(b"x/c/0", DATA, local=wrong, record=wrong)])
    )
    message = (
        rf"a.zip: 'x/c/0' at byte 1231: crc32 is 0x{zlib.crc32(DATA):08x}, expected 0x00001234"
    )
    with pytest.raises(CorruptionError, match=message):
        read_all(path)
    assert read_all(path, check=False)[b"x/c/0"] == DATA


@pytest.mark.parametrize("direct", [False, True])
def test_every_bit_of_an_entry_gives_its_bytes_or_an_error(tmp_path, direct):
    path = tmp_path / "a.zip"
    raw = build_zip([RawEntry(b"x/c/0", b"some data"), RawEntry(b"x/c/1", b"other data")])
    path.write_bytes(raw)
    container = Container(str(path))
    entries = EntryReader(container, direct=direct)
    fields = entries_of(container)[b"x/c/0"]
    refused = 0
    with path.open("r+b", buffering=0) as file:
        for bit in range(8 * (30 + 5 + 9)):
            os.pwrite(file.fileno(), bytes([raw[bit // 8] ^ 1 << bit % 8]), bit // 8)
            try:
                assert bytes(entries.fetch(b"x/c/0", **fields)) == b"some data"
            except ChunkStoreError:
                refused += 1
            os.pwrite(file.fileno(), raw[bit // 8 : bit // 8 + 1], bit // 8)
    # All but the bits of version, time and date, and flags without meaning here.
    assert refused >= 8 * (44 - 8)
    container.close()


@pytest.mark.parametrize("cut", [1, 5, 14, 20, 43])
def test_a_file_that_lost_its_tail_after_opening_is_cut_short(tmp_path, cut):
    path = tmp_path / "a.zip"
    path.write_bytes(build_zip([RawEntry(b"x/c/0", b"some data")]))
    container = Container(str(path))
    fields = entries_of(container)[b"x/c/0"]
    os.truncate(path, 44 - cut)
    with pytest.raises(CorruptionError, match=r"'x/c/0' at byte 0: .*(cut short|names disagree)"):
        container.read_entry(b"x/c/0", **fields)
    container.close()


BOMB = RawEntry(b"bomb", bytes(20 << 20), deflated=True)


@pytest.mark.parametrize(
    ("nbytes", "message"),
    [
        pytest.param(1000, "inflates to at least 1001 bytes|cannot inflate", id="less"),
        pytest.param((20 << 20) - 1, "inflates to at least 20971520 bytes", id="one-less"),
        pytest.param((20 << 20) + 1, "inflates to 20971520 bytes", id="one-more"),
        pytest.param(1 << 31, "cannot inflate to 2147483648", id="2-gib"),
        pytest.param((1 << 63) - 1, "cannot inflate to 9223372036854775807", id="2^63"),
    ],
)
def test_a_deflated_entry_that_lies_about_its_size_is_refused_without_allocating(
    tmp_path, nbytes, message
):
    stored = BOMB.stored
    path = tmp_path / "a.zip"
    path.write_bytes(build_zip([BOMB]))
    container = Container(str(path))
    fields = entries_of(container)[b"bomb"] | {"nbytes": nbytes}
    # The header says the same, so that only the size itself can give it away.
    with path.open("r+b") as file:
        file.seek(18)
        file.write(struct.pack("<II", len(stored), nbytes & 0xFFFFFFFF))
    tracemalloc.start()
    try:
        with pytest.raises(CorruptionError, match=message + "|header disagrees"):
            container.read_entry(b"bomb", **fields)
        assert tracemalloc.get_traced_memory()[1] < min(2 * nbytes, 48 << 20) + (1 << 20)
    finally:
        tracemalloc.stop()
        container.close()


def test_a_small_entry_cannot_claim_a_large_deflated_size(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(build_zip([RawEntry(b"a", b"")]))
    container = Container(str(path))
    with pytest.raises(CorruptionError, match="1099511627776 deflated bytes cannot inflate to 10"):
        container.read_entry(b"a", offset=0, encoded_nbytes=1 << 40, nbytes=10, crc=0)
    with pytest.raises(SystemCallError, match="'a' at byte 0: the entry cannot be read: no memory"):
        container.read_entry(b"a", offset=0, encoded_nbytes=1 << 60, nbytes=1 << 60, crc=0)
    container.close()


@pytest.mark.parametrize("large", [2**31 - 200, 2**31 + 7, 2**32 - 100, 2**32 + 5, 2**33])
@pytest.mark.usefixtures("system_calls")
def test_entries_beyond_2_and_4_gib_are_read_here_and_by_zipfile(tmp_path, large):
    path = tmp_path / "sparse.zip"
    writer = ContainerWriter(str(path), create=True)
    listed = []
    try:
        append_checkpoint(writer, listed, {b"zarr.json": b"{}"})
        try:
            writer.start_at(large)
        except SystemCallError as error:
            pytest.skip(f"this file system has no sparse files of {large} bytes: {error}")
        fresh = {b"x/c/%d" % i: b"chunk %d" % i * 20 for i in range(3)}
        append_checkpoint(writer, listed, fresh)
    finally:
        writer.close()
    wanted = {b"zarr.json": b"{}"} | fresh
    check_read(path, wanted)
    with zipfile.ZipFile(path) as archive:
        assert {name.encode(): archive.read(name) for name in archive.namelist()} == wanted


def test_the_extents_of_a_grown_file_tell_what_is_dead(tmp_path):
    path = tmp_path / "a.zip"
    writer = ContainerWriter(str(path), create=True)
    listed = []
    append_checkpoint(writer, listed, {b"a": b"1234"})
    dead = writer.durable - 35
    listed.clear()
    append_checkpoint(writer, listed, {b"a": b"12345678"})
    writer.close()
    container = Container(str(path))
    assert container.check_extents() == dead + 35
    container.close()


@pytest.mark.usefixtures("system_calls")
def test_one_container_serves_several_threads(tmp_path):
    path = tmp_path / "a.zip"
    data = {b"x/c/%d" % i: os.urandom(100 + i * 37) for i in range(60)}
    path.write_bytes(build_zip([RawEntry(name, raw) for name, raw in data.items()]))
    container = Container(str(path))
    fields = entries_of(container)
    pool = ReaderPool(container, keep=2)
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        names = list(data)
        for i in rng.integers(0, len(names), 300):
            entries = pool.borrow()
            if bytes(entries.fetch(names[i], **fields[names[i]])) != data[names[i]]:
                wrong.append(names[i])
            pool.give_back(entries)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()
    container.close()
    assert not wrong


def test_a_returned_view_outlives_the_next_read_of_a_larger_entry(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(build_zip([RawEntry(b"a", b"small"), RawEntry(b"b", bytes(100_000))]))
    container = Container(str(path))
    fields = entries_of(container)
    entries = EntryReader(container)
    small = entries.fetch(b"a", **fields[b"a"])
    entries.fetch(b"b", **fields[b"b"])
    entries.close()
    container.close()
    assert bytes(small) == b"small"


@pytest.mark.usefixtures("system_calls")
def test_entries_that_are_read_ahead_stay_until_others_are(tmp_path):
    path = tmp_path / "a.zip"
    data = {b"x/%d" % i: bytes([i]) * (1000 + i) for i in range(6)}
    path.write_bytes(build_zip([RawEntry(name, raw) for name, raw in data.items()]))
    container = Container(str(path))
    fields = entries_of(container)
    entries = EntryReader(container)
    start, stop = fields[b"x/1"]["offset"], fields[b"x/4"]["offset"]
    # Entries 1 to 3, less the last byte of the last: it is read by itself, as those around are.
    entries.read_ahead(start, stop - start - 1)
    found = {name: entries.fetch(name, **fields[name]) for name in data}
    assert {name: bytes(view) for name, view in found.items()} == data
    entries.read_ahead(start, 10)
    assert bytes(entries.fetch(b"x/2", **fields[b"x/2"])) == data[b"x/2"]
    entries.close()
    assert bytes(entries.fetch(b"x/5", **fields[b"x/5"])) == data[b"x/5"]
    entries.close()
    container.close()


def test_what_the_system_refuses_is_also_its_error(tmp_path):
    with pytest.raises(MissingFileError, match="cannot be opened: No such file"):
        Container(str(tmp_path / "none.zip"))
    with pytest.raises(SystemCallError, match="directory") as caught:
        Container(str(tmp_path))
    assert isinstance(caught.value, IsADirectoryError)
    path = tmp_path / "a.zip"
    path.write_bytes(build_zip([RawEntry(b"a", b"small")]))
    container = Container(str(path))
    fields = entries_of(container)[b"a"]
    container.close()
    container.close()
    with pytest.raises(SystemCallError, match="'a' at byte 0: the file cannot be read"):
        container.read_entry(b"a", **fields)


def test_without_the_crc_a_flipped_bit_would_pass(tmp_path, monkeypatch):
    path = tmp_path / "a.zip"
    raw = bytearray(build_zip([RawEntry(b"a", b"small")]))
    raw[32] ^= 1
    path.write_bytes(raw)
    with pytest.raises(CorruptionError, match="crc32"):
        read_all(path)
    monkeypatch.setattr(reader, "crc32", lambda _: zlib.crc32(b"small"))
    assert read_all(path) == {b"a": b"slall"}


def test_the_local_header_is_what_says_where_data_start(tmp_path):
    # The directory has an extra field, the header has none: its length must not count.
    entry = RawEntry(b"a", b"small", record={"extra": struct.pack("<HH9x", 0x5455, 9)})
    path = tmp_path / "a.zip"
    path.write_bytes(build_zip([entry]))
    assert read_all(path) == {b"a": b"small"}
    assert layout.LOCAL.size == 30
