"""Is a Blosc frame that is not what it says refused, before a decoder follows it?"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from chunkstore.errors import CorruptionError
from chunkstore.format.blosc import BLOSC_CODECS, BloscCodec
from chunkstore.format.blosc_frame import HEADER_NBYTES, check_frame, frame_decoded_nbytes
from chunkstore.format.chain import CodecChain
from chunkstore.format.crc32c import Crc32cCodec
from tests.support import REPOSITORY

HEADER = struct.Struct("<BBBBIII")
FIELDS = ("version", "codec_version", "flags", "typesize", "nbytes", "block_nbytes", "cbytes")
U1 = np.dtype(np.uint8)


def frame_of(header, body):
    return HEADER.pack(*(header[field] for field in FIELDS)) + body


def sound(codec="lz4", level=5):
    """Return the header, as fields, and the rest of a frame of 1000 bytes."""
    frame = BloscCodec(codec, level, "none", 4).encode(b"abcde" * 200)
    return dict(zip(FIELDS, HEADER.unpack_from(frame), strict=True)), frame[HEADER_NBYTES:]


@pytest.mark.parametrize("codec", BLOSC_CODECS)
@pytest.mark.parametrize("level", [0, 5])
def test_a_frame_as_the_encoder_makes_it_passes(codec, level):
    header, body = sound(codec, level)
    check_frame(frame_of(header, body), 1000)
    check_frame(memoryview(bytearray(frame_of(header, body))), 1000)
    assert frame_decoded_nbytes(frame_of(header, body)) == 1000


LZ4_SIZE = sum(map(len, (sound()[1],))) + HEADER_NBYTES


@pytest.mark.parametrize(
    ("level", "changes", "message"),
    [
        (5, {"version": 1}, "blosc frame has version 1, expected 2"),
        (5, {"version": 3}, "blosc frame has version 3, expected 2"),
        (
            5,
            {"cbytes": LZ4_SIZE + 1},
            f"frame is cut short: its header says {LZ4_SIZE + 1} bytes, {LZ4_SIZE} are there",
        ),
        (
            5,
            {"cbytes": LZ4_SIZE - 1},
            f"has bytes behind its end: its header says {LZ4_SIZE - 1} bytes, {LZ4_SIZE} are",
        ),
        (5, {"cbytes": 0}, "has bytes behind its end"),
        (5, {"cbytes": (1 << 32) - 1}, "is cut short: its header says 4294967295 bytes"),
        (5, {"nbytes": 0}, "decodes to 0 bytes, the chunk has 1000"),
        (5, {"nbytes": 999}, "decodes to 999 bytes, the chunk has 1000"),
        (5, {"nbytes": (1 << 32) - 1}, "decodes to 4294967295 bytes, the chunk has 1000"),
        (5, {"flags": 0x28}, r"reserved flag set \(flags 0x28\)"),
        (5, {"flags": 0x40}, "codec number 2, snappy, which no decoder here has; allowed: blosclz"),
        (
            5,
            {"flags": 0xA0},
            "codec number 5, which does not exist; allowed: blosclz, lz4, zlib, z",
        ),
        (5, {"flags": 0xE0}, "codec number 7, which does not exist"),
        (5, {"typesize": 0}, "typesize 0, expected 1 to 255"),
        (5, {"block_nbytes": 0}, "blocks of 0 bytes, expected 1 to 1000"),
        (5, {"block_nbytes": 1001}, "blocks of 1001 bytes, expected 1 to 1000"),
        (5, {"block_nbytes": 1}, "no room for the starts of its 1000 blocks"),
        (5, {"flags": 0x22}, r"holds uncompressed data and takes \d+ bytes, expected 1016"),
        (0, {"flags": 0x42}, "codec number 2, snappy"),
        (0, {"block_nbytes": (1 << 32) - 1}, "blocks of 4294967295 bytes, expected 1 to 1000"),
    ],
    ids=lambda case: " ".join(case) if isinstance(case, dict) else None,
)
def test_a_header_that_contradicts_the_frame_is_refused_in_one_sentence(level, changes, message):
    header, body = sound(level=level)
    frame = frame_of(header | changes, body)
    with pytest.raises(CorruptionError, match=message):
        check_frame(frame, 1000)
    with pytest.raises(CorruptionError, match=message):
        CodecChain(U1, None, (BloscCodec("lz4", 5, "none", 1),)).decode_into(
            frame, np.zeros(1000, U1)
        )


def test_blocks_up_to_the_room_for_their_starts_pass():
    header, body = sound()
    most = len(body) // 4
    block_nbytes = -(-1000 // most)
    check_frame(frame_of(header | {"block_nbytes": block_nbytes}, body), 1000)
    with pytest.raises(CorruptionError, match="no room for the starts"):
        check_frame(frame_of(header | {"block_nbytes": -(-1000 // (most + 1)) - 1}, body), 1000)


@pytest.mark.parametrize("length", range(HEADER_NBYTES))
def test_less_than_a_header_is_refused(length):
    header, body = sound()
    cut = frame_of(header, body)[:length]
    message = f"is cut short: {length} bytes, its header alone takes 16"
    with pytest.raises(CorruptionError, match=message):
        check_frame(cut, 1000)
    with pytest.raises(CorruptionError, match=message):
        frame_decoded_nbytes(cut)


@pytest.mark.parametrize("nbytes", [2001, 1 << 20, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
@pytest.mark.parametrize("is_inner", [False, True], ids=["last", "inner"])
def test_a_lying_header_allocates_nothing(nbytes, is_inner):
    header, body = sound()
    frame = frame_of(header | {"nbytes": nbytes, "block_nbytes": 500}, body)
    blosc = BloscCodec("lz4", 5, "none", 1)
    chain = CodecChain(U1, None, (Crc32cCodec(), blosc) if is_inner else (blosc,))
    out = np.zeros(1000, U1)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptionError, match=f"decodes to {nbytes} bytes"):
            chain.decode_into(frame, out)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def run_before_guard_page(case):
    program = REPOSITORY / "tests" / "format" / "guard_page.py"
    return subprocess.run(
        [sys.executable, str(program), case],
        check=False,
        timeout=120,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )


needs_guard_page = pytest.mark.skipif(sys.platform != "linux", reason="mprotect as Linux has it")


@needs_guard_page
@pytest.mark.parametrize("case", ["cut", "mutated"])
def test_no_frame_makes_the_decoder_read_behind_its_end(case):
    result = run_before_guard_page(case)
    assert (result.returncode, result.stderr.decode()) == (0, "")


@needs_guard_page
def test_without_the_check_a_cut_frame_would_kill_the_process():
    result = run_before_guard_page("unchecked")
    assert result.returncode in (-signal.SIGSEGV, -signal.SIGBUS), result.stderr.decode()
