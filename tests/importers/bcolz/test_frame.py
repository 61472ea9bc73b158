"""A frame decodes to exactly what was put into it, or is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chunkstore.errors import ChunkStoreError, CorruptionError, UnsupportedError
from chunkstore.importers.bcolz import decode, snappy
from chunkstore.importers.bcolz.decode import FrameDecoder
from chunkstore.importers.bcolz.frame import HEAD_NBYTES, iter_streams, parse_head
from tests.importers.bcolz.folders import blosc_frame, built_frame, chunk_file

# One frame of each codec as bcolz 1.2.1 wrote it: the int32 numbers 0 to 3, 64 times, level 5, byte
# shuffle. All but zstd have four streams.
NUMBERS = np.tile(np.arange(4, dtype="<i4"), 64)
LITERALS = {
    "blosclz": (
        "0201010400040000000400004c000000140000000a0000002300010203e0f20300030a0000002100"
        "00e0f200020000000a000000210000e0f200020000000a000000210000e0f20002000000"
    ),
    "lz4": (
        "0201210400040000000400005b0000001400000016000000cf0001020300010203000102030c00dc"
        "5003000102030b0000001f000100e75000000000000b0000001f000100e75000000000000b000000"
        "1f000100e7500000000000"
    ),
    "snappy": (
        "02014104000400000004000067000000140000001300000080020c00010203fe0400fe0400fe0400"
        "ee04001000000080020000fe0100fe0100fe0100fa01001000000080020000fe0100fe0100fe0100"
        "fa01001000000080020000fe0100fe0100fe0100fa0100"
    ),
    "zlib": (
        "02016104000400000004000057000000140000000f000000785e636064626618c11800c08001810c"
        "000000785e636018d90000010000010c000000785e636018d90000010000010c000000785e636018"
        "d9000001000001"
    ),
    "zstd": (
        "02019104000400000004000030000000140000001800000028b52ffd600003750000200001020302"
        "00fc4005f4538e08"
    ),
}


def decoded(frame, *, repair=False, decoder=None):
    raw = memoryview(chunk_file(bytes(frame)))
    header = parse_head(raw[:HEAD_NBYTES], file_nbytes=len(raw))
    out = np.full(header.nbytes, 0xAA, np.uint8)
    decoder = decoder or FrameDecoder(repair=repair)
    decoder.decode_into(raw[16 : 16 + header.frame_nbytes], header, out)
    return out.tobytes()


@pytest.mark.parametrize("codec", LITERALS)
def test_a_literal_frame_of_each_codec_decodes(codec):
    assert decoded(bytes.fromhex(LITERALS[codec])) == NUMBERS.tobytes()


DTYPES = ["u1", "<u2", "<i4", "<f8", "S3", "S17", "V33", "S300"]


@st.composite
def arrays(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    num = draw(st.integers(1, 40) | st.integers(1, 3000))
    few = draw(st.sampled_from([1, 3, 256]))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.Generator(np.random.Philox(seed))
    return rng.integers(0, few, num * dtype.itemsize).astype(np.uint8).view(dtype)


@given(
    array=arrays(),
    codec=st.sampled_from(["blosclz", "lz4", "lz4hc", "zlib", "zstd"]),
    shuffle=st.sampled_from(["none", "byte", "bit"]),
    level=st.sampled_from([0, 1, 5, 9]),
    block_nbytes=st.sampled_from([0, 128, 1000, 4096]),
)
def test_frames_of_c_blosc_decode_to_what_went_in(array, codec, shuffle, level, block_nbytes):
    frame = blosc_frame(array, codec=codec, level=level, shuffle=shuffle, block_nbytes=block_nbytes)
    assert decoded(frame) == array.tobytes()


@given(
    array=arrays(),
    codec=st.sampled_from(["snappy", "lz4"]),
    shuffle=st.sampled_from(["none", "byte", "bit"]),
    elements_in_block=st.sampled_from([1, 7, 8, 128, 130, 1000]),
    split=st.booleans(),
)
def test_frames_built_stream_by_stream_decode(array, codec, shuffle, elements_in_block, split):
    typesize = array.dtype.itemsize if array.dtype.itemsize < 256 else 1
    block_nbytes = min(elements_in_block * typesize, array.nbytes)
    frame = built_frame(
        array.tobytes(),
        typesize=typesize,
        block_nbytes=block_nbytes,
        codec=codec,
        shuffle=shuffle,
        split=split,
    )
    assert decoded(frame) == array.tobytes()


def test_a_decoder_takes_frames_of_any_layout_one_after_the_other():
    rng = np.random.Generator(np.random.Philox(5))
    decoder = FrameDecoder()
    for _ in range(60):
        data = rng.integers(0, 3, rng.integers(8, 4000)).astype(np.uint8).tobytes()
        typesize = int(rng.integers(2, 9))
        frame = built_frame(
            data,
            typesize=typesize,
            block_nbytes=min(
                int(rng.integers(1, 300)) * typesize, len(data) // typesize * typesize
            ),
            shuffle=str(rng.choice(["byte", "bit"])),
        )
        assert decoded(frame, decoder=decoder) == data


def test_a_frame_of_more_than_one_group_of_blocks_decodes(monkeypatch):
    monkeypatch.setattr(decode, "_GROUP_NBYTES", 1000)
    data = np.arange(5003, dtype="<u4").tobytes() + b"tail"
    for block_nbytes in (400, 512, 4000):
        frame = built_frame(data, typesize=4, block_nbytes=block_nbytes)
        assert decoded(frame) == data


@given(
    array=hnp.arrays(np.uint8, st.integers(20, 600), elements=st.integers(0, 3)),
    codec=st.sampled_from(["lz4", "snappy", "zstd", "zlib", "blosclz"]),
    damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 100) | st.just(0),
)
def test_a_damaged_frame_gives_an_error_or_exactly_its_size(array, codec, damage, cut):
    if codec == "snappy":
        frame = bytearray(built_frame(array.tobytes(), typesize=2, block_nbytes=len(array)))
    else:
        frame = bytearray(blosc_frame(array, codec=codec))
    for place, value in damage:
        frame[place % len(frame)] = value
    nbytes = struct.unpack_from("<I", frame, 4)[0]
    try:
        values = decoded(frame[: len(frame) - cut])
    except ChunkStoreError:
        return
    assert len(values) == nbytes


HEADER_LIES = [
    ("cut to the header", lambda f: f[:16], "cut short"),
    ("cut by a byte", lambda f: f[:-1], "cut short"),
    ("cut within the header", lambda f: f[:10], "two headers alone"),
    ("version 5", lambda f: b"\x05" + f[1:], "Blosc format version 5"),
    ("reserved flag", lambda f: f[:2] + bytes([f[2] | 8]) + f[3:], "reserved flag"),
    ("codec 6", lambda f: f[:2] + bytes([f[2] & 31 | 6 << 5]) + f[3:], "codec number 6"),
    ("typesize 0", lambda f: f[:3] + b"\0" + f[4:], "typesize 0"),
    ("holds nothing", lambda f: f[:4] + bytes(4) + f[8:], "holds 0 bytes"),
    ("holds 2 GiB", lambda f: f[:4] + b"\xe0\xff\xff\x7f" + f[8:], "cannot hold 2147483616"),
    ("block size 0", lambda f: f[:8] + bytes(4) + f[12:], "blocks of 0 bytes"),
    ("takes more", lambda f: f[:12] + b"\xff\xff\0\0" + f[16:], "cut short"),
    ("all zero", lambda f: bytes(len(f)), "version 0"),
]


@pytest.mark.parametrize(
    ("change", "message"), [case[1:] for case in HEADER_LIES], ids=[case[0] for case in HEADER_LIES]
)
def test_a_header_that_lies_is_refused_before_decoding(change, message):
    frame = blosc_frame(np.arange(300, dtype="<i4"))
    with pytest.raises(CorruptionError, match=message):
        decoded(change(frame))


def test_a_copied_frame_that_is_cut_is_refused():
    frame = blosc_frame(np.arange(300, dtype="<i4"), level=0)
    assert decoded(frame) == np.arange(300, dtype="<i4").tobytes()
    half = frame[: len(frame) // 2]
    with pytest.raises(CorruptionError, match="cut short"):
        decoded(half)
    lying = half[:12] + struct.pack("<I", len(half)) + half[16:]
    with pytest.raises(CorruptionError, match="uncompressed and takes"):
        decoded(lying)


@pytest.mark.parametrize(
    "raw", [b"<!DOCTYPE html><html>" * 4, bytes(64), b"version https://git-lfs" * 4]
)
def test_what_is_no_chunk_of_bcolz_is_refused(raw):
    with pytest.raises(CorruptionError, match="no chunk of bcolz"):
        parse_head(raw[:HEAD_NBYTES], file_nbytes=len(raw))


@pytest.mark.parametrize("place", [-1, 0, 19, 10_000, 0x40000000])
def test_a_block_that_starts_outside_the_frame_is_refused(place):
    frame = bytearray(built_frame(bytes(600), typesize=2, block_nbytes=600))
    frame[16:20] = struct.pack("<i", place)
    with pytest.raises(CorruptionError, match="outside the frame"):
        decoded(frame)


def test_a_snappy_stream_of_another_length_is_refused():
    frame = built_frame(bytes(600), typesize=1, block_nbytes=600, split=False, shuffle="none")
    short = built_frame(bytes(599), typesize=1, block_nbytes=599, split=False, shuffle="none")
    assert len(frame) == len(short)
    # The header promises 600 bytes, the stream holds 599; and the other way round.
    with pytest.raises(CorruptionError, match="snappy stream holds 599 bytes, expected 600"):
        decoded(frame[:16] + short[16:])
    with pytest.raises(CorruptionError, match="snappy stream does not decode"):
        decoded(short[:16] + frame[16:])


def test_without_cramjam_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(snappy, "_cramjam", None)
    assert not snappy.has_snappy()
    frame = built_frame(bytes(600), typesize=2, block_nbytes=600)
    with pytest.raises(UnsupportedError, match=r"pip install 'chunkstore\[bcolz\]'"):
        decoded(frame)


def test_streams_are_walked_in_the_order_of_their_content():
    data = np.arange(1000, dtype="<u4").tobytes()
    frame = memoryview(built_frame(data, typesize=4, block_nbytes=1024))
    header = parse_head(chunk_file(bytes(frame))[:HEAD_NBYTES], file_nbytes=len(frame) + 16)
    streams = list(iter_streams(frame, header))
    # Three whole blocks of four streams, and the rest in one.
    assert [stream[2:] for stream in streams[:5]] == [
        (0, 256),
        (256, 256),
        (512, 256),
        (768, 256),
        (1024, 256),
    ]
    assert streams[-1][2:] == (3072, 928)
    assert len(streams) == 13


def equal_size_frame():
    """Return a frame of two blocks, of which the first was stored wrongly, and its content."""
    literals = bytes(range(100, 148))
    # 15 + 33 literals, a match of 5 bytes that begins one byte back, 12 literals: 65 for 65.
    block = bytes([0xF1, 33]) + literals + b"\x01\x00" + bytes([0xC0]) + b"abcdefghijkl"
    content = literals + literals[-1:] * 5 + b"abcdefghijkl"
    assert len(block) == len(content) == 65
    # A literal 0, a match of 52 that begins one byte back, then 12 literals.
    zeros = bytes([0x1F, 0, 1, 0, 33, 0xC0]) + bytes(12)
    starts = 24, 24 + 4 + len(block)
    frame = (
        struct.pack("<BBBBIII", 2, 1, 1 << 5, 1, 130, 65, starts[1] + 4 + len(zeros))
        + struct.pack("<iii", *starts, len(block))
        + block
        + struct.pack("<i", len(zeros))
        + zeros
    )
    return frame, block, content


def test_a_stream_that_an_old_writer_stored_compressed_at_equal_size_is_repaired():
    frame, block, content = equal_size_frame()
    assert decoded(frame) == block + bytes(65)
    decoder = FrameDecoder(repair=True)
    assert decoded(frame, decoder=decoder) == content + bytes(65)
    assert decoder.num_repaired == 1
    # A stream that really is raw stays as it is.
    raw = frame.replace(block, bytes(range(65)))
    assert decoded(raw, decoder=decoder) == bytes(range(65)) + bytes(65)
    assert decoder.num_repaired == 1
    # Writers that set the flag had the mistake no more.
    flagged = frame[:2] + bytes([frame[2] | 0x10]) + frame[3:]
    assert decoded(flagged, repair=True) == block + bytes(65)
