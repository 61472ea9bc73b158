"""Does every chain of codecs give back what went in, and only that?"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import blosc

from chunkstore.errors import CorruptionError, UnsupportedError
from chunkstore.format.blosc import BloscCodec
from chunkstore.format.chain import CodecChain
from chunkstore.format.codec_metadata import parse_codecs
from chunkstore.format.codecs import (
    BLOSC_CODECS,
    CODEC_NAMES,
    LEVELS,
    SHUFFLES,
    default_codecs,
    smallest_shuffle,
)
from chunkstore.format.crc32c import Crc32cCodec, crc32c
from chunkstore.format.gzip import GzipCodec
from chunkstore.format.lz4 import Lz4Codec
from chunkstore.format.zstd import ZstdCodec
from tests.format.documents import BIG, CRC32C, GZIP, LITTLE, ZSTD, any_bits, chunks

U2 = np.dtype("uint16")


def decoded(chain, encoded, shape):
    out = np.full(shape, 0, chain.dtype)
    out.reshape(-1).view(np.uint8)[...] = 0xA5
    chain.decode_into(encoded, out)
    return out


@st.composite
def bytes_codecs(draw):
    kind = draw(st.sampled_from(["blosc", "zstd", "gzip", "zlib", "lz4", "crc32c"]))
    if kind == "blosc":
        return BloscCodec(
            draw(st.sampled_from(BLOSC_CODECS)),
            draw(st.integers(0, 9)),
            draw(st.sampled_from(SHUFFLES)),
            draw(st.sampled_from([1, 2, 3, 4, 8, 16, 255])),
            draw(st.sampled_from([0, 0, 64])),
        )
    if kind == "zstd":
        return ZstdCodec(draw(st.integers(-5, 3)), draw(st.booleans()))
    if kind == "lz4":
        return Lz4Codec()
    if kind == "crc32c":
        return Crc32cCodec()
    return GzipCodec(draw(st.integers(0, 9)), kind == "zlib")


@given(
    chunks(),
    st.lists(bytes_codecs(), max_size=4),
    st.sampled_from(["little", "big"]),
    st.randoms(use_true_random=False),
)
def test_any_chain_gives_back_every_bit(chunk, behind, endian, random):
    order = list(range(chunk.ndim))
    random.shuffle(order)
    chain = CodecChain(
        chunk.dtype,
        None if chunk.dtype.itemsize == 1 else endian,
        tuple(behind),
        order=tuple(order) if chunk.ndim > 1 else None,
    )
    before = chunk.tobytes()
    encoded = chain.encode(chunk)
    assert type(encoded) is bytes
    assert len(encoded) <= chain.max_encoded_nbytes(chunk.nbytes)
    assert chunk.tobytes() == before
    assert decoded(chain, encoded, chunk.shape).tobytes() == before
    assert decoded(chain, memoryview(bytearray(encoded)), chunk.shape).tobytes() == before


@given(chunks(), st.sampled_from(CODEC_NAMES), st.integers(0, 9), st.sampled_from(SHUFFLES))
def test_what_we_write_with_gives_back_every_bit(chunk, codec, level, shuffle):
    chain = default_codecs(chunk.dtype, codec=codec, level=level, shuffle=shuffle)
    assert decoded(chain, chain.encode(chunk), chunk.shape).tobytes() == chunk.tobytes()


@pytest.mark.parametrize("endian", ["little", "big"])
def test_the_byte_order_is_that_of_the_stored_bytes(endian):
    chain = CodecChain(np.dtype("complex64"), endian)
    chunk = np.array([1 + 2j], np.complex64)
    encoded = chain.encode(chunk)
    assert encoded == chunk.astype("<c8" if endian == "little" else ">c8").tobytes()
    assert decoded(chain, encoded, (1,)) == chunk


def test_the_transpose_is_that_of_the_specification():
    chunk = np.arange(6, dtype=U2).reshape(1, 2, 3)
    chain = CodecChain(U2, "little", order=(2, 0, 1))
    assert chain.encode(chunk) == chunk.transpose(2, 0, 1).tobytes()
    assert CodecChain(U2, "little", order=(2, 1, 0)).encode(chunk) == chunk.tobytes("F")


def blosc_json(cname, clevel, shuffle):
    options = {"cname": cname, "clevel": clevel, "shuffle": shuffle, "typesize": 2, "blocksize": 0}
    return {"name": "blosc", "configuration": options}


# Encoded bytes that must decode for ever, and what they hold.
GOLDEN_CHUNK = np.repeat(np.arange(1, 5, dtype=U2), 32)
RAW = GOLDEN_CHUNK.astype("<u2").tobytes()
PLAIN_ZSTD = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}
GOLDEN = {
    "blosc-blosclz": (
        [LITTLE, blosc_json("blosclz", 5, "shuffle")],
        (
            "02010102000100000001000041000000140000001a0000002301010101e013030002e016000003e0"
            "16000004e014000104040b0000002300000000e07103010000"
        ),
    ),
    "blosc-lz4": (
        [LITTLE, blosc_json("lz4", 5, "shuffle")],
        (
            "02012102000100000001000041000000140000001a0000001f0101000c1f0201000c1f0301000c1f"
            "040100075004040404040b0000001f00010067500000000000"
        ),
    ),
    "blosc-lz4hc": (
        [LITTLE, blosc_json("lz4hc", 5, "shuffle")],
        (
            "02012102000100000001000041000000140000001a0000001f0101000c1f0201000c1f0301000c1f"
            "040100075004040404040b0000001f00010067500000000000"
        ),
    ),
    "blosc-zlib": (
        [LITTLE, blosc_json("zlib", 5, "shuffle")],
        (
            "0201610200010000000100003c0000001400000014000000785e6364c40f98080066028085000000"
            "3d2001410c000000785e63601858000000800001"
        ),
    ),
    "blosc-zstd": (
        [LITTLE, blosc_json("zstd", 5, "shuffle")],
        (
            "02019102000100000001000034000000140000001c00000028b52ffd600000950000300101020304"
            "000510003c95e61ad608110b"
        ),
    ),
    "blosc-lz4-bit": (
        [LITTLE, blosc_json("lz4", 9, "bitshuffle")],
        (
            "0201240200010000000100004f000000140000002800000084ffffffff000000000800000200000c"
            "00000200000c000802000f1400010f0200285000000000000b0000001f00010067500000000000"
        ),
    ),
    "blosc-copied": (
        [LITTLE, blosc_json("lz4", 0, "noshuffle")],
        "02012202000100000001000010010000" + RAW.hex(),
    ),
    "zstd": ([LITTLE, PLAIN_ZSTD], "28b52ffd600000850000280100020304040427044270046cb936"),
    "zstd-checksum": (
        [LITTLE, ZSTD],
        "28b52ffd640000850000280100020304040427044270046cb936dec93ab7",
    ),
    "gzip": (
        [LITTLE, GZIP],
        "1f8b0800000000000403636460a40832315006991928832c0c944100a79940f700010000",
    ),
    "crc32c": ([LITTLE, CRC32C], RAW.hex() + "6b8a0f05"),
    "blosc-crc32c": (
        [LITTLE, blosc_json("lz4", 5, "shuffle"), CRC32C],
        (
            "02012102000100000001000041000000140000001a0000001f0101000c1f0201000c1f0301000c1f"
            "040100075004040404040b0000001f00010067500000000000a1467060"
        ),
    ),
    "gzip-zstd": (
        [LITTLE, GZIP, PLAIN_ZSTD],
        (
            "28b52ffd20242101001f8b0800000000000403636460a40832315006991928832c0c944100a79940"
            "f700010000"
        ),
    ),
    "raw": ([LITTLE], RAW.hex()),
    "raw-big": ([BIG], GOLDEN_CHUNK.astype(">u2").tobytes().hex()),
}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_old_bytes_decode_for_ever(name):
    codecs, text = GOLDEN[name]
    chain = parse_codecs(codecs, dtype=U2, chunk_shape=(128,), fill_value=0)
    np.testing.assert_array_equal(decoded(chain, bytes.fromhex(text), (128,)), GOLDEN_CHUNK)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_one_changed_byte_is_an_error_or_other_data_and_nothing_else(name):
    codecs, text = GOLDEN[name]
    chain = parse_codecs(codecs, dtype=U2, chunk_shape=(128,), fill_value=0)
    sound = bytes.fromhex(text)
    refused = 0
    for place in range(len(sound)):
        for value in (0x00, 0x01, 0x7F, 0x80, 0xFF):
            changed = bytearray(sound)
            changed[place] = value
            try:
                chain.decode_into(bytes(changed), np.zeros(128, U2))
            except (CorruptionError, UnsupportedError):
                refused += 1
    # Without checksum most changes are other data; the size and the frame are always held.
    assert (refused > 0) == (not name.startswith("raw"))


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_bytes_cut_anywhere_or_with_more_behind_are_refused(name):
    codecs, text = GOLDEN[name]
    chain = parse_codecs(codecs, dtype=U2, chunk_shape=(128,), fill_value=0)
    sound = bytes.fromhex(text)
    for length in range(len(sound)):
        with pytest.raises(CorruptionError):
            chain.decode_into(sound[:length], np.zeros(128, U2))
    for more in (b"\x00", b"junk", sound):
        with pytest.raises(CorruptionError):
            chain.decode_into(sound + more, np.zeros(128, U2))


@pytest.mark.parametrize("name", sorted(GOLDEN))
@pytest.mark.parametrize("length", [1, 127, 129, 256])
def test_a_chunk_of_another_size_is_refused(name, length):
    codecs, text = GOLDEN[name]
    chain = parse_codecs(codecs, dtype=U2, chunk_shape=(128,), fill_value=0)
    with pytest.raises(CorruptionError):
        chain.decode_into(bytes.fromhex(text), np.zeros(length, U2))


@pytest.mark.parametrize(
    ("chain", "encoded", "message"),
    [
        pytest.param((), b"12345", r"has a length of 5 bytes, its shape \(2,\) needs 4", id="raw"),
        pytest.param((GzipCodec(),), b"12345", "gzip stream is damaged: .*header", id="gzip"),
        pytest.param(
            (GzipCodec(),),
            GzipCodec().encode(b"123"),
            "gzip stream decodes to 3 bytes, the chunk has 4",
            id="gzip-short",
        ),
        pytest.param(
            (GzipCodec(),),
            GzipCodec().encode(b"12345"),
            "gzip stream decodes to more than 4 bytes",
            id="gzip-long",
        ),
        pytest.param(
            (GzipCodec(is_zlib=True),),
            GzipCodec(is_zlib=True).encode(b"1234")[:-1],
            "zlib stream is cut short behind 4 bytes",
            id="zlib-cut",
        ),
        pytest.param(
            (GzipCodec(),),
            GzipCodec().encode(b"1234") + b"123",
            "gzip stream has 3 bytes behind its end",
            id="gzip-more",
        ),
        pytest.param(
            (ZstdCodec(),),
            ZstdCodec().encode(b"123"),
            "zstd frame decodes to 3 bytes, the chunk has 4",
            id="zstd-short",
        ),
        pytest.param(
            (ZstdCodec(),),
            ZstdCodec().encode(b"1234")[:-1],
            "zstd frame does not decode to 4 bytes: ",
            id="zstd-cut",
        ),
        pytest.param((ZstdCodec(),), b"1234", "zstd frame must begin with 28b52ffd", id="zstd"),
        pytest.param((Lz4Codec(),), b"123", "lz4 block is cut short: 3 bytes", id="lz4"),
        pytest.param(
            (Lz4Codec(),),
            Lz4Codec().encode(b"12345"),
            "lz4 block decodes to 5 bytes, the chunk has 4",
            id="lz4-long",
        ),
        pytest.param(
            (Lz4Codec(),),
            Lz4Codec().encode(b"123"),
            "lz4 block decodes to 3 bytes, the chunk has 4",
            id="lz4-short",
        ),
        pytest.param(
            (Lz4Codec(),),
            (1 << 31).to_bytes(4, "little") + b"12",
            "decodes to 2147483648 bytes, the chunk has 4",
            id="lz4-lies",
        ),
        pytest.param((Crc32cCodec(),), b"123", "crc32c is cut short: 3 bytes", id="crc"),
        pytest.param(
            (Crc32cCodec(),),
            b"12340000",
            f"crc32c is 0x{crc32c(b'1234'):08x}, expected 0x30303030",
            id="crc-wrong",
        ),
        pytest.param(
            (Crc32cCodec(),),
            Crc32cCodec().encode(b"12345"),
            "5 bytes stand in front of the crc32c, the chunk has 4",
            id="crc-long",
        ),
        pytest.param(
            (BloscCodec("lz4", 5, "none", 1), GzipCodec()),
            GzipCodec().encode(b"x" * 21),
            "gzip stream decodes to more than 20 bytes",
            id="inner-gzip-long",
        ),
        pytest.param(
            (Crc32cCodec(), ZstdCodec()),
            ZstdCodec().encode(b"x" * 9),
            "zstd frame decodes to 9 bytes, at most 8 can be",
            id="inner-zstd-long",
        ),
        pytest.param(
            (Crc32cCodec(), BloscCodec("lz4", 5, "none", 1)),
            BloscCodec("lz4", 5, "none", 1).encode(b"x" * 9),
            "blosc frame decodes to 9 bytes, at most 8 can be",
            id="inner-blosc-long",
        ),
        pytest.param(
            (Crc32cCodec(), Lz4Codec()),
            Lz4Codec().encode(b"x" * 9),
            "lz4 block decodes to 9 bytes, at most 8 can be",
            id="inner-lz4-long",
        ),
        pytest.param(
            (GzipCodec(), Crc32cCodec()),
            Crc32cCodec().encode(b"x" * 2000),
            "2000 bytes stand in front of the crc32c, at most 1028 can be",
            id="inner-crc-long",
        ),
        pytest.param(
            (Crc32cCodec(), BloscCodec("lz4", 5, "none", 1)), b"x" * 9, "blosc .*short", id="inner"
        ),
        pytest.param(
            (Crc32cCodec(), BloscCodec("lz4", 5, "none", 1)),
            bytes.fromhex("02010000000000000000000010000000"),
            "crc32c is cut short: 0 bytes",
            id="inner-blosc-of-nothing",
        ),
    ],
)
def test_what_does_not_decode_is_refused_in_words(chain, encoded, message):
    with pytest.raises(CorruptionError, match=message):
        CodecChain(U2, "little", chain).decode_into(encoded, np.zeros(2, U2))


def zstd_block(data, *, last=True):
    """Return a zstd frame without content size, of one uncompressed block."""
    block = ((len(data) << 3) | int(last)).to_bytes(3, "little") + data
    return bytes.fromhex("28b52ffd0058") + block


def test_a_zstd_frame_without_content_size_is_read_and_held_to_the_chunk():
    chain = CodecChain(U2, "little", (ZstdCodec(),))
    np.testing.assert_array_equal(decoded(chain, zstd_block(b"\1\0\2\0"), (2,)), [1, 2])
    for data in (b"", b"\1\0\2", b"\1\0\2\0\3"):
        with pytest.raises(CorruptionError, match="does not decode to 4 bytes"):
            chain.decode_into(zstd_block(data), np.zeros(2, U2))
    with pytest.raises(CorruptionError, match="does not decode to 4 bytes"):
        chain.decode_into(zstd_block(b"\1\0\2\0", last=False), np.zeros(2, U2))


def test_a_zstd_frame_without_content_size_between_codecs_is_refused_by_name():
    chain = CodecChain(U2, "little", (Crc32cCodec(), ZstdCodec()))
    with pytest.raises(UnsupportedError, match="zstd frame without content size"):
        chain.decode_into(zstd_block(bytes(8)), np.zeros(2, U2))


def test_a_frame_that_claims_less_never_leaves_old_data_in_the_chunk():
    chain = CodecChain(U2, "little", (ZstdCodec(),))
    with pytest.raises(CorruptionError):
        chain.decode_into(ZstdCodec().encode(b"\1\0"), np.full(2, 7, U2))


@pytest.mark.parametrize(
    "out",
    [
        pytest.param(np.zeros((4, 4), U2)[:, ::2], id="strided"),
        pytest.param(np.zeros((4, 2), U2, order="F"), id="fortran"),
        pytest.param(np.zeros((4, 2), ">u2"), id="byte-order"),
        pytest.param(np.zeros((4, 2), np.int16), id="dtype"),
        pytest.param(np.frombuffer(bytes(16), U2).reshape(4, 2), id="read-only"),
    ],
)
def test_only_a_plain_writable_array_of_the_type_is_filled(out):
    chain = default_codecs(U2, codec="lz4", level=1, shuffle="none")
    encoded = chain.encode(np.ones((4, 2), U2))
    with pytest.raises(ValueError, match="out must be C-contiguous, writable and of dtype uint16"):
        chain.decode_into(encoded, out)


def test_a_chunk_of_another_type_or_without_elements_is_not_encoded():
    chain = default_codecs(U2, codec="lz4", level=1, shuffle="none")
    for chunk in (np.zeros(3, np.int16), np.zeros(0, U2)):
        with pytest.raises(ValueError, match="must be of dtype uint16 and not empty"):
            chain.encode(chunk)


def test_an_array_without_elements_needs_no_bytes():
    chain = default_codecs(U2, codec="lz4", level=1, shuffle="none")
    chain.decode_into(b"", np.zeros((0, 3), U2))


@pytest.mark.parametrize("codec", CODEC_NAMES)
def test_encoded_bytes_are_no_view_of_the_chunk(codec):
    chunk = any_bits((1000,), U2, seed=1)
    chain = default_codecs(U2, codec=codec, level=0, shuffle="none")
    encoded = chain.encode(chunk)
    expected = chunk.copy()
    chunk[...] = 0
    np.testing.assert_array_equal(decoded(chain, encoded, (1000,)), expected)


def test_a_chunk_need_not_be_contiguous_to_be_encoded():
    whole = any_bits((6, 8), U2, seed=2)
    chain = default_codecs(U2, codec="zstd", level=1, shuffle="bit")
    assert chain.encode(whole[::2, ::-1]) == chain.encode(whole[::2, ::-1].copy())


def test_the_frame_goes_straight_into_the_callers_memory(monkeypatch):
    chain = default_codecs(U2, codec="lz4", level=1, shuffle="byte")
    encoded = chain.encode(GOLDEN_CHUNK)
    calls = []
    monkeypatch.setattr(blosc, "decompress", lambda *args: calls.append(args))
    out = np.zeros(128, U2)
    chain.decode_into(encoded, out)
    assert len(calls) == 1
    assert calls[0][0] is encoded
    assert calls[0][1] is out


@pytest.mark.parametrize("setting", [None, True, False])
def test_equal_chunks_give_equal_bytes_in_every_thread_and_setting(setting, monkeypatch):
    monkeypatch.setattr(blosc, "use_threads", setting)
    # Several blocks in a frame: c-blosc's own threads would write them in any order.
    chunk = np.random.default_rng(0).integers(0, 50, 1 << 20, dtype=np.uint8)
    chain = default_codecs(chunk.dtype, codec="lz4", level=5, shuffle="bit")
    with ThreadPoolExecutor(3) as pool:
        frames = list(pool.map(chain.encode, [chunk] * 6))
    frames += [chain.encode(chunk) for _ in range(6)]
    assert len(set(frames)) == 1
    assert blosc.use_threads is setting


def test_the_setting_of_numcodecs_comes_back_after_an_error(monkeypatch):
    def fail(*_):
        assert blosc.use_threads is False
        raise RuntimeError("no")

    monkeypatch.setattr(blosc, "compress", fail)
    monkeypatch.setattr(blosc, "use_threads", True)
    with pytest.raises(RuntimeError, match="no"):
        BloscCodec("lz4", 5, "none", 1).encode(b"1")
    assert blosc.use_threads is True


def test_the_setting_stays_until_the_last_thread_has_encoded(monkeypatch):
    entered, leave = threading.Event(), threading.Event()

    def wait(elements, *_):
        if len(elements) == 1:
            entered.set()
            leave.wait()
        return b""

    monkeypatch.setattr(blosc, "compress", wait)
    monkeypatch.setattr(blosc, "use_threads", True)
    codec = BloscCodec("lz4", 5, "none", 1)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(codec.encode, b"1")
        try:
            entered.wait()
            codec.encode(b"12")
            assert blosc.use_threads is False
        finally:
            leave.set()
        slow.result()
    assert blosc.use_threads is True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_while_a_thread_encodes_gets_the_setting_back_and_can_encode():
    program = """
import os, threading
from numcodecs import blosc
from chunkstore.format import blosc as ours

entered, leave = threading.Event(), threading.Event()
def compress(*arguments):
    entered.set()
    leave.wait()
    return b""
real, blosc.compress = blosc.compress, compress
thread = threading.Thread(target=ours.BloscCodec("lz4", 5, "none", 1).encode, args=(b"123",))
thread.start()
entered.wait()
child = os.fork()
blosc.compress = real
if child == 0:
    sound = blosc.use_threads is None
    frame = ours.BloscCodec("lz4", 5, "none", 1).encode(b"123")
    os._exit(0 if sound and len(frame) == 19 and blosc.use_threads is None else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
leave.set()
thread.join()
raise SystemExit(code or blosc.use_threads is not None)
"""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        check=False,
        timeout=60,
        capture_output=True,
    )
    assert result.returncode == 0, result.stderr.decode()


def test_threads_that_encode_and_decode_together_do_not_disturb_each_other():
    names = [name for name in CODEC_NAMES if name != "raw"]
    barrier = threading.Barrier(4)

    def work(seed):
        rng = np.random.default_rng(seed)
        barrier.wait()
        for round_number in range(12):
            chunk = rng.integers(0, 9, 20_000).astype(np.float32)
            name = names[(seed + round_number) % len(names)]
            chain = default_codecs(chunk.dtype, codec=name, level=1, shuffle="bit")
            np.testing.assert_array_equal(decoded(chain, chain.encode(chunk), chunk.shape), chunk)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


@pytest.mark.parametrize("chain", ["lz4", "gzip", "plain-zstd"])
def test_the_interpreter_lock_is_free_while_a_chunk_is_decoded(chain):
    dtype = np.dtype(np.uint8)
    if chain == "plain-zstd":
        codecs = CodecChain(dtype, None, (ZstdCodec(1),))
    else:
        codecs = default_codecs(dtype, codec=chain, level=1, shuffle="bit")
    out = np.zeros(8 << 20, np.uint8)
    encoded = codecs.encode(np.random.default_rng(1).integers(0, 9, len(out), dtype=np.uint8))
    counter = 0
    finished = threading.Event()

    def work():
        for _ in range(3):
            codecs.decode_into(encoded, out)
        finished.set()

    thread = threading.Thread(target=work)
    switch = sys.getswitchinterval()
    # With the lock held for all of the decoding, this thread would get no turn at all.
    sys.setswitchinterval(100.0)
    try:
        thread.start()
        while not finished.is_set():
            counter += 1
            finished.wait(0.0005)
    finally:
        sys.setswitchinterval(switch)
        thread.join()
    assert counter > 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"codec": "snappy"},
            "codec must be one of blosclz, lz4, lz4hc, zlib, zstd, gzip, raw; got",
        ),
        ({"codec": None}, "got None"),
        ({"level": 10}, "level must be a whole number from 0 to 9, got 10"),
        ({"level": -1}, "got -1"),
        ({"level": True}, "got True"),
        ({"level": 1.5}, "got 1.5"),
        ({"level": "1"}, "got '1'"),
        ({"shuffle": "shuffle"}, "shuffle must be one of none, byte, bit; got 'shuffle'"),
        ({"shuffle": "auto"}, "got 'auto'"),
    ],
    ids=str,
)
def test_an_option_that_does_not_exist_is_a_value_error(options, message):
    options = {"codec": "lz4", "level": 1, "shuffle": "none"} | options
    with pytest.raises(ValueError, match=message):
        default_codecs(U2, **options)


def test_the_names_that_are_allowed():
    assert BLOSC_CODECS == ("blosclz", "lz4", "lz4hc", "zlib", "zstd")
    assert CODEC_NAMES == ("blosclz", "lz4", "lz4hc", "zlib", "zstd", "gzip", "raw")
    assert SHUFFLES == ("none", "byte", "bit")
    assert list(LEVELS) == list(range(10))


def size_with(chunk, shuffle, codec="zstd"):
    return len(default_codecs(chunk.dtype, codec=codec, level=1, shuffle=shuffle).encode(chunk))


@given(chunks(), st.sampled_from(BLOSC_CODECS))
def test_the_smallest_shuffle_is_the_smallest(chunk, codec):
    best = smallest_shuffle(chunk, codec=codec, level=1)
    assert size_with(chunk, best, codec) == min(size_with(chunk, s, codec) for s in SHUFFLES)


PERIOD = np.random.default_rng(0).integers(32, 127, 61)


@pytest.mark.parametrize(
    ("chunk", "best"),
    [
        pytest.param(np.random.default_rng(0).bytes(4000), "none", id="noise"),
        pytest.param(np.tile(PERIOD, 70).astype(np.int64).tobytes(), "byte", id="periodic"),
        pytest.param(np.random.default_rng(0).integers(0, 3, 4000).tobytes(), "bit", id="small"),
        pytest.param(bytes(8), "none", id="equal"),
    ],
)
def test_each_shuffle_wins_where_it_should(chunk, best):
    assert smallest_shuffle(np.frombuffer(chunk, np.int64), codec="zstd", level=1) == best


def test_bytes_are_never_shuffled_by_bytes():
    chunk = np.arange(4000, dtype=np.int64).view(np.uint8)
    assert smallest_shuffle(chunk, codec="zstd", level=1) in ("none", "bit")


def test_a_shuffle_is_chosen_for_blosc_only():
    with pytest.raises(ValueError, match=r"codec must be one of blosclz, .* zstd; got 'gzip'"):
        smallest_shuffle(GOLDEN_CHUNK, codec="gzip", level=1)


def test_crc32c_is_that_of_the_standard():
    # RFC 3720, appendix B.4: 32 bytes of zeros, and the bytes 0 to 31.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(
        UnsupportedError, match="crc32c needs the package google-crc32c: pip install"
    ):
        Crc32cCodec().encode(b"1")


def test_an_error_has_no_place_the_caller_adds_it():
    with pytest.raises(CorruptionError) as caught:
        CodecChain(U2, "little").decode_into(b"1", np.zeros(1, U2))
    assert (caught.value.path, caught.value.key, caught.value.offset) == (None, None, None)
