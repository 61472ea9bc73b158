"""Is what claims or holds too much refused, before memory is taken for it?"""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import lz4 as numcodecs_lz4
from numcodecs import zstd as numcodecs_zstd

from chunkstore.errors import ChunkStoreError, CorruptionError
from chunkstore.format.blosc import BloscCodec
from chunkstore.format.chain import CodecChain
from chunkstore.format.codecs import CODEC_NAMES, SHUFFLES, default_codecs
from chunkstore.format.crc32c import Crc32cCodec
from chunkstore.format.gzip import GzipCodec
from chunkstore.format.lz4 import Lz4Codec
from chunkstore.format.zstd import ZstdCodec

U1 = np.dtype(np.uint8)
DATA = bytes(range(200)) * 3
BOMB_NBYTES = 64 << 20


def decode(codec, encoded, nbytes):
    out = np.zeros(nbytes, U1)
    CodecChain(U1, None, (codec,)).decode_into(encoded, out)
    return out.tobytes()


def zstd_claim():
    """Return a frame of a single segment that claims 2^40 bytes."""
    return bytes.fromhex("28b52ffde0") + (1 << 40).to_bytes(8, "little") + b"\1\0\0"


BOMBS = {
    "gzip": (GzipCodec(), lambda: gzip.compress(bytes(BOMB_NBYTES)), "to more than 600 bytes"),
    "zlib": (
        GzipCodec(is_zlib=True),
        lambda: zlib.compress(bytes(BOMB_NBYTES)),
        "to more than 600 bytes",
    ),
    "zstd": (
        ZstdCodec(),
        lambda: numcodecs_zstd.compress(bytes(BOMB_NBYTES), 1),
        "decodes to 67108864 bytes, the chunk has 600",
    ),
    "zstd-claim": (ZstdCodec(), zstd_claim, "decodes to 1099511627776 bytes"),
    "lz4-claim": (
        Lz4Codec(),
        lambda: b"\xff\xff\xff\x7f" + numcodecs_lz4.compress(DATA)[4:],
        "decodes to 2147483647 bytes",
    ),
    "blosc": (
        BloscCodec("zstd", 1, "none", 1),
        lambda: BloscCodec("zstd", 1, "none", 1).encode(bytes(BOMB_NBYTES)),
        "decodes to 67108864 bytes, the chunk has 600",
    ),
}


@pytest.mark.parametrize("behind", [(), (Crc32cCodec(),), (GzipCodec(),)], ids=["", "crc", "gzip"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_without_allocating(name, behind):
    codec, make, message = BOMBS[name]
    encoded = make()
    for other in behind:
        encoded = other.encode(encoded)
    chain, out = CodecChain(U1, None, (codec, *behind)), np.zeros(600, U1)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptionError, match=message + r"|at most \d+ can|the most there can"):
            chain.decode_into(encoded, out)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([DATA[:300], DATA[300:]], id="two-halves"),
        pytest.param([DATA, b""], id="an-empty-one"),
        pytest.param([DATA, b"more"], id="one-too-many"),
    ],
)
def test_a_gzip_stream_of_several_members_is_never_read_in_part(members):
    stream = b"".join(gzip.compress(member) for member in members)
    with pytest.raises(CorruptionError, match="gzip stream"):
        decode(GzipCodec(), stream, len(DATA))


def test_several_zstd_frames_never_pass_for_one():
    first, rest = numcodecs_zstd.compress(DATA[:300], 1), numcodecs_zstd.compress(DATA[300:], 1)
    whole = numcodecs_zstd.compress(DATA, 1)
    skipped = bytes.fromhex("502a4d18") + (4).to_bytes(4, "little") + b"skip"
    for frames in (first + rest, whole + rest, skipped + whole, first + skipped + rest):
        with pytest.raises(CorruptionError, match="zstd frame"):
            decode(ZstdCodec(), frames, len(DATA))


def test_a_damaged_zstd_checksum_is_seen():
    encoded = bytearray(ZstdCodec(3, checksum=True).encode(DATA))
    encoded[-1] ^= 1
    with pytest.raises(CorruptionError, match="zstd frame does not decode"):
        decode(ZstdCodec(), bytes(encoded), len(DATA))


@pytest.mark.parametrize("codec", CODEC_NAMES)
@given(
    size=st.integers(1, 5000),
    other=st.integers(1, 5000),
    shuffle=st.sampled_from(SHUFFLES),
    seed=st.integers(0, 2**32),
)
def test_nothing_beside_out_is_written_whatever_is_decoded(codec, size, other, shuffle, seed):
    rng = np.random.default_rng(seed)
    chunk = rng.integers(0, 5, size, np.uint8)
    chain = default_codecs(U1, codec=codec, level=1, shuffle=shuffle)
    encoded = bytearray(chain.encode(chunk))
    if seed % 2:
        encoded[int(rng.integers(len(encoded)))] ^= 1 << int(rng.integers(8))
    room = np.full(other + 128, 0xA5, np.uint8)
    try:
        chain.decode_into(bytes(encoded), room[64 : 64 + other])
    except ChunkStoreError:
        assert seed % 2 or other != size
    else:
        assert seed % 2 or np.array_equal(room[64 : 64 + other], chunk)
    assert (room[:64] == 0xA5).all()
    assert (room[64 + other :] == 0xA5).all()
