"""Are the inner chunks of a shard found where its index says, and nowhere else?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import CorruptionError, UnsupportedError
from chunkstore.format.codec_metadata import parse_codecs
from chunkstore.format.crc32c import Crc32cCodec
from tests.format.documents import BIG, BLOSC, CRC32C, GZIP, LITTLE, any_bits, sharded

if TYPE_CHECKING:
    from chunkstore.format.chain import CodecChain

F4 = np.dtype("float32")
ABSENT = (1 << 64) - 1


def chain_of(shard_shape, **options) -> CodecChain:
    """Return the chain of a sharded array of float32 with fill value 7."""
    return parse_codecs(
        [sharded(**options)], dtype=F4, chunk_shape=shard_shape, fill_value=np.float32(7)
    )


def build(chain, encoded, *, gap=b"", slots=None):
    """Return a shard: inner chunks in reversed order, gaps, and the index.

    Parameters
    ----------
    chain
        Of the sharded array.
    encoded
        Bytes of each inner chunk, None for an absent one.
    gap
        Stands in front of each inner chunk.
    slots
        Replaces some slots of the index: {inner chunk: (offset, nbytes)}.
    """
    codec = chain.sharding
    order = "<u8" if codec.index_endian == "little" else ">u8"
    index_nbytes = 16 * len(encoded) + (4 if codec.has_checksum else 0)
    body = b""
    start = index_nbytes if codec.is_index_first else 0
    index = np.full((len(encoded), 2), ABSENT, np.uint64)
    for flat in reversed(range(len(encoded))):
        if encoded[flat] is not None:
            body += gap
            index[flat] = (start + len(body), len(encoded[flat]))
            body += encoded[flat]
    for flat, slot in (slots or {}).items():
        index[flat] = slot
    raw = index.astype(order).tobytes()
    if codec.has_checksum:
        raw = Crc32cCodec().encode(raw)
    return raw + body if codec.is_index_first else body + raw


def decode(chain, shard, shape):
    out = np.full(shape, -1, F4)
    chain.decode_into(shard, out)
    return out


@given(
    st.sampled_from([((4, 3), [2, 3]), ((4, 6), [2, 2]), ((6,), [2]), ((2, 2, 2), [1, 2, 1])]),
    st.sampled_from(["start", "end"]),
    st.sampled_from([[LITTLE], [LITTLE, CRC32C], [BIG], [BIG, CRC32C]]),
    st.sampled_from([[LITTLE], [BIG, GZIP], [LITTLE, BLOSC], [LITTLE, BLOSC, CRC32C]]),
    st.binary(max_size=5),
    st.data(),
)
def test_a_shard_is_its_inner_chunks_and_the_fill_value(
    shapes, location, index_codecs, codecs, gap, data
):
    shape, inner_shape = shapes
    chain = chain_of(
        shape,
        chunk_shape=inner_shape,
        codecs=codecs,
        index_codecs=index_codecs,
        index_location=location,
    )
    grid = chain.sharding.grid
    expected = np.full(shape, 7, F4)
    encoded = []
    for flat in range(grid.num_chunks):
        if data.draw(st.booleans()):
            encoded.append(None)
            continue
        chunk = any_bits(tuple(inner_shape), F4, flat)
        place = tuple(
            slice(i * n, (i + 1) * n)
            for i, n in zip(grid.coords(flat), grid.chunk_shape, strict=True)
        )
        expected[place] = chunk
        encoded.append(chain.sharding.inner.encode(chunk))
    shard = build(chain, encoded, gap=gap)
    assert decode(chain, shard, shape).tobytes() == expected.tobytes()
    assert len(shard) - len(gap) * len(encoded) <= chain.max_encoded_nbytes(expected.nbytes)


def two_chunks(**options):
    """Return a chain of two raw inner chunks of 8 bytes, and what they encode to."""
    chain = chain_of((4,), chunk_shape=[2], codecs=[LITTLE], **options)
    return chain, [np.array(pair, F4).tobytes() for pair in ([1, 2], [3, 4])]


@pytest.mark.parametrize("location", ["start", "end"])
@pytest.mark.parametrize(
    "slot",
    [
        pytest.param((0, 1 << 40), id="long"),
        pytest.param((1 << 40, 8), id="far"),
        pytest.param((ABSENT, 8), id="half-absent-offset"),
        pytest.param((0, ABSENT), id="half-absent-nbytes"),
        pytest.param((ABSENT - 7, 16), id="sum-wraps"),
        pytest.param((1 << 63, 1 << 63), id="sum-wraps-to-zero"),
        pytest.param((40, (1 << 64) - 4), id="sum-wraps-from-inside"),
    ],
)
def test_a_slot_outside_the_shard_is_refused(location, slot):
    chain, encoded = two_chunks(index_location=location)
    shard = build(chain, encoded, slots={1: slot})
    message = f"inner chunk 1 of the shard has offset {slot[0]} and {slot[1]} bytes, outside"
    with pytest.raises(CorruptionError, match=message):
        decode(chain, shard, (4,))


@pytest.mark.parametrize(
    ("location", "slot", "bounds"),
    [("end", (9, 8), "0, 16"), ("end", (16, 8), "0, 16"), ("start", (28, 8), "36, 52")],
)
def test_a_slot_that_reaches_into_the_index_is_refused(location, slot, bounds):
    chain, encoded = two_chunks(index_location=location)
    shard = build(chain, encoded, slots={0: slot})
    with pytest.raises(CorruptionError, match=rf"outside the shard's data, bytes \[{bounds}\)"):
        decode(chain, shard, (4,))


def test_inner_chunks_may_share_bytes():
    chain, encoded = two_chunks()
    shard = build(chain, [None, encoded[1]], slots={0: (0, 8)})
    assert decode(chain, shard, (4,)).tolist() == [3, 4, 3, 4]


@pytest.mark.parametrize("length", [0, 1, 15, 35])
def test_a_shard_shorter_than_its_index_is_refused(length):
    chain, _ = two_chunks()
    with pytest.raises(
        CorruptionError, match=f"cut short: {length} bytes, its index alone takes 36"
    ):
        decode(chain, bytes(length), (4,))


@pytest.mark.parametrize("location", ["start", "end"])
def test_every_changed_byte_of_the_index_is_found_by_its_checksum(location):
    chain, encoded = two_chunks(index_location=location)
    shard = build(chain, encoded)
    start = 0 if location == "start" else len(shard) - 36
    for place in range(start, start + 36):
        changed = bytearray(shard)
        changed[place] ^= 0x10
        with pytest.raises(CorruptionError, match="index of the shard: crc32c is 0x"):
            decode(chain, bytes(changed), (4,))


def test_a_shard_cut_anywhere_is_refused():
    for options in ({}, {"index_codecs": [LITTLE]}, {"index_location": "start"}):
        chain, encoded = two_chunks(**options)
        shard = build(chain, encoded)
        for length in range(len(shard)):
            with pytest.raises(CorruptionError):
                decode(chain, shard[:length], (4,))


def test_a_damaged_inner_chunk_is_named():
    chain, encoded = two_chunks()
    shard = build(chain, [encoded[0], encoded[1][:-1]])
    with pytest.raises(CorruptionError, match="inner chunk 1 of the shard: the chunk has a length"):
        decode(chain, shard, (4,))


def test_a_shard_with_a_checksum_behind_it_is_read():
    inner, encoded = two_chunks()
    chain = parse_codecs(
        [inner.sharding.to_json(), CRC32C], dtype=F4, chunk_shape=(4,), fill_value=np.float32(7)
    )
    shard = Crc32cCodec().encode(build(inner, encoded))
    assert decode(chain, shard, (4,)).tolist() == [1, 2, 3, 4]
    with pytest.raises(CorruptionError, match="crc32c is"):
        decode(chain, shard[:-1] + b"x", (4,))


def test_an_array_without_axes_can_be_sharded():
    chain = chain_of((), chunk_shape=[], codecs=[LITTLE])
    assert decode(chain, build(chain, [np.float32(3).tobytes()]), ()) == 3
    assert decode(chain, build(chain, [None]), ()) == 7


def test_shards_are_read_and_not_written():
    with pytest.raises(UnsupportedError, match=r"sharding_indexed\) are read, not written"):
        chain_of((4,), chunk_shape=[2]).encode(np.zeros(4, F4))


def test_only_an_array_of_the_shards_shape_is_filled():
    chain, encoded = two_chunks()
    with pytest.raises(ValueError, match=r"shard's shape \(4,\), got \(2, 2\)"):
        decode(chain, build(chain, encoded), (2, 2))


def test_chains_are_equal_whatever_the_fill_value():
    def chain(fill_value):
        return parse_codecs([sharded()], dtype=F4, chunk_shape=(4, 3), fill_value=fill_value)

    assert chain(np.float32("nan")) == chain(np.float32("nan"))
    assert chain(np.float32(0)) != chain_of((8, 3))
