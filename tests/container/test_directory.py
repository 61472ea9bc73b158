"""Is a directory parsed as the standard library parses it, and a hostile one refused?"""

from __future__ import annotations

import io
import zipfile
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkstore.container import directory, layout
from chunkstore.container.directory import build_records, iter_records
from chunkstore.container.reader import Container, names_as_rows
from chunkstore.errors import ChunkStoreError, CorruptionError, FormatError, UnsupportedError
from tests.container.zips import RawEntry, build_zip

PARTS = st.text("abc0123456789", min_size=1, max_size=8)
FILE_NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def parse(raw, start, nbytes, count, *, in_order):
    """Return ``(index, name, offset, encoded_nbytes, nbytes, crc, method)`` of all records."""
    rows = []
    for records in iter_records(
        lambda size, offset: raw[offset : offset + size],
        start=start,
        nbytes=nbytes,
        num_records=count,
        in_order=in_order,
    ):
        columns = (
            records.offset,
            records.encoded_nbytes,
            records.nbytes,
            records.crc,
            records.method,
        )
        for row in range(len(records)):
            values = [int(column[row]) for column in columns]
            rows.append((int(records.index[row]), records.name(row), *values))
    return rows


def zipfile_rows(archive):
    return [
        (
            index,
            info.filename.encode(),
            info.header_offset,
            info.compress_size,
            info.file_size,
            info.CRC,
            info.compress_type,
        )
        for index, info in enumerate(archive.infolist())
    ]


def check_parsed(raw):
    """Hold the parser against zipfile, in both orders."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        wanted = zipfile_rows(archive)
        start = archive.start_dir
    end = raw.rfind(layout.END_SIGNATURE)
    nbytes = layout.END.unpack_from(raw, end)[5]
    if nbytes == layout.LIMIT32:
        nbytes = raw.rfind(layout.END64_SIGNATURE) - start
    assert parse(raw, start, nbytes, len(wanted), in_order=True) == wanted
    assert sorted(parse(raw, start, nbytes, len(wanted), in_order=False)) == wanted


@st.composite
def zips(draw):
    """Zips of zipfile with comments, extra fields, zip64 fields and names of many lengths."""
    target = io.BytesIO()
    names = draw(st.lists(FILE_NAMES, unique=True, max_size=60))
    with zipfile.ZipFile(target, "w") as archive:
        # zipfile takes the last signature of an end record, in a comment too.
        archive.comment = draw(st.binary(max_size=30).filter(lambda raw: b"PK" not in raw))
        for name in names:
            info = zipfile.ZipInfo(name)
            info.comment = draw(st.sampled_from([b"", b"", b"a", b"PK\1\2 no record"]))
            info.extra = draw(st.sampled_from([b"", b"", b"\x35\xd9\2\0ab", b"\x35\xd9\0\0"]))
            info.compress_type = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
            with archive.open(info, "w", force_zip64=draw(st.booleans())) as file:
                file.write(draw(st.binary(max_size=20)))
    return target.getvalue()


@given(zips())
def test_a_directory_is_parsed_as_zipfile_parses_it(raw):
    check_parsed(raw)


@settings(max_examples=20)
@given(zips(), st.integers(1, 200))
def test_records_may_lie_across_the_blocks_that_are_read(raw, block_nbytes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory, "_BLOCK_NBYTES", block_nbytes)
        check_parsed(raw)


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.integers(100, 1500))
def test_shuffled_names_are_parsed_in_groups(seed, count):
    rng = np.random.default_rng(seed)
    entries = [RawEntry(b"x/c/%d" % i, b"%d" % i) for i in rng.permutation(count)]
    raw = build_zip(entries, order=rng.permutation(count).tolist())
    check_parsed(raw)


def test_names_of_alternating_lengths_become_groups_of_equal_length():
    raw = build_zip([RawEntry(b"x" * (1 + i % 3), b"") for i in range(900)])
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        start = archive.start_dir
    nbytes = layout.END.unpack_from(raw, len(raw) - layout.END.size)[5]
    lengths = [
        len(records)
        for records in iter_records(
            lambda size, offset: raw[offset : offset + size],
            start=start,
            nbytes=nbytes,
            num_records=900,
        )
    ]
    assert sum(lengths) == 900
    assert max(lengths) > 250
    assert len(lengths) < 50


def test_seventy_thousand_entries_of_zipfile_are_read(tmp_path):
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(70_000):
            archive.writestr(zipfile.ZipInfo(f"x/c/{i}"), b"")
        wanted = zipfile_rows(archive)
    container = Container(str(path))
    try:
        assert container.checkpoint.num_records == 70_000
        found = [
            (name, offset)
            for records in container.iter_records(in_order=True)
            for name, offset in zip(
                [n.tobytes() for n in records.names], records.offset.tolist(), strict=True
            )
        ]
        assert found == [(row[1], row[2]) for row in wanted]
        assert container.check_extents() == 0
    finally:
        container.close()


OFFSETS = st.one_of(
    st.integers(0, 1000),
    st.integers(2**31 - 2, 2**31 + 2),
    st.integers(2**32 - 3, 2**32 + 3),
    st.integers(0, 2**62),
)


@given(
    st.lists(
        st.tuples(OFFSETS, st.integers(0, 2**32 - 2), st.integers(0, 2**32 - 1)),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 30),
)
def test_records_are_parsed_as_they_were_built(rows, name_nbytes):
    names = [str(i).encode().rjust(name_nbytes, b"n")[-name_nbytes:] for i in range(len(rows))]
    offset, nbytes, crc = (list(column) for column in zip(*rows, strict=True))
    raw = build_records(
        names_as_rows(names),
        np.array(offset, np.int64),
        np.array(nbytes, np.int64),
        np.array(crc, np.uint32),
    )
    assert parse(raw, 0, len(raw), len(rows), in_order=True) == [
        (i, names[i], offset[i], nbytes[i], nbytes[i], crc[i], 0) for i in range(len(rows))
    ]
    large = sum(o >= 2**32 - 1 for o in offset)
    assert len(raw) == len(rows) * (46 + name_nbytes) + 12 * large


def test_a_record_has_these_bytes_for_ever():
    raw = build_records(
        names_as_rows([b"x/c/0"]), np.array([2**32]), np.array([7]), np.array([0x11223344], "u4")
    )
    assert raw == bytes.fromhex(
        "504b0102 2d03 2d00 0000 0000 0000 2100 44332211 07000000 07000000 0500 0c00 0000 0000"
        "0000 0000a481 ffffffff 782f632f30 0100 0800 0000000001000000"
    )


@pytest.mark.parametrize("promised", [0, 1, 3, 5, 65534])
def test_exactly_the_promised_number_of_records_must_fill_the_directory(promised):
    raw = build_zip([RawEntry(b"x/c/%d" % i, b"data") for i in range(4)])
    nbytes = layout.END.unpack_from(raw, len(raw) - layout.END.size)[5]
    start = len(raw) - layout.END.size - nbytes
    with pytest.raises(CorruptionError, match=rf"entry count: .* promises {promised} entries"):
        parse(raw, start, nbytes, promised, in_order=True)


@pytest.mark.parametrize("missing", range(1, 51))
def test_a_directory_cut_short_is_refused(missing):
    raw = build_zip([RawEntry(b"x/c/%d" % i, b"data") for i in range(4)])
    nbytes = layout.END.unpack_from(raw, len(raw) - layout.END.size)[5]
    start = len(raw) - layout.END.size - nbytes
    with pytest.raises(CorruptionError, match=r"directory is damaged|entry count"):
        parse(raw, start, nbytes - missing, 4, in_order=True)


def test_a_file_that_becomes_shorter_is_an_error_of_ours():
    with pytest.raises(CorruptionError, match="the file became shorter"):
        parse(b"PK\1\2", 0, 100, 1, in_order=True)


ZIP64 = 2**32 - 1
HOSTILE = {
    "encrypted": ({"flags": 1}, UnsupportedError, "'evil' is encrypted"),
    "method": ({"method": 12}, UnsupportedError, "'evil' has compression method 12"),
    "another-disk": ({"disk": 1}, FormatError, "'evil' lies on another disk"),
    "two-sizes": ({"nbytes": 9}, FormatError, "'evil' is stored with two sizes, 4 and 9"),
    "no-name": ({"name": b""}, FormatError, "without a name"),
    "nul": ({"name": b"a\0b"}, FormatError, "bad name"),
    "backslash": ({"name": b"a\\b"}, FormatError, "bad name"),
    "absolute": ({"name": b"/abs"}, FormatError, "bad name .* begins with '/'"),
    "parent": ({"name": b"a/../b"}, FormatError, "bad name"),
    "here": ({"name": b"./b"}, FormatError, "bad name"),
    "last-part": ({"name": b"a/.."}, FormatError, "bad name"),
    "zip64-missing": ({"offset": ZIP64}, FormatError, "zip64 extra field holds 0 bytes, 8"),
    "zip64-short": (
        {"offset": ZIP64, "extra": b"\1\0\4\0abcd"},
        FormatError,
        "zip64 extra field holds 4 bytes, 8",
    ),
    "zip64-2^63": (
        {"offset": ZIP64, "extra": b"\1\0\x08\0" + b"\xff" * 8},
        FormatError,
        "2\\^63 or more",
    ),
    "zip64-sizes": (
        {"nbytes": ZIP64, "encoded_nbytes": ZIP64, "extra": b"\1\0\x10\0" + b"\xff" * 16},
        FormatError,
        "2\\^63 or more",
    ),
    "signature": ({"signature": b"PK\1\3"}, CorruptionError, "no record's signature at byte"),
    "offset-behind": ({"offset": 10_000}, CorruptionError, "'evil'.* at offset 10000, outside"),
    "size-behind": (
        {"nbytes": 10_000, "encoded_nbytes": 10_000},
        CorruptionError,
        "'evil'.* 10000 bytes at offset .*, outside",
    ),
    "zip64-offset-behind": (
        {"offset": ZIP64, "extra": b"\1\0\x08\0" + b"\xff" * 7 + b"\x7f"},
        CorruptionError,
        "'evil'.* at offset 9223372036854775807, outside",
    ),
    "overlap": ({"offset": 5}, CorruptionError, "two entries overlap at byte 5"),
    "same-place": ({"offset": 0}, CorruptionError, "two entries overlap at byte 0"),
}


@pytest.mark.parametrize("place", ["alone", "in-a-run", "in-groups"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_record_is_refused_by_name(name, place, tmp_path):
    said, error, message = HOSTILE[name]
    count = {"alone": 1, "in-a-run": 100, "in-groups": 1}[place]
    sound = [RawEntry(b"good", b"data") for _ in range(count)]
    if place == "in-groups":
        # So many short runs that the rest is parsed in groups.
        sound += [RawEntry(b"n" * (1 + i % 2), b"data") for i in range(200)]
    path = tmp_path / "hostile.zip"
    path.write_bytes(build_zip([*sound, RawEntry(b"evil", b"data", record=said)]))
    with pytest.raises(error, match=message):
        open_and_check(path)


def open_and_check(path):
    container = Container(str(path))
    try:
        return container.check_extents()
    finally:
        container.close()


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=8))
def test_extents_overlap_exactly_if_two_intervals_do(tmp_path_factory, places):
    taken = Counter()
    records, limit = b"", 200
    for offset, nbytes in places:
        entry = RawEntry(b"x", record={"encoded_nbytes": nbytes, "nbytes": nbytes})
        records += entry.directory_record(offset)
        taken.update(range(offset, offset + 31 + nbytes))
    raw = bytes(limit) + records
    raw += layout.END.pack(
        layout.END_SIGNATURE, 0, 0, len(places), len(places), len(records), limit, 0
    )
    path = tmp_path_factory.mktemp("extents") / "a.zip"
    path.write_bytes(raw)
    if max(taken.values()) > 1:
        with pytest.raises(CorruptionError, match="two entries overlap at byte"):
            open_and_check(path)
    else:
        assert open_and_check(path) == limit - len(taken)


@given(zips(), st.data())
def test_a_damaged_directory_is_an_error_of_ours_or_parsed(raw, data):
    place = data.draw(st.integers(0, len(raw) - 1))
    damaged = bytearray(raw)
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    end = raw.rfind(layout.END_SIGNATURE)
    _, _, _, _, count, nbytes, start, _ = layout.END.unpack_from(raw, end)
    try:
        rows = parse(bytes(damaged), start, nbytes, count, in_order=False)
    except ChunkStoreError:
        return
    assert len(rows) == count


def test_an_end_record_that_promises_more_than_memory_holds_is_refused(tmp_path):
    path = tmp_path / "sparse.zip"
    nbytes = 46 << 37
    with path.open("wb") as file:
        file.write(layout.LOCAL_SIGNATURE + bytes(60))
        try:
            file.seek(64 + nbytes)
            file.write(
                layout.build_end(num_records=1 << 37, directory_start=64, directory_nbytes=nbytes)
            )
        except OSError as error:
            pytest.skip(f"this file system has no sparse files of {nbytes} bytes: {error}")
    with pytest.raises(CorruptionError, match=r"do not fit into memory|no record's signature"):
        open_and_check(path)
